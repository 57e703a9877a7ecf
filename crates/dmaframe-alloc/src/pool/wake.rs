//! The one descriptor everybody waits for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use dmaframe_core::Deadline;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::error::Error;

/// How long until what no descriptor tells about is looked at again.
const STEP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 1_000_000,
};
const ZERO: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// An epoll set: the return queue's eventfd, the fences a starved pool hopes for, and a timer for those of them that have
/// no descriptor.
///
/// Descriptors are put in and taken out only under the pool's lock and while they are open; waiting needs no lock,
/// since the set itself lives as long as the pool.
#[derive(Debug)]
pub(super) struct Wake {
    set: OwnedFd,
    timer: OwnedFd,
    armed: AtomicBool,
}

impl Wake {
    pub(super) fn new() -> Result<Self, Error> {
        let set = epoll::create(CreateFlags::CLOEXEC).map_err(os("epoll_create1"))?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(os("timerfd_create"))?;
        let armed = AtomicBool::new(false);
        let wake = Self { set, timer, armed };
        wake.watch(&wake.timer)?;
        Ok(wake)
    }

    /// With `soon`, the set is readable [`STEP`] from now; and in no case because of an earlier call. Under the pool's lock.
    pub(super) fn look_again(&self, soon: bool) -> Result<(), Error> {
        // No system call where there never is such a fence.
        if !soon && !self.armed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: ZERO,
            it_value: if soon { STEP } else { ZERO },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).map_err(os("timerfd_settime"))?;
        self.armed.store(soon, Ordering::Relaxed);
        Ok(())
    }

    /// From now on the set is readable while `fd` is.
    pub(super) fn watch(&self, fd: impl AsFd) -> Result<(), Error> {
        epoll::add(&self.set, fd, EventData::new_u64(0), EventFlags::IN)
            .map_err(os("epoll_ctl(EPOLL_CTL_ADD)"))
    }

    /// Must be called before `fd` is closed: a duplicate elsewhere would keep it in the set for ever.
    pub(super) fn unwatch(&self, fd: impl AsFd) {
        // It is in the set: only `watch` decides that.
        let _ = epoll::delete(&self.set, fd);
    }

    /// Waits until something in the set is readable or the deadline passes.
    pub(super) fn wait(&self, deadline: Deadline) -> Result<(), Error> {
        loop {
            let left = deadline.remaining();
            let left = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            let mut fds = [PollFd::new(&self.set, PollFlags::IN)];
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
        self.set.as_fd()
    }
}

fn os(call: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Os {
        call,
        device: "the pool's wake-up descriptor".to_owned(),
        errno,
    }
}
