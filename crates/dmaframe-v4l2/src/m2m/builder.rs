//! Choices before a mem2mem device starts.

use std::marker::PhantomData;
use std::sync::Arc;

use dmaframe_core::{Bitstream, Budget, Buffer, Frame, Layout, Starvation};

use super::engine::Engine;
use super::input::InputMemory;
use super::{Conversion, Item, Mem2Mem};
use crate::device::Device;
use crate::error::Error;
use crate::format::{Format, FormatRequest};
use crate::interval::Interval;
use crate::sys::abi;

/// Gives buffers of the driver's layout.
type Provide = dyn FnMut(&Format, &Layout) -> Vec<Arc<Buffer>> + Send;

/// Where what comes out is written.
#[derive(Debug)]
pub(super) enum OutputMemory {
    /// The driver's own buffers, exported.
    Driver {
        /// How many were asked for, if any were.
        count: Option<u32>,
    },
    /// The caller's.
    Provided(Provider),
}

pub(super) struct Provider(pub(super) Box<Provide>);

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider")
    }
}

#[derive(Debug)]
pub(super) struct Choices {
    pub(super) input: FormatRequest,
    pub(super) output: FormatRequest,
    pub(super) input_buffers: u32,
    pub(super) input_memory: InputMemory,
    pub(super) output_memory: OutputMemory,
    pub(super) budget: Budget,
    pub(super) implicit: bool,
    pub(super) interval: Option<Interval>,
    pub(super) controls: Vec<(u32, i64)>,
}

/// How to convert, encode or decode; made by [`Converter::builder`](Mem2Mem::builder) and its sisters.
#[derive(Debug)]
#[must_use = "nothing is started before `start`"]
pub struct Mem2MemBuilder<I, O> {
    device: Device,
    choices: Choices,
    kind: PhantomData<fn(I) -> O>,
}

impl<I: Item, O: Item> Mem2MemBuilder<I, O> {
    /// Input buffers by default: one being worked on, one next, and two more on their way.
    const BUFFERS: u32 = 4;

    pub(super) fn new(device: Device) -> Self {
        let input_memory = if I::CODED {
            InputMemory::Driver
        } else {
            InputMemory::Import
        };
        let choices = Choices {
            input: FormatRequest::default(),
            output: FormatRequest::default(),
            input_buffers: Self::BUFFERS,
            input_memory,
            output_memory: OutputMemory::Driver { count: None },
            budget: Budget {
                min_free: 2,
                policy: Starvation::Detach,
            },
            implicit: false,
            interval: None,
            controls: Vec::new(),
        };
        Self {
            device,
            choices,
            kind: PhantomData,
        }
    }

    /// What goes in. Of pictures the size is what is shown of them; a codec that works in blocks may want more rows in
    /// memory. Of a decoder's stream the size is a hint, and
    /// [`buffer_size`](FormatRequest::buffer_size) is the longest access unit.
    pub fn input(mut self, request: FormatRequest) -> Self {
        self.choices.input = request;
        self
    }

    /// What comes out. Without it an encoder's first codec, a converter's size of the input, and for a decoder whatever
    /// its stream holds.
    pub fn output(mut self, request: FormatRequest) -> Self {
        self.choices.output = request;
        self
    }

    /// How many buffers each queue has (1 to 32). By default 4 for what goes in, and for what comes out those that the driver
    /// needs at least, those that [stay with it](Mem2MemBuilder::budget) and two more for consumers. The driver may want
    /// more.
    pub fn buffers(mut self, input: u32, output: u32) -> Self {
        self.choices.input_buffers = input;
        if let OutputMemory::Driver { count } = &mut self.choices.output_memory {
            *count = Some(output);
        }
        self
    }

    /// How many of the output's buffers stay with the driver, and what consumers get when they hold all others: two,
    /// and copies, by default. What a starved encoder drops is missing in its stream until the next keyframe.
    pub fn budget(mut self, min_free: usize, policy: Starvation) -> Self {
        self.choices.budget = Budget { min_free, policy };
        self
    }

    /// Also waits for the fences that consumers put on the dma-bufs themselves (implicit sync: OpenGL, older compositors)
    /// before an output is filled again; by default not. Costs a `poll` per object of each frame that comes back, and an
    /// `EXPORT_SYNC_FILE` (Linux 6.0) where a fence is pending. Nothing blocks on them.
    ///
    /// Without it V4L2 looks at no fence of a dma-buf: whoever drops a frame while a GPU still reads it must have said so
    /// with [`Frame::release_after`](dmaframe_core::Frame::release_after), or the picture is overwritten meanwhile.
    pub fn implicit_fences(mut self, wait: bool) -> Self {
        self.choices.implicit = wait;
        self
    }

    fn control(mut self, id: u32, value: i64) -> Self {
        self.choices.controls.push((id, value));
        self
    }

    /// Sets the formats, gets the buffers, starts both queues.
    ///
    /// # Errors
    /// [`Error::NotRole`] and [`Error::Stateless`] for a device that does something else; [`Error::SizeRefused`],
    /// [`Error::FormatRefused`] and every other error about formats and buffers; [`Error::Busy`]. The device is closed
    /// with the error.
    pub fn start(self) -> Result<Mem2Mem<I, O>, Error>
    where
        (I, O): Conversion,
    {
        Engine::build(self.device, <(I, O)>::ROLE, self.choices).map(Mem2Mem::new)
    }
}

impl<O: Item> Mem2MemBuilder<Frame, O> {
    /// Copies every picture into the driver's own buffers: for drivers that refuse foreign memory
    /// ([`Error::ImportRefused`]).
    pub fn copy_input(mut self) -> Self {
        self.choices.input_memory = InputMemory::Driver;
        self
    }
}

impl<O: Item> Mem2MemBuilder<Bitstream, O> {
    /// Reads access units that lie in dma-bufs where they are, as an encoder's ([`Bitstream::frame`]): its
    /// buffer goes back when the decoder has read it. A buffer must have as many bytes as
    /// [`Mem2Mem::input_format`]'s memory plane has (see [`FormatRequest::buffer_size`]); units in smaller ones, and those in
    /// bytes, are copied into dma-bufs of this process. Without this every unit is copied into the driver's own buffers.
    pub fn import_input(mut self) -> Self {
        self.choices.input_memory = InputMemory::Import;
        self
    }
}

impl<I: Item> Mem2MemBuilder<I, Frame> {
    /// Pictures are written into these dma-bufs instead of the driver's own: called with the format and the layout the
    /// driver writes, again for each change of a stream's size. As for
    /// [`CaptureBuilder::import`](crate::CaptureBuilder::import), the layout must be kept to the byte, and each memory
    /// plane must have the bytes that [`Format::memory_planes`] says.
    pub fn output_into(
        mut self,
        provide: impl FnMut(&Format, &Layout) -> Vec<Arc<Buffer>> + Send + 'static,
    ) -> Self {
        self.choices.output_memory = OutputMemory::Provided(Provider(Box::new(provide)));
        self
    }
}

impl Mem2MemBuilder<Frame, Bitstream> {
    /// Bits a second (`V4L2_CID_MPEG_VIDEO_BITRATE`), at the rate of [`Mem2MemBuilder::interval`].
    pub fn bitrate(self, bits: u32) -> Self {
        self.control(abi::CID_MPEG_VIDEO_BITRATE, bits.into())
    }

    /// Pictures from one keyframe to the next (`V4L2_CID_MPEG_VIDEO_GOP_SIZE`).
    pub fn gop(self, pictures: u32) -> Self {
        self.control(abi::CID_MPEG_VIDEO_GOP_SIZE, pictures.into())
    }

    /// The time between pictures (`VIDIOC_S_PARM` on the OUTPUT queue), for the bitrate; a driver that does not count it
    /// is left as it is.
    pub fn interval(mut self, interval: Interval) -> Self {
        self.choices.interval = Some(interval);
        self
    }
}
