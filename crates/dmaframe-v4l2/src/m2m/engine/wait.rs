//! What an engine waits for, and what its descriptor tells.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use arrayvec::ArrayVec;
use rustix::event::{EventfdFlags, PollFd, PollFlags, epoll};

use super::{Drain, Engine};
use crate::device::Device;
use crate::error::Error;
use crate::m2m::role::Role;
use crate::queue::{self, Fill, MAX_SLOTS, TOKEN};

/// Makes the engine's descriptor readable for news that no device tells of.
#[derive(Debug)]
pub(super) struct Bell {
    fd: OwnedFd,
    rung: bool,
}

impl Bell {
    pub(super) fn new(device: &Device, epoll: &OwnedFd) -> Result<Self, Error> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(device.fail("eventfd"))?;
        epoll::add(epoll, fd.as_fd(), TOKEN, epoll::EventFlags::IN).map_err(device.fail("epoll_ctl"))?;
        Ok(Self { fd, rung: false })
    }

    pub(super) fn ring(&mut self) {
        // It cannot be full: it is rung once until it is silenced.
        if !std::mem::replace(&mut self.rung, true) {
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// The engine is going to tell all that it knows.
    pub(super) fn silence(&mut self) {
        if std::mem::take(&mut self.rung) {
            let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        }
    }
}

impl Engine {
    /// Adds the device to the epoll while the driver has a buffer, and takes it out when it has none: vb2 would answer
    /// every poll with `POLLERR` then, or with `POLLIN` for ever after the last buffer of a drain.
    ///
    /// Events make it readable for a decoder only: nobody takes those of the others but whoever subscribed to them, and
    /// until then an event loop would spin.
    pub(super) fn watch(&mut self) -> Result<(), Error> {
        let queued = self.input.with_driver()
            + self
                .output
                .fill
                .as_ref()
                .map_or(0, |fill| fill.slots.with_driver());
        if queued == 0 || self.drain == Drain::Done {
            self.unwatch();
        } else if !self.watched {
            let mut events = epoll::EventFlags::IN | epoll::EventFlags::OUT;
            events.set(epoll::EventFlags::PRI, self.role == Role::Decoder);
            epoll::add(&self.epoll, self.device.as_fd(), TOKEN, events)
                .map_err(self.device.fail("epoll_ctl"))?;
            self.watched = true;
        }
        Ok(())
    }

    pub(super) fn unwatch(&mut self) {
        if std::mem::take(&mut self.watched) {
            let _ = epoll::delete(&self.epoll, self.device.as_fd());
        }
    }

    /// Not through the epoll: outputs that nobody takes make that readable. This waits for inputs to be read, and for what
    /// lets a driver without buffers for its outputs read on: one that a consumer gives back, or the fence of one.
    pub(super) fn wait_for_room(&self, left: Option<Duration>) -> Result<(), Error> {
        let mut events = PollFlags::OUT;
        events.set(PollFlags::PRI, self.role == Role::Decoder);
        let mut fds = ArrayVec::<_, { MAX_SLOTS + 2 }>::new();
        fds.push(PollFd::new(&self.device, events));
        if let Some(fill) = &self.output.fill {
            // The returns and a fence for each slot at most.
            fds.extend(
                fill.wakers()
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            );
        }
        queue::poll(&self.device, &mut fds, left, self.is_ticking())
    }

    /// Whether a fence is waited for that no descriptor tells about.
    pub(super) fn is_ticking(&self) -> bool {
        self.output.fill.as_ref().is_some_and(Fill::is_ticking)
    }
}
