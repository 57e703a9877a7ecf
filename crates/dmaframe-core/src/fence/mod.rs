//! Fences: when somebody else is done with the memory.
//!
//! A [`Fence`] is already signalled, a sync_file, or a point on a `drm_syncobj` timeline. It can be waited for with
//! a deadline, polled, merged, asked for its error, and put into any event loop through its descriptor.
//!
//! ```
//! use dmaframe_core::{Deadline, Fence};
//! let fence = Fence::signaled();
//! assert!(fence.wait(Deadline::now()).unwrap().is_signaled());
//! ```

mod sync_file;
mod timeline;

pub use sync_file::{FenceInfo, SyncFile};
pub use timeline::{Timeline, TimelineDevice, TimelinePoint};

use rustix::io::Errno;

use crate::deadline::Deadline;
use crate::error::{Error, Rejected};

/// What a bounded wait found. A time-out is an answer, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a wait that timed out has not made the memory safe to use"]
pub enum Waited {
    /// The work is done.
    Signaled,
    /// The fence signalled with an error: its owner gave up (a GPU reset, a closed timeline).
    Failed(Errno),
    /// The deadline passed first.
    TimedOut,
}

impl Waited {
    /// Whether the fence signalled without an error.
    #[must_use]
    pub fn is_signaled(self) -> bool {
        self == Self::Signaled
    }
}

/// Completion of somebody's work on a buffer.
#[derive(Debug, Default)]
#[must_use = "dropping a fence forgets that somebody is still at work"]
pub enum Fence {
    /// Nothing to wait for.
    #[default]
    Signaled,
    /// A kernel sync_file; we own the descriptor.
    SyncFile(SyncFile),
    /// A point on a timeline of a DRM device.
    Point(TimelinePoint),
}

impl Fence {
    /// A fence with nothing to wait for.
    pub const fn signaled() -> Self {
        Self::Signaled
    }

    /// Whether there is nothing to wait for by construction (no system call).
    #[must_use]
    pub fn is_trivial(&self) -> bool {
        matches!(self, Self::Signaled)
    }

    /// Whether the work is done now, with or without an error. Does not block.
    ///
    /// # Errors
    /// [`Error::Os`] when the kernel refuses the poll.
    pub fn is_done(&self) -> Result<bool, Error> {
        self.wait(Deadline::now())
            .map(|waited| waited != Waited::TimedOut)
    }

    /// Blocks until the work is done or the deadline passes. Signals do not cut the wait short.
    ///
    /// # Errors
    /// [`Error::Os`] when the kernel refuses the wait.
    pub fn wait(&self, deadline: impl Into<Deadline>) -> Result<Waited, Error> {
        match self {
            Self::Signaled => Ok(Waited::Signaled),
            Self::SyncFile(file) => file.wait(deadline.into()),
            Self::Point(point) => point.wait(deadline.into()),
        }
    }

    /// A fence that signals when both have. Costs one `SYNC_IOC_MERGE` when both are pending and nothing when
    /// either is known to be done; a timeline point is turned into a sync_file first.
    ///
    /// A signalled fence is dropped, and with it its error if the other is still pending, as in the kernel's own merge:
    /// who has to know asks each fence for its status.
    ///
    /// # Errors
    /// [`Error::Os`] with both fences given back: somebody still has to wait for them.
    pub fn merge(self, other: Self) -> Result<Self, Box<Rejected<(Self, Self)>>> {
        match self.merged_with(&other) {
            Ok(Merged::First) => Ok(self),
            Ok(Merged::Second) => Ok(other),
            Ok(Merged::New(file)) => Ok(Self::SyncFile(file)),
            Err(error) => Err(Rejected::new((self, other), error)),
        }
    }

    /// [`Fence::merge`] that cannot fail: what the kernel will not merge (the descriptor table is full) is waited for,
    /// so that memory is not reused early. Blocks only then.
    pub fn merge_or_wait(self, other: Self) -> Self {
        self.merge(other).unwrap_or_else(|rejected| {
            let (first, second) = rejected.value;
            // A wait that cannot even be made leaves nothing better to do than to go on with the first.
            let _ = second.wait(Deadline::NEVER);
            first
        })
    }

    fn merged_with(&self, other: &Self) -> Result<Merged, Error> {
        // The common case, a frame nobody works on any more, reads no clock and makes no call.
        if self.is_trivial() {
            return Ok(Merged::Second);
        }
        if other.is_trivial() {
            return Ok(Merged::First);
        }
        match (self.wait(Deadline::now())?, other.wait(Deadline::now())?) {
            (Waited::TimedOut, Waited::TimedOut) => {}
            (Waited::TimedOut, _) => return Ok(Merged::First),
            (_, Waited::TimedOut) => return Ok(Merged::Second),
            // Both are done: the one with an error has more to say.
            (Waited::Failed(_), _) => return Ok(Merged::First),
            _ => return Ok(Merged::Second),
        }
        let (from_self, from_other);
        let first = match self {
            Self::SyncFile(file) => file,
            Self::Point(point) => {
                from_self = point.to_sync_file()?;
                &from_self
            }
            Self::Signaled => return Ok(Merged::Second),
        };
        let second = match other {
            Self::SyncFile(file) => file,
            Self::Point(point) => {
                from_other = point.to_sync_file()?;
                &from_other
            }
            Self::Signaled => return Ok(Merged::First),
        };
        first.merge(second).map(Merged::New)
    }

    /// The same completion as a sync_file descriptor of our own; `None` when there is nothing to wait for.
    ///
    /// # Errors
    /// [`Error::Os`]; for a timeline point also when no fence was submitted for it yet (`EINVAL`).
    pub fn into_sync_file(self) -> Result<Option<SyncFile>, Error> {
        match self {
            Self::Signaled => Ok(None),
            Self::SyncFile(file) => Ok(Some(file)),
            Self::Point(point) => point.to_sync_file().map(Some),
        }
    }

    /// Another handle to the same completion (a `dup` for a sync_file).
    ///
    /// # Errors
    /// [`Error::Os`] when the descriptor table is full.
    pub fn try_clone(&self) -> Result<Self, Error> {
        Ok(match self {
            Self::Signaled => Self::Signaled,
            Self::SyncFile(file) => Self::SyncFile(file.try_clone()?),
            Self::Point(point) => Self::Point(point.clone()),
        })
    }
}

/// Which fence stands for both.
enum Merged {
    First,
    Second,
    New(SyncFile),
}

impl From<SyncFile> for Fence {
    fn from(file: SyncFile) -> Self {
        Self::SyncFile(file)
    }
}

impl From<Option<SyncFile>> for Fence {
    /// `None` is "nothing to wait for", as Vulkan's -1 and PipeWire's missing fence mean.
    fn from(file: Option<SyncFile>) -> Self {
        file.map_or(Self::Signaled, Self::SyncFile)
    }
}

impl From<TimelinePoint> for Fence {
    fn from(point: TimelinePoint) -> Self {
        Self::Point(point)
    }
}
