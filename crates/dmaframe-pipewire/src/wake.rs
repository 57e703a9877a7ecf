//! How the loop's thread and its users wake each other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use dmaframe_core::Deadline;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

use crate::error::Error;

/// An eventfd that is readable or not.
#[derive(Debug)]
pub(crate) struct Signal(OwnedFd);

impl Signal {
    pub(crate) fn new() -> Result<Self, Error> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        fd.map(Self).map_err(|errno| Error::os("eventfd", errno))
    }

    pub(crate) fn set(&self) {
        // Full means readable already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// What `look` finds, as soon as it does: it is asked again whenever this is readable. `None` at the deadline.
    pub(crate) fn until<T>(
        &self,
        deadline: Deadline,
        look: impl Fn() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        loop {
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            if !self.wait(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Waits until it is readable. `false` when the deadline passed first.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<bool, Error> {
        loop {
            let left = deadline.remaining().map(timespec);
            match rustix::event::poll(&mut [PollFd::new(&self.0, PollFlags::IN)], left.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::os("poll", errno)),
            }
        }
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: span.subsec_nanos().into(),
    }
}

/// Everything the loop's thread waits for besides libpipewire, behind one descriptor.
#[derive(Debug)]
pub(crate) struct WakeSet {
    epoll: OwnedFd,
    timer: OwnedFd,
}

impl WakeSet {
    pub(crate) fn new(signal: &Signal) -> Result<Self, Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| Error::os("epoll_create1", e))?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)
            .map_err(|e| Error::os("timerfd_create", e))?;
        let set = Self { epoll, timer };
        set.add(signal)?;
        set.add(&set.timer)?;
        Ok(set)
    }

    pub(crate) fn add(&self, fd: impl AsFd) -> Result<(), Error> {
        let data = epoll::EventData::new_u64(0);
        epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN).map_err(|e| Error::os("epoll_ctl", e))
    }

    pub(crate) fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Wakes once after `span`, for what has no descriptor.
    pub(crate) fn tick(&self, span: Duration) {
        let once = Itimerspec {
            it_interval: timespec(Duration::ZERO),
            it_value: timespec(span),
        };
        let _ = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
    }

    pub(crate) fn clear_tick(&self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
    }
}

impl AsFd for WakeSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
