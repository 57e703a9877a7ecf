//! Converters, encoders and decoders: mem2mem devices.
//!
//! One [`Engine`](engine::Engine) for all three; the types of what goes in and what comes out tell them apart.

mod builder;
mod copy;
mod engine;
mod input;
mod negotiate;
mod output;
mod role;
mod times;

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use dmaframe_core::capture::{Captured, Stats};
use dmaframe_core::report::Hop;
use dmaframe_core::{Bitstream, Deadline, Frame, Rejected, Timestamp};

pub use builder::Mem2MemBuilder;
pub use role::{ListedM2m, Role, list_m2m};

use crate::device::Device;
use crate::error::Error;
use crate::format::Format;
use crate::sys::abi;
use engine::{Came, Engine, Submission};

mod sealed {
    pub trait Sealed {}
    impl Sealed for dmaframe_core::Frame {}
    impl Sealed for dmaframe_core::Bitstream {}
    impl Sealed for (dmaframe_core::Frame, dmaframe_core::Frame) {}
    impl Sealed for (dmaframe_core::Frame, dmaframe_core::Bitstream) {}
    impl Sealed for (dmaframe_core::Bitstream, dmaframe_core::Frame) {}
}

/// What a device makes of what: pictures of pictures, access units of pictures, or pictures of access units.
///
/// No device of V4L2's makes access units of access units:
///
/// ```compile_fail,E0277
/// # use dmaframe_core::Bitstream;
/// # use dmaframe_v4l2::{Device, Mem2Mem};
/// let transcoder = Mem2Mem::<Bitstream, Bitstream>::builder(Device::open_m2m("/dev/video11")?);
/// # Ok::<(), dmaframe_v4l2::Error>(())
/// ```
pub trait Conversion: sealed::Sealed {
    /// What such a device is.
    const ROLE: Role;
}

impl Conversion for (Frame, Frame) {
    const ROLE: Role = Role::Converter;
}

impl Conversion for (Frame, Bitstream) {
    const ROLE: Role = Role::Encoder;
}

impl Conversion for (Bitstream, Frame) {
    const ROLE: Role = Role::Decoder;
}

/// What can go through a mem2mem device: a [`Frame`] or a [`Bitstream`].
pub trait Item: sealed::Sealed + Sized {
    /// Whether it is encoded.
    const CODED: bool;
    #[doc(hidden)]
    fn of(captured: Captured) -> Option<Self>;
    #[doc(hidden)]
    fn as_either(&self) -> Either<'_>;
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Either<'a> {
    Frame(&'a Frame),
    Unit(&'a Bitstream),
}

impl Item for Frame {
    const CODED: bool = false;
    fn of(captured: Captured) -> Option<Self> {
        captured.into_frame()
    }
    fn as_either(&self) -> Either<'_> {
        Either::Frame(self)
    }
}

impl Item for Bitstream {
    const CODED: bool = true;
    fn of(captured: Captured) -> Option<Self> {
        captured.into_bitstream()
    }
    fn as_either(&self) -> Either<'_> {
        Either::Unit(self)
    }
}

/// What comes out of a mem2mem device, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output<T> {
    /// A picture or an access unit, with the input's timestamp, clock, orientation and extensions.
    Item(T),
    /// The device made nothing of the input of this time: the stream is damaged there.
    Damaged(Option<Timestamp>),
    /// Pictures from here on have another format, [`Mem2Mem::output_format`]: a decoder found out what is in its stream,
    /// or the stream changed. Frames of the old one stay valid.
    Format(Format),
    /// Everything submitted before [`Mem2Mem::drain`] has come out.
    Drained,
}

impl<T> Output<T> {
    /// The picture or access unit, if it is one.
    #[must_use]
    pub fn into_item(self) -> Option<T> {
        match self {
            Self::Item(item) => Some(item),
            _ => None,
        }
    }
}

/// A device that turns pictures into pictures: another format, size, or way up.
pub type Converter = Mem2Mem<Frame, Frame>;
/// A device that turns pictures into access units of a codec.
pub type Encoder = Mem2Mem<Frame, Bitstream>;
/// A device that turns access units into pictures, finding out from the stream which (a *stateful* decoder).
pub type Decoder = Mem2Mem<Bitstream, Frame>;

/// A mem2mem device at work: a [`Converter`], an [`Encoder`] or a [`Decoder`].
///
/// Give it inputs with [`Mem2Mem::try_submit`], take what comes out with [`Mem2Mem::try_next`]. Neither blocks, and the
/// descriptor ([`AsFd`]) tells an event loop when to call again. A device takes inputs only as fast as its outputs are
/// taken, so whoever uses the calls with a deadline takes outputs in between.
///
/// An input's memory is read in place when the device can, and its frame is kept until then: the camera's buffer goes
/// back to the camera when the encoder has read it. Consumers may hold outputs for as long as they like; with few
/// buffers left they get copies.
///
/// The driver keeps the memory of the last inputs mapped, as many as there are input buffers, so that a producer's next
/// round costs no mapping: it is freed with the device, not with the frames.
///
/// Everything runs on the thread that calls it. Outputs outlive it.
#[derive(Debug)]
pub struct Mem2Mem<I, O> {
    engine: Engine,
    kind: PhantomData<fn(I) -> O>,
}

impl<I: Item, O: Item> Mem2Mem<I, O> {
    /// Sets up `device`, which [`Device::open_m2m`] opened.
    pub fn builder(device: Device) -> Mem2MemBuilder<I, O>
    where
        (I, O): Conversion,
    {
        Mem2MemBuilder::new(device)
    }

    fn new(engine: Engine) -> Self {
        Self {
            engine,
            kind: PhantomData,
        }
    }

    /// The device, for its controls, and for an encoder's or a converter's events: watch `POLLPRI` of the device for those,
    /// they are not in the descriptor of this. A decoder's events belong to the decoder, which takes them to learn of its
    /// stream's format: [`Device::next_event`] would steal them.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.engine.device()
    }

    /// The format of what goes in, as the driver reads it.
    #[must_use]
    pub fn input_format(&self) -> &Format {
        self.engine.input().format()
    }

    /// The format of what comes out; `None` while a decoder does not know its stream.
    #[must_use]
    pub fn output_format(&self) -> Option<&Format> {
        self.engine.output_format()
    }

    /// How many buffers there are of inputs and of outputs.
    #[must_use]
    pub fn slots(&self) -> (usize, usize) {
        (self.engine.input().slots(), self.engine.output_slots())
    }

    /// How many inputs the driver has and has not read yet, by the last call's knowledge.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.engine.input().with_driver()
    }

    /// Counters of what came out. `errors` are the [`Output::Damaged`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// The hop from the producer into the device: zero-copy, or a copy and why.
    #[must_use]
    pub fn input_hop(&self) -> &Arc<Hop> {
        self.engine.hops().0
    }

    /// The hop from the device to the consumer.
    #[must_use]
    pub fn output_hop(&self) -> &Arc<Hop> {
        self.engine.hops().1
    }

    /// Gives the device an input if it has room and the input's fences have signalled. Does not block.
    ///
    /// # Errors
    /// With the input given back: [`Error::Full`] when the driver has all buffers (take outputs, or wait for the
    /// descriptor); [`Error::Core`] with `Timeout` while a fence is pending and `FenceFailed` when its owner gave up;
    /// [`Error::InputMismatch`] for another format or size, [`Error::UnitSize`]; [`Error::ImportRefused`]
    /// when the driver cannot use the memory (see [`Mem2MemBuilder::copy_input`]); [`Error::Draining`];
    /// [`Error::Unplugged`] and [`Error::Request`].
    pub fn try_submit(&mut self, input: I) -> Result<(), Box<Rejected<I, Error>>> {
        let submitted = self.engine.try_submit(submission(&input), Deadline::now());
        submitted.map_err(|error| Rejected::new(input, error))
    }

    /// [`Mem2Mem::try_submit`] that waits until `deadline` for room and for fences. Nobody takes outputs meanwhile: a
    /// device that has no room for more of them reads nothing either.
    ///
    /// # Errors
    /// As [`Mem2Mem::try_submit`], [`Error::Full`] at the deadline.
    pub fn submit(&mut self, input: I, deadline: impl Into<Deadline>) -> Result<(), Box<Rejected<I, Error>>> {
        let submitted = self.engine.submit(submission(&input), deadline.into());
        submitted.map_err(|error| Rejected::new(input, error))
    }

    /// What came out, if something did. Does not block.
    ///
    /// # Errors
    /// [`Error::Unplugged`], [`Error::Request`]; errors about formats and buffers when a stream's format changed and the
    /// new one cannot be had.
    pub fn try_next(&mut self) -> Result<Option<Output<O>>, Error> {
        let came = self.engine.try_next()?;
        Ok(came.and_then(|came| self.tell(came)))
    }

    /// The next that comes out, waiting for it until `deadline`; `None` when nothing did.
    ///
    /// # Errors
    /// As [`Mem2Mem::try_next`].
    pub fn next(&mut self, deadline: impl Into<Deadline>) -> Result<Option<Output<O>>, Error> {
        let came = self.engine.next(deadline.into())?;
        Ok(came.and_then(|came| self.tell(came)))
    }

    fn tell(&self, came: Came) -> Option<Output<O>> {
        Some(match came {
            // The queue's format decides which of the two it is, and the builder decided that.
            Came::Item(captured) => Output::Item(O::of(captured)?),
            Came::Damaged(time) => Output::Damaged(time),
            Came::Format => Output::Format(self.engine.output_format()?.clone()),
            Came::Drained => Output::Drained,
        })
    }

    /// Asks for everything that is on its way; [`Output::Drained`] is the last of it. Until then no inputs are taken;
    /// with the next one after it the device goes on. Does not block.
    ///
    /// A converter is taken to give one picture for each.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn drain(&mut self) -> Result<(), Error> {
        self.engine.drain()
    }

    /// Drops everything that is on its way: for a seek. Inputs go back to their producers, outputs not yet taken are
    /// lost; a decoder's next input should be a keyframe.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.engine.flush()
    }
}

impl Encoder {
    /// Bits a second, while it runs (`V4L2_CID_MPEG_VIDEO_BITRATE`).
    ///
    /// # Errors
    /// As [`Device::set_control`]; [`Error::NoControl`] from codecs without one.
    pub fn set_bitrate(&self, bits: u32) -> Result<(), Error> {
        self.device()
            .set_control(abi::CID_MPEG_VIDEO_BITRATE, i64::from(bits))
    }

    /// Makes the next picture a keyframe (`V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME`).
    ///
    /// # Errors
    /// As [`Device::set_control`]; [`Error::NoControl`] from codecs without one.
    pub fn force_keyframe(&self) -> Result<(), Error> {
        self.device().press_control(abi::CID_MPEG_VIDEO_FORCE_KEY_FRAME)
    }
}

impl<I, O> AsFd for Mem2Mem<I, O> {
    /// One descriptor for everything: readable when an input was read, something came out, a consumer gave a buffer
    /// back, a release fence has signalled, the stream's format changed, a drain has ended, or the device is gone. Call
    /// [`Mem2Mem::try_next`] until it gives `None`, then submit.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.engine.epoll().as_fd()
    }
}

fn submission<I: Item>(input: &I) -> Submission<'_> {
    match input.as_either() {
        Either::Frame(frame) => Submission::Frame(frame),
        Either::Unit(unit) => Submission::Unit(unit),
    }
}
