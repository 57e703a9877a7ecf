//! The only module with `unsafe` in it: ioctls, mappings and copies from memory that others may write.

pub(crate) mod access;
pub(crate) mod dmabuf;
pub(crate) mod memory;
pub(crate) mod sync_file;
pub(crate) mod syncobj;

use std::os::fd::BorrowedFd;
#[cfg(feature = "tokio")]
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::deadline::Deadline;

/// Polls one descriptor until `events` or the deadline; `false` is the deadline. Survives signals.
pub(crate) fn poll(fd: BorrowedFd<'_>, events: PollFlags, deadline: Deadline) -> Result<bool, Errno> {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(fd, events)];
        match rustix::event::poll(&mut fds, deadline.timespec().as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) if fds[0].revents().contains(PollFlags::NVAL) => return Err(Errno::BADF),
            Ok(_) => return Ok(true),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Repeats a call the kernel cut short: dma-buf and DRM ioctls return both (`DMA_BUF_IOCTL_SYNC` documents it).
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR | Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Registers a descriptor for readability with the current tokio runtime.
#[cfg(feature = "tokio")]
pub(crate) fn async_fd(fd: OwnedFd) -> std::io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: the registration owns the descriptor, so it stays open and the same for as long as that lives; callers
    // only read through a shared reference to it.
    let registered =
        unsafe { tokio::io::unix::AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE) };
    registered.map_err(Into::into)
}
