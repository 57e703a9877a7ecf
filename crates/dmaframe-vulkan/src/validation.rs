//! What the validation layer says, for tests.

use std::sync::{Mutex, PoisonError};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// An error; otherwise a warning.
    pub error: bool,
    /// The message's name (`VUID-...`).
    pub id: String,
    /// The text.
    pub text: String,
}

/// Collects the messages of `VK_LAYER_KHRONOS_validation`, synchronisation validation included, for a device opened
/// with [`OpenOptions::validation`](crate::OpenOptions::validation).
///
/// Keep a clone of its `Arc`: what the layer says when the device is destroyed (leaked objects) comes last.
#[derive(Debug, Default)]
pub struct ValidationLog(Mutex<Vec<Message>>);

impl ValidationLog {
    pub(crate) fn push(&self, message: Message) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(message);
    }

    /// Everything so far.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The errors so far, but for those whose id is in `allowed`.
    #[must_use]
    pub fn errors(&self, allowed: &[&str]) -> Vec<Message> {
        let mut messages = self.messages();
        messages.retain(|m| m.error && !allowed.contains(&m.id.as_str()));
        messages
    }
}
