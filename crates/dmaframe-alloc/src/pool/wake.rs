//! The one descriptor everybody waits for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use dmaframe_core::Deadline;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::error::Error;

/// How long a wait goes on without looking again at what no descriptor tells about.
const STEP: Duration = Duration::from_millis(1);

/// An epoll set: the return queue's eventfd, and the fences a starved pool hopes for.
///
/// Descriptors are put in and taken out only under the pool's lock and while they are open; waiting needs no lock,
/// since the set itself lives as long as the pool.
#[derive(Debug)]
pub(super) struct Wake(OwnedFd);

impl Wake {
    pub(super) fn new() -> Result<Self, Error> {
        epoll::create(CreateFlags::CLOEXEC)
            .map(Self)
            .map_err(os("epoll_create1"))
    }

    /// From now on the set is readable while `fd` is.
    pub(super) fn watch(&self, fd: impl AsFd) -> Result<(), Error> {
        epoll::add(&self.0, fd, EventData::new_u64(0), EventFlags::IN).map_err(os("epoll_ctl(EPOLL_CTL_ADD)"))
    }

    /// Must be called before `fd` is closed: a duplicate elsewhere would keep it in the set for ever.
    pub(super) fn unwatch(&self, fd: impl AsFd) {
        // It is in the set: only `watch` decides that.
        let _ = epoll::delete(&self.0, fd);
    }

    /// Waits until something in the set is readable or the deadline passes. With `unwatched` only for a moment, since
    /// what is waited for has no descriptor.
    pub(super) fn wait(&self, deadline: Deadline, unwatched: bool) -> Result<(), Error> {
        loop {
            let mut left = deadline.remaining();
            if unwatched {
                left = Some(left.map_or(STEP, |left| left.min(STEP)));
            }
            let left = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            match rustix::event::poll(&mut fds, left.as_ref()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(os("poll")(errno)),
            }
        }
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn os(call: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Os {
        call,
        device: "the pool's wake-up descriptor".to_owned(),
        errno,
    }
}
