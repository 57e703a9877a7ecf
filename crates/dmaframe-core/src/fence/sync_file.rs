//! `sync_file`: a fence as a descriptor (`Documentation/driver-api/sync_file.rst`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::Waited;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::sys;

/// A kernel sync_file whose descriptor we own. Readable (`POLLIN`) once signalled.
#[derive(Debug)]
pub struct SyncFile(OwnedFd);

/// One fence behind a sync_file, as `SYNC_IOC_FILE_INFO` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FenceInfo {
    /// The timeline's name.
    pub timeline: String,
    /// The driver's name.
    pub driver: String,
    /// `None` while pending, else how it ended.
    pub status: Option<Result<(), Errno>>,
    /// When its status last changed, `CLOCK_MONOTONIC` nanoseconds (0 while pending).
    pub timestamp_ns: u64,
}

impl SyncFile {
    /// Takes over a descriptor that came from outside, having asked the kernel that it is a sync_file.
    ///
    /// # Errors
    /// [`Error::Os`] (`SYNC_IOC_FILE_INFO`, `ENOTTY`) when it is something else; the descriptor is closed.
    pub fn new(fd: OwnedFd) -> Result<Self, Error> {
        sys::sync_file::status(fd.as_fd()).map_err(Error::os("SYNC_IOC_FILE_INFO", "sync_file"))?;
        Ok(Self(fd))
    }

    /// From a call of ours that returns nothing else.
    pub(crate) fn from_kernel(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Its status: `None` while pending.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn status(&self) -> Result<Option<Result<(), Errno>>, Error> {
        let (status, ..) = self.file_info()?;
        Ok(decode(status))
    }

    /// The name given at creation or by the merge that made it.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn name(&self) -> Result<String, Error> {
        let (_, name, _) = self.file_info()?;
        Ok(sys::sync_file::text(&name))
    }

    /// Every fence it stands for. Allocates: for diagnostics, not for each frame.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn fences(&self) -> Result<Vec<FenceInfo>, Error> {
        let list =
            sys::sync_file::fences(self.as_fd()).map_err(Error::os("SYNC_IOC_FILE_INFO", "sync_file"))?;
        Ok(list
            .iter()
            .map(|info| FenceInfo {
                timeline: sys::sync_file::text(&info.obj_name),
                driver: sys::sync_file::text(&info.driver_name),
                status: decode(info.status),
                timestamp_ns: info.timestamp_ns,
            })
            .collect())
    }

    /// A sync_file that signals when both have.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn merge(&self, other: &Self) -> Result<Self, Error> {
        sys::sync_file::merge(self.as_fd(), other.as_fd(), "dmaframe")
            .map(Self)
            .map_err(Error::os("SYNC_IOC_MERGE", "sync_file"))
    }

    /// A `dup` of the descriptor.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn try_clone(&self) -> Result<Self, Error> {
        rustix::io::fcntl_dupfd_cloexec(&self.0, 0)
            .map(Self)
            .map_err(Error::os("fcntl(F_DUPFD_CLOEXEC)", "sync_file"))
    }

    pub(super) fn wait(&self, deadline: Deadline) -> Result<Waited, Error> {
        let done =
            sys::poll(self.as_fd(), PollFlags::IN, deadline).map_err(Error::os("poll", "sync_file"))?;
        if !done {
            return Ok(Waited::TimedOut);
        }
        // poll says that it ended, not how.
        Ok(match self.status()? {
            Some(Err(errno)) => Waited::Failed(errno),
            _ => Waited::Signaled,
        })
    }

    fn file_info(&self) -> Result<(i32, [u8; 32], u32), Error> {
        sys::sync_file::status(self.as_fd()).map_err(Error::os("SYNC_IOC_FILE_INFO", "sync_file"))
    }
}

fn decode(status: i32) -> Option<Result<(), Errno>> {
    match status {
        0 => None,
        1.. => Some(Ok(())),
        error => Some(Err(Errno::from_raw_os_error(-error))),
    }
}

impl AsFd for SyncFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<SyncFile> for OwnedFd {
    fn from(file: SyncFile) -> Self {
        file.0
    }
}
