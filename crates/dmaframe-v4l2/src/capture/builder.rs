//! Choices before a stream starts.

use std::sync::Arc;

use dmaframe_core::{Budget, Buffer, Starvation};

use super::Capture;
use crate::device::Device;
use crate::error::Error;
use crate::format::FormatRequest;
use crate::interval::Interval;
use crate::queue::Source;

/// How to capture; made by [`Capture::builder`].
#[derive(Debug)]
#[must_use = "nothing is captured before `start`"]
pub struct CaptureBuilder {
    pub(super) device: Device,
    pub(super) format: Option<FormatRequest>,
    pub(super) interval: Option<Interval>,
    pub(super) source: Source,
    pub(super) budget: Budget,
    pub(super) implicit: bool,
}

impl CaptureBuilder {
    /// Buffers by default: two for the driver to fill, four for consumers.
    const BUFFERS: u32 = 6;

    pub(super) fn new(device: Device) -> Self {
        Self {
            device,
            format: None,
            interval: None,
            source: Source::Export { count: Self::BUFFERS },
            budget: Budget::default(),
            implicit: false,
        }
    }

    /// Sets this format first. Without it the device's present one is used.
    pub fn format(mut self, request: FormatRequest) -> Self {
        self.format = Some(request);
        self
    }

    /// Asks for this time between frames. The driver takes the nearest; one that cannot count it captures as it does.
    pub fn interval(mut self, interval: Interval) -> Self {
        self.interval = Some(interval);
        self
    }

    /// The driver's own buffers, so many of them (1 to 32), each memory plane exported once as a dma-buf
    /// (`VIDIOC_EXPBUF`). The default, with 6. The driver may grant more or fewer.
    pub fn buffers(mut self, count: u32) -> Self {
        self.source = Source::Export { count };
        self
    }

    /// The caller's dma-bufs for the driver to write into (`V4L2_MEMORY_DMABUF`).
    ///
    /// Each must have the driver's layout to the byte: set the format on the device, take
    /// [`Format::layout`](crate::Format::layout) and the sizes of [`Format::memory_planes`](crate::Format::memory_planes),
    /// and allocate by them. The capture keeps a handle of each buffer for as long as it lives, and claims it while the
    /// driver has it ([`Buffer::claim_for_device`]); one that is in somebody's frame is not queued. CPU views of the
    /// frames are slices for private buffers, as pools make them; any other buffer counts as lent
    /// ([`Object::lend`](dmaframe_core::Object::lend)) and its views copy rows out.
    ///
    /// Whether a driver takes memory of this kind (scattered pages, another device's) shows only at
    /// [`CaptureBuilder::start`], as [`Error::ImportRefused`]. So does how many buffers it needs at least, as
    /// [`Error::BufferCount`].
    pub fn import(mut self, buffers: impl IntoIterator<Item = Arc<Buffer>>) -> Self {
        self.source = Source::Import {
            buffers: buffers.into_iter().collect(),
        };
        self
    }

    /// How many buffers stay with the driver, and what consumers get when they hold all others. By default two, and
    /// copies; a driver that says it needs more (`V4L2_CID_MIN_BUFFERS_FOR_CAPTURE`) keeps what it needs.
    pub fn budget(mut self, min_free: usize, policy: Starvation) -> Self {
        self.budget = Budget { min_free, policy };
        self
    }

    /// Also waits for the fences that consumers put on the dma-bufs themselves (implicit sync: OpenGL, older compositors)
    /// before a buffer is filled again; by default not. Costs a `poll` per object of each frame that comes back, and an
    /// `EXPORT_SYNC_FILE` (Linux 6.0) where a fence is pending. Nothing blocks on them.
    ///
    /// Without it V4L2 looks at no fence of a dma-buf: whoever drops a frame while a GPU still reads it must have said so
    /// with [`Frame::release_after`](dmaframe_core::Frame::release_after), or the picture is overwritten meanwhile.
    pub fn implicit_fences(mut self, wait: bool) -> Self {
        self.implicit = wait;
        self
    }

    /// Sets the format, gets the buffers, starts the stream.
    ///
    /// # Errors
    /// Any of [`Error`]'s variants about formats and buffers, [`Error::Busy`] when the device streams elsewhere. The
    /// device is closed with the error.
    pub fn start(self) -> Result<Capture, Error> {
        Capture::build(self)
    }
}
