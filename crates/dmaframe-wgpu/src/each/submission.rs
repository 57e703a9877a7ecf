//! Work that was submitted.

use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::{Deadline, Fence, Waited};
use dmaframe_vulkan::{Refusal, Route};

use crate::Error;
use crate::track::{Core, LateFence, Mark};

/// Work on the GPU.
///
/// It goes on, and holds what it uses, whether or not this is kept.
#[derive(Clone, Debug)]
pub struct Submission {
    pub(super) core: Arc<Core>,
    pub(super) mark: Mark,
    pub(super) fence: Done,
}

#[derive(Clone, Debug)]
pub(super) enum Done {
    /// There is no fence to be had from this device.
    None,
    Here(Arc<Fence>),
    Later(Arc<LateFence>),
    /// The driver did not give it.
    Failed(Error),
}

impl Submission {
    /// Whether the work is done. Does not block.
    ///
    /// Without Vulkan 1.2 this shows only after somebody has polled the device, which [`Self::wait`] does.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.core.is_done(&self.mark)
    }

    /// Waits for the work. Takes none of wgpu's locks on Vulkan 1.2 and later.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when it will never be done.
    pub fn wait(&self, deadline: impl Into<Deadline>) -> Result<Waited, Error> {
        if !self.core.wait(&self.mark, deadline.into()) {
            return Ok(Waited::TimedOut);
        }
        match self.is_done() {
            true => Ok(Waited::Signaled),
            false => Err(gone("the work was not done")),
        }
    }

    /// The work's completion as a fence, for those who wait without this process.
    ///
    /// Blocks on drivers that block when a fence is exported (lavapipe, until the work is done), until the deadline.
    ///
    /// # Errors
    /// [`Error::Vulkan`] on a device below [`Level::Release`](crate::Level::Release), and when the driver does not give it
    /// (no descriptor is free): the work is none the worse, and its end is seen by [`Self::wait`]. [`Error::Timeout`].
    pub fn fence(&self, wait: Duration) -> Result<Fence, Error> {
        match &self.fence {
            Done::None => Err(dmaframe_vulkan::Error::Refused {
                route: Route::Export,
                refusal: Refusal::NoSyncFd { operation: "export" },
            }
            .into()),
            Done::Here(fence) => Ok(fence.try_clone()?),
            Done::Later(late) => match late.get(wait.into()) {
                Some(fence) => Ok(fence?),
                None => Err(Error::Timeout {
                    what: "the work's fence",
                    waited: wait,
                }),
            },
            Done::Failed(error) => Err(error.clone()),
        }
    }
}

pub(super) fn gone(text: &str) -> Error {
    Error::DeviceLost { text: text.into() }
}
