//! What can go wrong.

use std::time::Duration;

use dmaframe_vulkan::{Refusal, Route};

/// What can go wrong. Imports and submissions borrow the frame: it is as before.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No route takes the frame; each with its reason.
    #[error("no route takes the frame: {}", list(.0))]
    NoRoute(Vec<(Route, Refusal)>),
    /// The wgpu device was destroyed or lost: everything made from it has to be dropped.
    #[error("the wgpu device is gone: {text}")]
    DeviceLost {
        /// What wgpu says.
        text: String,
    },
    /// wgpu refused a call.
    #[error("{call}: {text}")]
    Wgpu {
        /// The call.
        call: &'static str,
        /// What wgpu says.
        text: String,
    },
    /// An import of one device was given to another.
    #[error("the import belongs to another wgpu device")]
    OtherDevice,
    /// A frame's fences had not signalled.
    #[error("{what} was not ready after {waited:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        waited: Duration,
    },
    /// Everything of a kind is in use.
    #[error("all {limit} {what} are in use: drop imports that are no longer needed")]
    Busy {
        /// Of what.
        what: &'static str,
        /// How many there are.
        limit: usize,
    },
    /// A list of routes that is none.
    #[error("{text:?} is no list of routes: buffer, image, host, upload, or all with a minus before them")]
    Routes {
        /// The text.
        text: String,
    },
    /// The Vulkan half refused or failed.
    #[error(transparent)]
    Vulkan(#[from] dmaframe_vulkan::Error),
    /// A frame was not converted.
    #[error(transparent)]
    Convert(#[from] crate::ConvertError),
    /// The core refused.
    #[error(transparent)]
    Frame(#[from] dmaframe_core::Error),
}

fn list(refusals: &[(Route, Refusal)]) -> String {
    let texts: Vec<_> = refusals
        .iter()
        .map(|(route, why)| format!("{route}: {why}"))
        .collect();
    texts.join("; ")
}
