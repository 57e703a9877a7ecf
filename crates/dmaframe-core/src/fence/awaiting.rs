//! Waiting on a tokio runtime.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::several::and;
use super::{Fence, SyncFile, TimelinePoint, Waited};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::sys;

/// How often a timeline point is looked at where the kernel has no eventfd for it (before Linux 6.6).
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

impl Fence {
    /// [`Fence::wait`] without a deadline that blocks no thread, on a tokio runtime with its I/O driver on (a timer is not
    /// needed; `tokio::time::timeout` makes a deadline). May be dropped at any time, and any number of tasks may wait for
    /// one fence.
    ///
    /// # Errors
    /// [`Error::Os`] when the kernel refuses a descriptor, its registration or the wait.
    ///
    /// # Panics
    /// Outside of such a runtime.
    pub async fn wait_async(&self) -> Result<Waited, Error> {
        let Self::All(all) = self else {
            return one(self).await;
        };
        let mut found = Ok(Waited::Signaled);
        for fence in all.iter() {
            match and(found, one(fence).await) {
                ControlFlow::Continue(so_far) => found = so_far,
                ControlFlow::Break(ended) => return ended,
            }
        }
        found
    }
}

async fn one(fence: &Fence) -> Result<Waited, Error> {
    match fence {
        Fence::SyncFile(file) => file.wait_async().await,
        Fence::Point(point) => point.wait_async().await,
        // Lists hold no lists.
        Fence::Signaled | Fence::All(_) => Ok(Waited::Signaled),
    }
}

impl SyncFile {
    /// As [`Fence::wait_async`].
    ///
    /// # Errors
    /// [`Error::Os`].
    ///
    /// # Panics
    /// As [`Fence::wait_async`].
    pub async fn wait_async(&self) -> Result<Waited, Error> {
        // epoll takes a descriptor once: a duplicate, so that others may wait too.
        let fd = registered(self.try_clone()?.into(), "sync_file")?;
        // A signalled sync_file stays readable, so readiness never has to be cleared.
        let _ready = fd.readable().await.map_err(os("epoll_wait", "sync_file"))?;
        self.wait(Deadline::now())
    }
}

impl TimelinePoint {
    async fn wait_async(&self) -> Result<Waited, Error> {
        if let Ok(event) = self.eventfd() {
            let event = registered(event, "timeline point")?;
            let _ready = event
                .readable()
                .await
                .map_err(os("epoll_wait", "timeline point"))?;
        }
        let mut waited = self.wait(Deadline::now())?;
        if waited != Waited::TimedOut {
            return Ok(waited);
        }
        let ticks = registered(ticks()?, "timeline point")?;
        while waited == Waited::TimedOut {
            let mut ready = ticks
                .readable()
                .await
                .map_err(os("epoll_wait", "timeline point"))?;
            let _ = rustix::io::read(ticks.get_ref(), &mut [0; 8]);
            ready.clear_ready();
            waited = self.wait(Deadline::now())?;
        }
        Ok(waited)
    }
}

/// A timer of our own: the runtime's may be off.
fn ticks() -> Result<OwnedFd, Error> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)
        .map_err(Error::os("timerfd_create", "timeline point"))?;
    let again = Itimerspec {
        it_interval: TICK,
        it_value: TICK,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &again)
        .map_err(Error::os("timerfd_settime", "timeline point"))?;
    Ok(timer)
}

fn registered(fd: OwnedFd, object: &'static str) -> Result<AsyncFd<OwnedFd>, Error> {
    sys::async_fd(fd).map_err(os("epoll_ctl", object))
}

fn os(call: &'static str, object: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::Os { call, object, errno }
    }
}
