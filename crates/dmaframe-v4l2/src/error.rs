//! What can go wrong, and with which numbers.

use std::path::{Path, PathBuf};

use dmaframe_core::Size;
use rustix::io::Errno;

use crate::controls::ControlKind;
use crate::format::Field;
use crate::m2m::Role;
use crate::pixelformat::PixelFormat;

/// Everything this crate refuses or passes on. Each message names the device, the value found and the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device node could not be opened. Raised by [`Device::open`](crate::Device::open) and
    /// [`list`](crate::list).
    #[error("cannot open {}: {errno}{}", device.display(), open_hint(*errno))]
    Open {
        /// The path asked for.
        device: PathBuf,
        /// The error number.
        errno: Errno,
    },
    /// The node is open but captures no video through streaming buffers (it is an output, a metadata node, a
    /// mem2mem device, or no V4L2 device at all).
    #[error("{} is no video capture device with streaming buffers: {reason}", device.display())]
    NotCapture {
        /// The device node.
        device: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// The node is open but is no mem2mem device with streaming buffers.
    #[error("{} is no mem2mem device with streaming buffers: {reason}", device.display())]
    NotM2m {
        /// The device node.
        device: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// Text that is no pixel format.
    #[error("'{text}' is not a pixel format's four characters")]
    NoPixelFormat {
        /// The text.
        text: String,
    },
    /// No node of this driver (and, when given, number) is there.
    #[error("no capture device of driver {driver:?} (number {skipped} of them asked for, {found} found)")]
    NotFound {
        /// The driver's name as `VIDIOC_QUERYCAP` gives it.
        driver: String,
        /// Index among the driver's nodes, from 0.
        skipped: usize,
        /// Nodes of that driver there are.
        found: usize,
    },
    /// Somebody else, or another handle of this process, streams from the device or owns its buffers (`EBUSY`).
    #[error(
        "{} is busy in {request}: another program or another handle streams from it; \
         `fuser -v {}` lists who has it open",
        device.display(), device.display()
    )]
    Busy {
        /// The device node.
        device: PathBuf,
        /// The request that was refused.
        request: &'static str,
    },
    /// The device is gone (`ENODEV`): a camera was pulled out. Frames already delivered stay readable.
    #[error("{} was unplugged (found in {request})", device.display())]
    Unplugged {
        /// The device node that was.
        device: PathBuf,
        /// The request that found out.
        request: &'static str,
    },
    /// A request failed for another reason.
    #[error("{request} on {} failed: {errno}", device.display())]
    Request {
        /// The device node.
        device: PathBuf,
        /// The request's name in the kernel's documentation.
        request: &'static str,
        /// The error number.
        errno: Errno,
    },
    /// The driver answered a format request with another pixel format than the one asked for.
    #[error("{} has no {asked} at this size: it offered {offered}", device.display())]
    FormatRefused {
        /// The device node.
        device: PathBuf,
        /// What was asked.
        asked: PixelFormat,
        /// What the driver has instead.
        offered: PixelFormat,
    },
    /// The device delivers something else than what the buffers are for: its input changed, or another program set it.
    /// [`Capture::reconfigure`](crate::Capture::reconfigure) makes other buffers; imported ones have to be made anew.
    #[error("{} delivers {found} by now, but the buffers are for {expected}: reconfigure the capture", device.display())]
    FormatChanged {
        /// The device node.
        device: PathBuf,
        /// What the buffers are for.
        expected: String,
        /// What the device says.
        found: String,
    },
    /// A pixel format that has no DRM code and is not an encoded one: its bytes cannot be described by a frame.
    #[error("{}: pixel format {format} has no DRM code and no known codec, so neither frame nor bitstream describes it", device.display())]
    UnmappedFormat {
        /// The device node.
        device: PathBuf,
        /// The format, as the driver spells it.
        format: PixelFormat,
    },
    /// Fields of interlaced video: a frame is progressive.
    #[error("{}: field order {field:?} is interlaced; frames are progressive (V4L2_FIELD_NONE)", device.display())]
    Interlaced {
        /// The device node.
        device: PathBuf,
        /// The order found.
        field: Field,
    },
    /// The driver describes planes that do not hold the picture it promises.
    #[error("{}: the driver's format does not hold together: {error}", device.display())]
    Layout {
        /// The device node.
        device: PathBuf,
        /// What is wrong with them.
        error: dmaframe_core::LayoutError,
    },
    /// The driver's memory plane count is not the format's.
    #[error("{}: {found} memory planes for {format}, which has {expected}", device.display())]
    PlaneCount {
        /// The device node.
        device: PathBuf,
        /// The format.
        format: PixelFormat,
        /// Planes found.
        found: usize,
        /// Planes of the format.
        expected: usize,
    },
    /// A buffer's memory plane is smaller than the format needs.
    #[error("{}: buffer {buffer} plane {plane} has {found} bytes, the format needs {needed}", device.display())]
    BufferTooSmall {
        /// The device node.
        device: PathBuf,
        /// The buffer's index.
        buffer: usize,
        /// The memory plane.
        plane: usize,
        /// Its size in bytes.
        found: u64,
        /// Bytes the format needs.
        needed: u64,
    },
    /// A buffer for import has another layout than the one the driver writes.
    #[error("{}: buffer {buffer} does not have the driver's layout: {error}", device.display())]
    BufferLayout {
        /// The device node.
        device: PathBuf,
        /// The buffer's index in the list given.
        buffer: usize,
        /// What differs, with both values.
        error: dmaframe_core::Misfit,
    },
    /// Buffers for import, and a format that is no picture's: what a driver encodes goes into its own buffers.
    #[error("{}: {format} is encoded; import is for frames", device.display())]
    ImportEncoded {
        /// The device node.
        device: PathBuf,
        /// The format.
        format: PixelFormat,
    },
    /// Another format for a capture into imported buffers, which are of the old one.
    #[error("{}: imported buffers have the old format: build a new capture with new ones", device.display())]
    ImportFixed {
        /// The device node.
        device: PathBuf,
    },
    /// Fewer or more buffers than the driver or this crate takes.
    #[error("{}: {found} buffers, {needed} to {limit} are possible", device.display())]
    BufferCount {
        /// The device node.
        device: PathBuf,
        /// Buffers the driver granted, or the caller gave.
        found: usize,
        /// The fewest.
        needed: usize,
        /// The most.
        limit: usize,
    },
    /// The driver cannot use the caller's memory: scattered pages for a device without an IOMMU (`EFAULT`), another
    /// device's memory it cannot reach. The driver's own buffers, exported, work for every device.
    #[error("{} cannot use the memory given for buffer {buffer}: {errno}{}", device.display(), import_hint(*errno))]
    ImportRefused {
        /// The device node.
        device: PathBuf,
        /// The buffer's index in the list given.
        buffer: usize,
        /// The error number of `VIDIOC_QBUF`.
        errno: Errno,
    },
    /// The driver has no such memory mode: no import of dma-bufs, or no export.
    #[error("{} has no {mode} buffers (capabilities {capabilities:#x})", device.display())]
    MemoryMode {
        /// The device node.
        device: PathBuf,
        /// `MMAP` or `DMABUF`.
        mode: &'static str,
        /// `V4L2_BUF_CAP_*` as `VIDIOC_REQBUFS` gave them.
        capabilities: u32,
    },
    /// The driver handed back a buffer it did not have: nothing it says can be trusted any more.
    #[error("{}: the driver returned buffer {found}, which it was not given ({limit} buffers)", device.display())]
    BufferIndex {
        /// The device node.
        device: PathBuf,
        /// The index found.
        found: u32,
        /// How many buffers there are.
        limit: usize,
    },
    /// A mem2mem device that does something else.
    #[error("{} is no {wanted:?}: {}", device.display(), roles(found))]
    NotRole {
        /// The device node.
        device: PathBuf,
        /// What it was to be.
        wanted: Role,
        /// What it is.
        found: Vec<Role>,
    },
    /// A stateless decoder: it wants the stream's headers parsed and given with the request API, which this crate does
    /// not do. Use a library that does (GStreamer's `v4l2codecs`, libva-v4l2-request).
    #[error("{} decodes {format} as a stateless decoder (request API), which is not supported: it needs somebody who parses the stream", device.display())]
    Stateless {
        /// The device node.
        device: PathBuf,
        /// The format it takes.
        format: PixelFormat,
    },
    /// The driver cannot take pictures of this size.
    #[error("{} takes no pictures of {asked}: it offered {offered}", device.display())]
    SizeRefused {
        /// The device node.
        device: PathBuf,
        /// What was asked.
        asked: Size,
        /// What the driver has instead.
        offered: Size,
    },
    /// Every input buffer is with the driver. Outputs have to be taken, or the descriptor waited for.
    #[error("{} has all of its {buffers} input buffers in work: take what came out, or wait until it is readable", device.display())]
    Full {
        /// The device node.
        device: PathBuf,
        /// Input buffers there are.
        buffers: usize,
    },
    /// No input is taken between a drain and its end.
    #[error("{} is being drained: inputs are taken again after Output::Drained", device.display())]
    Draining {
        /// The device node.
        device: PathBuf,
    },
    /// An input of another format, size or codec than the device was set up for.
    #[error("{}: the input does not fit: {reason}", device.display())]
    InputMismatch {
        /// The device node.
        device: PathBuf,
        /// What differs.
        reason: String,
    },
    /// An empty access unit, or one longer than an input buffer.
    #[error("{}: an access unit of {found} bytes; 1 to {limit} go into an input buffer (FormatRequest::buffer_size)", device.display())]
    UnitSize {
        /// The device node.
        device: PathBuf,
        /// Its bytes.
        found: usize,
        /// Bytes of an input buffer.
        limit: usize,
    },
    /// No dma-buf for a copy of an input could be had.
    #[error("{}: no memory for a copy of the input: {reason}", device.display())]
    NoMemory {
        /// The device node.
        device: PathBuf,
        /// Why, for each allocator.
        reason: String,
    },
    /// The stream is stopped: nothing will arrive until it is started.
    #[error("{} is not streaming: start the capture first", device.display())]
    Stopped {
        /// The device node.
        device: PathBuf,
    },
    /// The device has no such control.
    #[error("{} has no control {control:?}", device.display())]
    NoControl {
        /// The device node.
        device: PathBuf,
        /// Name or id asked for.
        control: String,
    },
    /// A control's value is outside its range or off its step.
    #[error("{}: {value} for control {control:?}, which takes {minimum} to {maximum} in steps of {step}", device.display())]
    ControlRange {
        /// The device node.
        device: PathBuf,
        /// The control's name.
        control: String,
        /// The value asked for.
        value: i64,
        /// The lowest value.
        minimum: i64,
        /// The highest value.
        maximum: i64,
        /// The step.
        step: u64,
    },
    /// A control that has no scalar value (strings, arrays, compound controls), or none that can be read (buttons).
    #[error("{}: control {control:?} is of kind {kind:?} and has no {access} value", device.display())]
    ControlKind {
        /// The device node.
        device: PathBuf,
        /// The control's name.
        control: String,
        /// Its kind.
        kind: ControlKind,
        /// `readable` or `writable`.
        access: &'static str,
    },
    /// A control that cannot be set now: disabled, read-only, or grabbed while streaming.
    #[error("{}: control {control:?} cannot be {access}: it is {state}", device.display())]
    ControlLocked {
        /// The device node.
        device: PathBuf,
        /// The control's name.
        control: String,
        /// `read` or `set`.
        access: &'static str,
        /// Why.
        state: &'static str,
    },
    /// A menu index without an item (menus may have holes).
    #[error("{}: control {control:?} has no menu item {index}", device.display())]
    NoMenuItem {
        /// The device node.
        device: PathBuf,
        /// The control's name.
        control: String,
        /// The index asked for.
        index: i64,
    },
    /// The frame type refused a buffer.
    #[error("{}: {error}", device.display())]
    Core {
        /// The device node.
        device: PathBuf,
        /// Why.
        error: dmaframe_core::Error,
    },
}

impl Error {
    /// The error for `errno` of `request`, with the two that callers act upon as variants of their own.
    pub(crate) fn request(device: &Path, request: &'static str, errno: Errno) -> Self {
        let device = device.to_owned();
        match errno {
            Errno::NODEV | Errno::NXIO => Self::Unplugged { device, request },
            Errno::BUSY => Self::Busy { device, request },
            errno => Self::Request {
                device,
                request,
                errno,
            },
        }
    }

    /// The device node the error is about.
    #[must_use]
    pub fn device(&self) -> Option<&Path> {
        match self {
            Self::NotFound { .. } | Self::NoPixelFormat { .. } => None,
            Self::Open { device, .. }
            | Self::NotCapture { device, .. }
            | Self::NotM2m { device, .. }
            | Self::Busy { device, .. }
            | Self::Unplugged { device, .. }
            | Self::Request { device, .. }
            | Self::FormatRefused { device, .. }
            | Self::FormatChanged { device, .. }
            | Self::UnmappedFormat { device, .. }
            | Self::Interlaced { device, .. }
            | Self::Layout { device, .. }
            | Self::PlaneCount { device, .. }
            | Self::BufferTooSmall { device, .. }
            | Self::BufferLayout { device, .. }
            | Self::ImportEncoded { device, .. }
            | Self::ImportFixed { device }
            | Self::BufferCount { device, .. }
            | Self::ImportRefused { device, .. }
            | Self::MemoryMode { device, .. }
            | Self::BufferIndex { device, .. }
            | Self::Stopped { device }
            | Self::NotRole { device, .. }
            | Self::Stateless { device, .. }
            | Self::SizeRefused { device, .. }
            | Self::Full { device, .. }
            | Self::Draining { device }
            | Self::InputMismatch { device, .. }
            | Self::UnitSize { device, .. }
            | Self::NoMemory { device, .. }
            | Self::NoControl { device, .. }
            | Self::ControlRange { device, .. }
            | Self::ControlKind { device, .. }
            | Self::ControlLocked { device, .. }
            | Self::NoMenuItem { device, .. }
            | Self::Core { device, .. } => Some(device),
        }
    }
}

fn roles(found: &[Role]) -> String {
    if found.is_empty() {
        return "it does nothing this crate knows".to_owned();
    }
    let names: Vec<_> = found.iter().map(|role| format!("{role:?}")).collect();
    format!("it is a {}", names.join(", "))
}

fn import_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::FAULT => {
            " (a device without an IOMMU needs contiguous memory: a CMA heap, or its own buffers exported)"
        }
        _ => "",
    }
}

fn open_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ACCESS | Errno::PERM => " (is the user in the group `video`, or logged in at the seat?)",
        Errno::BUSY => " (another program has it open exclusively)",
        Errno::NOENT | Errno::NXIO | Errno::NODEV => " (is it plugged in, and its driver loaded?)",
        _ => "",
    }
}
