//! What one exposure gave.

use dmaframe_core::capture::Captured;
use dmaframe_core::{Extensions, Frame};

use crate::metadata::CameraMetadata;

/// A completed request: what one exposure gave.
#[derive(Clone, Debug)]
pub struct Completed {
    pub(super) pictures: Vec<Option<Captured>>,
    pub(super) metadata: Extensions,
}

impl Completed {
    /// The picture of stream `index`, taken out; `None` when it was damaged or dropped, and for a stream there is not.
    #[must_use]
    pub fn take(&mut self, index: usize) -> Option<Captured> {
        self.pictures.get_mut(index)?.take()
    }

    /// The same for a frame.
    #[must_use]
    pub fn take_frame(&mut self, index: usize) -> Option<Frame> {
        self.take(index)?.into_frame()
    }

    /// The frame of the first stream.
    #[must_use]
    pub fn into_frame(mut self) -> Option<Frame> {
        self.take_frame(0)
    }

    /// The pictures of all streams, in their order.
    #[must_use]
    pub fn into_pictures(self) -> Vec<Option<Captured>> {
        self.pictures
    }

    /// What the camera said about the exposure. Frames have it too, as an extension.
    #[must_use]
    pub fn metadata(&self) -> Option<&CameraMetadata> {
        self.metadata.get()
    }
}

/// Who waits for consumers' release fences before a buffer is filled again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReleaseFences {
    /// This crate: a buffer joins again when its fence has signalled, however long that takes.
    #[default]
    Wait,
    /// libcamera (`Request::addBuffer` with a fence): the buffer is queued at once. libcamera keeps requests in order,
    /// so one pending fence holds back all later requests, and after 300 ms it gives the request back unfilled; the
    /// buffer then waits here. For consumers whose work is always short.
    HandOver,
}
