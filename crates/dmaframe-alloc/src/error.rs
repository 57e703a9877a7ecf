//! What can go wrong, on which device, and what would help.

use dmaframe_core::negotiate::NoPlan;
use dmaframe_core::{Fourcc, Layout, LayoutError, Modifier, Size};
use rustix::io::Errno;

use crate::verdict::{PassedOver, Verdict};

/// Everything this crate refuses or passes on. Messages name the device, the value found and the limit, and say what
/// would help where something would.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device node does not exist.
    #[error("{device} does not exist: {remedy}")]
    Missing {
        /// Path of the node.
        device: String,
        /// What would make it exist.
        remedy: String,
    },
    /// The node exists, but this process may not open it.
    #[error(
        "{device} may not be opened by this process: mode {mode:04o}, uid {uid}, group {group} (gid {gid}); add the user to that group or have udev give access (TAG+=\"uaccess\")"
    )]
    Denied {
        /// Path of the node.
        device: String,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// The group's name, or `?`.
        group: String,
    },
    /// The node exists, but the driver behind it is not there or is another one.
    #[error("{device} is there, but its driver is not ({call}: {errno}): {remedy}")]
    NoDriver {
        /// Path of the node.
        device: String,
        /// The call that showed it.
        call: &'static str,
        /// Its error.
        errno: Errno,
        /// What would help.
        remedy: String,
    },
    /// The device works, but not for this.
    #[error("{device} has no {what}: {remedy}")]
    Incapable {
        /// Path of the node.
        device: String,
        /// What it lacks.
        what: &'static str,
        /// What would help.
        remedy: &'static str,
    },
    /// More bytes than the device gives at once.
    #[error("{found} bytes asked of {device}, which gives at most {limit} at once ({setting})")]
    TooLarge {
        /// Path of the node.
        device: String,
        /// Bytes asked for.
        found: u64,
        /// The limit in bytes.
        limit: u64,
        /// Where the limit is set.
        setting: String,
    },
    /// The device has no memory left.
    #[error("{device} has no {bytes} bytes left ({call}: {errno})")]
    OutOfMemory {
        /// Path of the node, or what stands for it.
        device: String,
        /// Bytes asked for.
        bytes: u64,
        /// The call.
        call: &'static str,
        /// Its error.
        errno: Errno,
    },
    /// The device cannot make the format.
    #[error("{device} cannot make {fourcc} {size}: {reason}")]
    Format {
        /// Path of the node, or the allocator.
        device: String,
        /// The format asked for.
        fourcc: Fourcc,
        /// The size asked for.
        size: Size,
        /// Why.
        reason: &'static str,
    },
    /// The device makes none of the modifiers asked for.
    #[error("{device} makes {fourcc} in none of the modifiers asked for ({}); it makes {makes}", list(.asked))]
    Modifier {
        /// Path of the node, or the allocator.
        device: String,
        /// The format asked for.
        fourcc: Fourcc,
        /// The modifiers asked for.
        asked: Vec<Modifier>,
        /// What it does make.
        makes: &'static str,
    },
    /// The layout spreads over more objects than the allocator makes.
    #[error("a layout in {found} objects asked of {device}, which makes {limit}")]
    Objects {
        /// The allocator.
        device: String,
        /// Objects the layout has.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The driver made another layout than it had made for the same request before.
    #[error("{device} made {made:?} where {planned:?} was asked for")]
    Changed {
        /// Path of the node.
        device: String,
        /// What was asked for.
        planned: Box<Layout>,
        /// What came.
        made: Box<Layout>,
    },
    /// Every allocator was passed over.
    #[error("no allocator can do it: {0}")]
    NoAllocator(Verdict),
    /// Frames cannot be passed from a producer to a consumer in any memory there is.
    #[error("{why}{}", list_missing(.missing))]
    NoWay {
        /// What was considered, each way with why not.
        why: Box<NoPlan>,
        /// Allocators that do not work here.
        missing: Vec<PassedOver>,
    },
    /// No slot was free, or none until the deadline: consumers hold them or their fences have not signalled.
    #[error(
        "the pool is starved: of {slots} slots consumers hold {out}, and {fenced} wait for release fences; hold frames for a shorter time, detach them, or give the pool more slots"
    )]
    Starved {
        /// Slots of the pool.
        slots: usize,
        /// In frames.
        out: usize,
        /// Given back, but with a fence that has not signalled.
        fenced: usize,
    },
    /// A pool of no slots or too many.
    #[error("a pool of {found} slots was asked for; 1 to {limit} are possible")]
    Slots {
        /// The number asked for.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A frame of another format or size cannot be copied into the pool.
    #[error("a frame of {found} {found_size} cannot be copied into a pool of {pool} {pool_size}")]
    Picture {
        /// The frame's format.
        found: Fourcc,
        /// The frame's size.
        found_size: Size,
        /// The pool's format.
        pool: Fourcc,
        /// The pool's size.
        pool_size: Size,
    },
    /// The request does not describe a picture.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The core refused: memory that is not what the driver said, a view, a fence.
    #[error(transparent)]
    Core(#[from] dmaframe_core::Error),
    /// A system call failed for another reason.
    #[error("{call} on {device} failed: {errno}")]
    Os {
        /// The call.
        call: &'static str,
        /// Path of the node, or what stands for it.
        device: String,
        /// The error number.
        errno: Errno,
    },
}

impl Error {
    /// Whether waiting and trying again can help.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        matches!(self, Self::Starved { .. })
    }

    /// A failed allocation call: a lack of memory is told apart from the rest.
    pub(crate) fn allocation(device: &str, bytes: u64, call: &'static str, errno: Errno) -> Self {
        let device = device.to_owned();
        match errno {
            Errno::NOMEM | Errno::NOSPC | Errno::FBIG => Self::OutOfMemory {
                device,
                bytes,
                call,
                errno,
            },
            _ => Self::Os { call, device, errno },
        }
    }
}

fn list_missing(missing: &[PassedOver]) -> String {
    missing
        .iter()
        .map(|passed| format!("; {} passed over ({})", passed.allocator, passed.reason))
        .collect()
}

fn list(modifiers: &[Modifier]) -> String {
    modifiers
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// A failed operation that had taken a value gives it back.
pub type Rejected<T> = dmaframe_core::Rejected<T, Error>;

impl<T> From<Box<Rejected<T>>> for Error {
    fn from(rejected: Box<Rejected<T>>) -> Self {
        rejected.error
    }
}
