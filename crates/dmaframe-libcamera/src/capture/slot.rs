//! One buffer of a stream, and who has it.

use std::sync::Arc;

use dmaframe_core::{Buffer, DeviceClaim, Fence};

use crate::sys::FrameMemory;

/// Who has a slot's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// We do: to be queued when a request is free.
    Home,
    /// libcamera, in a request.
    Camera,
    /// A consumer, or on its way back.
    Out,
    /// Back, but a consumer's work on it goes on: waiting for its release fence.
    Fenced,
}

#[derive(Debug)]
pub(crate) struct Slot {
    /// libcamera's object; dropped only after the requests that know it.
    pub(crate) memory: FrameMemory,
    pub(super) buffer: Arc<Buffer>,
    pub(crate) place: Place,
    /// While libcamera has the buffer, or we do on its behalf.
    pub(super) claim: Option<DeviceClaim>,
    /// Somebody who kept a handle of the buffer had it in a frame of their own when it was last looked at.
    elsewhere: bool,
    /// To be handed to libcamera with the buffer.
    pub(super) fence: Option<Fence>,
}

impl Slot {
    pub(super) fn new(memory: FrameMemory, buffer: Arc<Buffer>) -> Self {
        Self {
            memory,
            buffer,
            place: Place::Home,
            claim: None,
            elsewhere: false,
            fence: None,
        }
    }

    /// Claims the buffer if it is not yet; `false` when somebody who kept a handle of it has it in a frame of their own. It
    /// joins again when that is gone, and counts as held until then.
    pub(super) fn claim(&mut self) -> Result<bool, dmaframe_core::Error> {
        if self.claim.is_none() {
            match self.buffer.claim_for_device() {
                Ok(claim) => self.claim = Some(claim),
                Err(dmaframe_core::Error::InUse { .. }) => {
                    self.elsewhere = true;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        self.elsewhere = false;
        Ok(true)
    }

    /// Whether consumers have it.
    pub(super) fn is_held(&mut self) -> bool {
        match self.place {
            Place::Out | Place::Fenced => true,
            Place::Camera => false,
            // Looked at again: the frame may have ended since.
            Place::Home => self.elsewhere && !matches!(self.claim(), Ok(true)),
        }
    }
}
