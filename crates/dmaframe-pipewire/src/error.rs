//! What can go wrong.

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Fourcc, Size};
use rustix::io::Errno;

use crate::pod::{BlockError, PodError};

/// Everything this crate refuses or passes on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No daemon answers.
    #[error(
        "no PipeWire daemon answers at {remote} ({reason}): is it running for this user, and is XDG_RUNTIME_DIR set? \
         (`systemctl --user status pipewire wireplumber`)"
    )]
    Connect {
        /// The socket: the default one, or the descriptor given.
        remote: &'static str,
        /// What libpipewire says.
        reason: String,
    },
    /// The daemon went away. A new stream has to be started once it is back.
    #[error("the PipeWire daemon is gone ({message}): start a new stream when it is back")]
    Disconnected {
        /// What libpipewire says.
        message: String,
    },
    /// The daemon took the stream's own node away (`pw-cli destroy`, a session manager without a target for it).
    #[error("the daemon has removed the stream's own node: start a new stream")]
    Removed,
    /// Both sides offered formats and none is the same.
    #[error("{message}: we offer {ours}")]
    NoCommonFormat {
        /// What the daemon says.
        message: String,
        /// Our offers, listed.
        ours: String,
    },
    /// The daemon gave the stream up for another reason.
    #[error("the stream failed: {message}")]
    Stream {
        /// What the daemon says.
        message: String,
    },
    /// A set of formats of which nothing can be offered: PipeWire has a name for none, or not with the kinds of memory asked
    /// for.
    #[error(
        "{name} has no format that can be offered ({formats}): PipeWire must have a name for it, and shared memory is LINEAR"
    )]
    NoFormat {
        /// The set.
        name: String,
        /// What is in it.
        formats: String,
    },
    /// No allocator makes any of the modifiers that were negotiated.
    #[error("none of the modifiers that the consumer takes can be made here: {reasons}")]
    NoModifier {
        /// What was tried, and what the allocator says.
        reasons: String,
    },
    /// A picture of another format or size than the stream has now.
    #[error("the frame is {found} {found_size}, the stream is {wanted} {wanted_size}")]
    Picture {
        /// Format of the frame.
        found: Fourcc,
        /// Size of the frame.
        found_size: Size,
        /// Format of the stream.
        wanted: Fourcc,
        /// Size of the stream.
        wanted_size: Size,
    },
    /// All buffers are with consumers, or nobody is watching.
    #[error("no free buffer: {slots} in all, {busy} with consumers, {held} in frames that were not pushed")]
    Starved {
        /// Buffers in all; 0 while nobody is connected.
        slots: usize,
        /// With consumers.
        busy: usize,
        /// Acquired and neither pushed nor dropped.
        held: usize,
    },
    /// The buffers are imported ones: only frames that are in them can go out as dma-bufs.
    #[error(
        "the stream's buffers are imported ones, and the frame is in none of them that is free: nothing may be copied there"
    )]
    Imported,
    /// Buffers that cannot be a camera's.
    #[error("the buffers to import cannot be a camera's: {reason}")]
    Import {
        /// The first of them that is wrong, and why.
        reason: String,
    },
    /// Memory of a kind that a peer does not take.
    #[error("the consumers take memory of the kinds {wanted:#x}, not {kind}")]
    Memory {
        /// Bits `1 << SPA_DATA_*`.
        wanted: u32,
        /// What we have.
        kind: &'static str,
    },
    /// A block of a buffer without a descriptor.
    #[error("data block {block} has no descriptor")]
    NoDescriptor {
        /// The block.
        block: usize,
    },
    /// A property that libpipewire keeps for itself: which thread calls back, where the node's memory is.
    #[error("the property {key} is the library's own: a stream cannot be given it")]
    Property {
        /// Its key.
        key: String,
    },
    /// Configuration or environment have moved the stream to another thread than its own, which cannot be worked on.
    #[error(
        "the stream was called on another thread than its own: is node.loop.class or node.loop.name set in PIPEWIRE_PROPS, \
         or in stream.rules of client.conf?"
    )]
    Thread,
    /// A name with a zero byte in it.
    #[error("{name:?} is no name: it has a zero byte in it")]
    Name {
        /// The name.
        name: String,
    },
    /// What the peer sent is no format.
    #[error(transparent)]
    Pod(#[from] PodError),
    /// What the peer sent is no picture.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// Memory, fences or layout.
    #[error(transparent)]
    Core(#[from] dmaframe_core::Error),
    /// No memory for buffers.
    #[error(transparent)]
    Alloc(#[from] dmaframe_alloc::Error),
    /// The portal gives nothing.
    #[cfg(feature = "portal")]
    #[error(transparent)]
    Portal(#[from] crate::portal::PortalError),
    /// A call failed.
    #[error("{call} failed: {errno}")]
    Os {
        /// The call.
        call: &'static str,
        /// The error number.
        errno: Errno,
    },
}

/// A refused operation gives back what it was handed.
pub type Rejected<T> = dmaframe_core::Rejected<T, Error>;

impl Error {
    pub(crate) fn os(call: &'static str, errno: Errno) -> Self {
        Self::Os { call, errno }
    }

    /// A stream's error state, told apart as far as the daemon's words go.
    pub(crate) fn of_stream(message: String, ours: &FormatSet) -> Self {
        if message.contains("no more") && message.contains("format") || message.contains("egotiat") {
            let ours = list(ours);
            return Self::NoCommonFormat { message, ours };
        }
        if message.contains("connection error") {
            return Self::Disconnected { message };
        }
        Self::Stream { message }
    }
}

/// A set on one line.
pub(crate) fn list(set: &FormatSet) -> String {
    set.iter()
        .map(|pair| pair.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
