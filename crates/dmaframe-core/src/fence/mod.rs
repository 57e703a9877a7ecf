//! Fences: when somebody else is done with the memory.
//!
//! A [`Fence`] is already signalled, a sync_file, a point on a `drm_syncobj` timeline, or several of these. It can be
//! waited for with a deadline, polled, merged, asked for its error, and put into any event loop through its descriptor.
//!
//! ```
//! use dmaframe_core::{Deadline, Fence};
//! let fence = Fence::signaled();
//! assert!(fence.wait(Deadline::now()).unwrap().is_signaled());
//! ```

#[cfg(feature = "tokio")]
mod awaiting;
mod several;
mod sync_file;
mod timeline;

pub use several::Fences;
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
    /// The fence signalled with an error: its owner gave up (a GPU reset, a closed timeline). A timeline point never says
    /// so: the kernel's timelines keep no errors.
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
#[non_exhaustive]
pub enum Fence {
    /// Nothing to wait for.
    #[default]
    Signaled,
    /// A kernel sync_file; we own the descriptor.
    SyncFile(SyncFile),
    /// A point on a timeline of a DRM device.
    Point(TimelinePoint),
    /// Several that the kernel could not make one of; done when all are.
    All(Fences),
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
            Self::All(all) => all.wait(deadline.into()),
        }
    }

    /// A fence that signals when both have. Does not block and cannot fail.
    ///
    /// Costs one `SYNC_IOC_MERGE` when both are pending and nothing when either is known to be done; of two points of one
    /// timeline the higher stands for both. What the kernel cannot merge (a point that no work was submitted for yet, a
    /// full descriptor table) is kept side by side, as [`Fence::All`], which allocates.
    ///
    /// A fence that signalled without an error is dropped; one with an error stays, until the kernel merges it.
    pub fn merge(self, other: Self) -> Self {
        // The common case, a frame nobody works on any more, reads no clock and makes no call.
        if self.is_trivial() {
            return other;
        }
        if other.is_trivial() {
            return self;
        }
        match (self.state(), other.state()) {
            (Waited::Signaled, _) => other,
            (_, Waited::Signaled) | (Waited::Failed(_), Waited::Failed(_)) => self,
            (Waited::TimedOut, Waited::TimedOut) => Fences::pending(self, other),
            (Waited::Failed(_), _) | (_, Waited::Failed(_)) => Fences::beside(self, other),
        }
    }

    /// How it is now. A fence the kernel will not be asked about counts as pending: too late is safe, too early is not.
    fn state(&self) -> Waited {
        self.wait(Deadline::now()).unwrap_or(Waited::TimedOut)
    }

    /// The same completion as a sync_file descriptor of our own; `None` when there is nothing to wait for.
    ///
    /// # Errors
    /// [`Error::Os`]; for a timeline point also when no work was submitted for it yet (`EINVAL`). The fence comes back.
    pub fn into_sync_file(self) -> Result<Option<SyncFile>, Box<Rejected<Self>>> {
        match self {
            Self::Signaled => Ok(None),
            Self::SyncFile(file) => Ok(Some(file)),
            other => other.to_sync_file().map_err(|error| Rejected::new(other, error)),
        }
    }

    /// [`Fence::into_sync_file`] that leaves the fence where it is and gives a descriptor of its own, which the caller
    /// owns.
    ///
    /// # Errors
    /// As [`Fence::into_sync_file`].
    pub fn to_sync_file(&self) -> Result<Option<SyncFile>, Error> {
        match self {
            Self::Signaled => Ok(None),
            Self::SyncFile(file) => file.try_clone().map(Some),
            Self::Point(point) => point.to_sync_file().map(Some),
            Self::All(all) => all.to_sync_file(),
        }
    }

    /// The same completion as a sync_file where it can be one now, since that has a descriptor for an event loop; as it
    /// was otherwise: then it has to be looked at from time to time. Does not block.
    pub fn into_pollable(self) -> Self {
        self.into_sync_file()
            .map_or_else(|rejected| rejected.value, Self::from)
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
            Self::All(all) => Self::All(all.try_clone()?),
        })
    }
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
