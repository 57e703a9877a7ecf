//! What can go wrong, and with which numbers.

use std::fmt;

use rustix::io::Errno;

use crate::format::{Fourcc, Modifier};
use crate::layout::{MAX_PLANES, Rect, Size};

/// Planes, strides or sizes that do not describe a picture inside its memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The format table has no geometry for this code.
    #[error("format {fourcc} is not in the format table, so its planes cannot be checked")]
    UnknownFormat {
        /// The code found.
        fourcc: Fourcc,
    },
    /// Width or height is 0.
    #[error("size {size} is empty: width and height must be at least 1")]
    EmptySize {
        /// The size found.
        size: Size,
    },
    /// Too few or too many planes for the format and modifier.
    #[error(
        "{found} planes for {fourcc}, which has {expected} (a modifier may add up to {MAX_PLANES} in all)"
    )]
    PlaneCount {
        /// The format.
        fourcc: Fourcc,
        /// Planes found.
        found: usize,
        /// Planes of the format.
        expected: usize,
    },
    /// No memory object, or more than four.
    #[error("{found} memory objects; a frame has 1 to {limit}")]
    ObjectCount {
        /// Objects found.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A plane names an object that is not there.
    #[error("plane {plane} names object {found}, but there are {objects}")]
    ObjectIndex {
        /// The plane.
        plane: usize,
        /// The index found.
        found: usize,
        /// Objects there are.
        objects: usize,
    },
    /// An object that no plane is in: its descriptor would be carried for nothing.
    #[error("object {object} holds no plane")]
    UnusedObject {
        /// The object.
        object: usize,
    },
    /// Rows overlap.
    #[error("plane {plane}: stride {stride} is below the {row_bytes} bytes of a row")]
    StrideTooSmall {
        /// The plane.
        plane: usize,
        /// Stride found, in bytes.
        stride: u32,
        /// Bytes a row needs.
        row_bytes: u64,
    },
    /// The plane reaches past the end of its object.
    #[error("plane {plane} ends at byte {end} of object {object}, which has {object_size}")]
    PastEnd {
        /// The plane.
        plane: usize,
        /// One past the plane's last byte.
        end: u64,
        /// The object.
        object: usize,
        /// Its true size in bytes.
        object_size: u64,
    },
    /// Offset, stride and rows do not fit in 64 bits (or a stride in 32).
    #[error("plane {plane}: offset + stride * rows does not fit in 64 bits, or its stride in 32")]
    Overflow {
        /// The plane.
        plane: usize,
    },
    /// The picture reaches over more bytes than the receiver is willing to take from outside.
    #[error("the picture reaches over {bytes} bytes; the limit for frames from outside is {limit}")]
    TooLarge {
        /// Bytes of its objects from the first to the picture's last, padding and all.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A row alignment that is not a power of two.
    #[error("row alignment {align} is not a power of two")]
    Alignment {
        /// The alignment found.
        align: u32,
    },
    /// The visible rectangle is empty or not inside the coded size.
    #[error("visible rect {rect:?} is empty or reaches outside the coded size {size}")]
    Visible {
        /// The rectangle found.
        rect: Rect,
        /// The coded size.
        size: Size,
    },
}

/// Everything else this crate refuses or passes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The layout does not hold.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The descriptor is neither a dma-buf nor a memfd.
    #[error(
        "object {object} is not a dma-buf or memfd (file system magic {magic:#x}, a dma-buf has 0x444d4142)"
    )]
    NotDmabuf {
        /// The object's index.
        object: usize,
        /// What `fstatfs` says it is.
        magic: u64,
    },
    /// A memfd that does not lie in a tmpfs: one of huge pages, of which none may be left when it is read.
    #[error(
        "object {object} is a memfd of file system {magic:#x}, not of a tmpfs (0x1021994): reading a huge page that the system has run out of ends in SIGBUS"
    )]
    NotTmpfs {
        /// The object's index.
        object: usize,
        /// What `fstatfs` says it is.
        magic: u64,
    },
    /// A memfd its owner can shrink: reading it could end in SIGBUS.
    #[error(
        "object {object} is a memfd without F_SEAL_SHRINK (seals {seals:#x}): its owner could truncate it under a reader"
    )]
    Unsealed {
        /// The object's index.
        object: usize,
        /// The seals it has.
        seals: u32,
    },
    /// Some objects are dma-bufs and some memfds.
    #[error("object {object} is of another kind than object 0: a frame is either all dma-bufs or all memfds")]
    MixedObjects {
        /// The first object that differs.
        object: usize,
    },
    /// A CPU view of a layout only drivers can address.
    #[error("modifier {modifier} cannot be read by the CPU: only LINEAR has rows")]
    NotLinear {
        /// The modifier found.
        modifier: Modifier,
    },
    /// The descriptor was opened for reading only.
    #[error("object {object} is open for reading only and cannot be mapped for writing")]
    ReadOnly {
        /// The object's index.
        object: usize,
    },
    /// Other clones of the frame exist, or somebody outside may write: no exclusive view.
    #[error("the frame is shared ({reason}): an exclusive view needs the only handle of private memory")]
    Shared {
        /// Who else has it.
        reason: &'static str,
    },
    /// A row was asked for as a slice in memory that others may be writing.
    #[error("object {object} may be written by others meanwhile: copy rows out instead of borrowing them")]
    Foreign {
        /// The object's index.
        object: usize,
    },
    /// The descriptor cannot be handed out while a borrowed view of its memory is alive.
    #[error("object {object} is borrowed by {views} CPU view(s): drop them before lending its descriptor")]
    Borrowed {
        /// The object's index.
        object: usize,
        /// Views alive.
        views: u32,
    },
    /// The buffer is already in a frame.
    #[error("buffer {id} is already in a frame; one delivery at a time")]
    InUse {
        /// The buffer.
        id: crate::buffer::BufferId,
    },
    /// The fence did not signal before the deadline. The frame is untouched.
    #[error("the {what} had not signalled at the deadline")]
    Timeout {
        /// Which fence.
        what: &'static str,
    },
    /// The fence signalled with an error: the producer failed, the pixels are not what was promised.
    #[error("the acquire fence signalled with an error: {errno}")]
    FenceFailed {
        /// The fence's status.
        errno: Errno,
    },
    /// A destination that is too small.
    #[error("{what}: {found} bytes given, {needed} needed")]
    TooSmall {
        /// What was given.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length needed.
        needed: usize,
    },
    /// A plane or row the layout does not have.
    #[error("{what} {index} of {limit}")]
    OutOfRange {
        /// Plane, row, slot or object.
        what: &'static str,
        /// The index asked for.
        index: usize,
        /// How many there are.
        limit: usize,
    },
    /// Text that is no size.
    #[error("'{text}' is not WIDTHxHEIGHT, for example 1280x720")]
    NoSize {
        /// The text.
        text: String,
    },
    /// A picture of another format or size than the one to be written.
    #[error("a picture of {found} {found_size} cannot be copied into one of {wanted} {wanted_size}")]
    Picture {
        /// The source's format.
        found: crate::Fourcc,
        /// The source's size.
        found_size: crate::Size,
        /// The target's format.
        wanted: crate::Fourcc,
        /// The target's size.
        wanted_size: crate::Size,
    },
    /// More bytes than this process could address.
    #[error("{bytes} bytes cannot be mapped: the address space takes {limit} at most")]
    Unmappable {
        /// Bytes to be mapped.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// There is no memory for a copy of this size.
    #[error("no memory for a copy of {bytes} bytes")]
    NoMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// An operation this format or object does not support.
    #[error("{operation} is not supported for {object}")]
    Unsupported {
        /// What was asked.
        operation: &'static str,
        /// For what.
        object: String,
    },
    /// A system call failed.
    #[error("{call} on {object} failed: {errno}")]
    Os {
        /// The call.
        call: &'static str,
        /// What it was called on.
        object: &'static str,
        /// The error number.
        errno: Errno,
    },
}

impl Error {
    /// For `map_err` on a system call.
    pub(crate) fn os(call: &'static str, object: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::Os { call, object, errno }
    }
}

/// A failed operation that had taken a value gives it back. Adapters use it with their own error type.
///
/// As an error it stands for the one inside: it prints what that prints, and its source is that one's source.
#[derive(Debug)]
pub struct Rejected<T, E: std::error::Error + 'static = Error> {
    /// What the caller had handed over, untouched.
    pub value: T,
    /// Why it was refused.
    pub error: E,
}

impl<T, E: std::error::Error + 'static> fmt::Display for Rejected<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T: fmt::Debug, E: std::error::Error + 'static> std::error::Error for Rejected<T, E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl<T, E: std::error::Error + 'static> Rejected<T, E> {
    /// Boxed, so that a `Result` stays small.
    #[must_use]
    pub fn new(value: T, error: impl Into<E>) -> Box<Self> {
        Box::new(Self {
            value,
            error: error.into(),
        })
    }
}
