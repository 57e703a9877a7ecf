//! A pool of frames.
//!
//! Slots come home through the core's [`ReturnQueue`](dmaframe_core::ReturnQueue), whose eventfd sits in an epoll set
//! ([`wake`]) together with the release fences that are pending while the pool is starved, and a timer for those of them
//! that have no descriptor. So whoever waits, here or in an event loop, waits for one descriptor, and holds no lock
//! meanwhile.

mod builder;
mod detach;
mod slots;
mod stats;
mod wake;

pub use builder::{MAX_SLOTS, PoolBuilder};
pub use stats::Stats;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dmaframe_core::{Budget, Buffer, Deadline, Delivery, Frame, Layout};

use crate::allocator::Allocator;
use crate::error::Error;
use crate::request::Request;
use crate::verdict::Verdict;
use slots::Slots;
use wake::Wake;

/// Frames whose memory is used again once their lease has come back *and* their release fence has signalled.
///
/// Threads may share it. Frames are unique when they come out, so the producer can write them, and go home from
/// whichever thread drops the last clone, which never waits for the pool's owner.
///
/// As an event source ([`AsFd`]): readable while [`FramePool::try_acquire`] has a chance. Fences count from the first
/// [`Error::Starved`] on, so ask first and wait then; while one is pending that has no descriptor (a timeline point nobody
/// submitted work for, before Linux 6.6), it is readable a millisecond after each [`Error::Starved`].
///
/// Dropping the pool while frames are out is fine: they stay valid, and their memory goes with the last of them.
pub struct FramePool {
    slots: Mutex<Slots>,
    wake: Wake,
    allocator: Mutex<Box<dyn Allocator>>,
    config: Config,
}

/// What the builder fixed for all generations.
#[derive(Clone, Copy, Debug)]
struct Config {
    budget: Budget,
    implicit: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the mutexes guard is whole between any two statements, so a panic elsewhere harms nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FramePool {
    /// A pool of pictures as `request` (a [`Request`] or a [`Layout`]) says.
    #[must_use = "nothing is allocated before PoolBuilder::build"]
    pub fn builder(request: impl Into<Request>) -> PoolBuilder {
        PoolBuilder::new(request.into())
    }

    /// A free slot as a frame of undefined content, or [`Error::Starved`] at once.
    ///
    /// The frame has default metadata, nothing to wait for, and no clones.
    ///
    /// # Errors
    /// [`Error::Starved`] with the counts; [`Error::Os`] when the timer is refused; [`Error::Core`] when a buffer of [`FramePool::buffers`] was put into a
    /// frame behind the pool's back.
    pub fn try_acquire(&self) -> Result<Frame, Error> {
        let mut slots = lock(&self.slots);
        let found = slots.acquire(&self.wake);
        if let Err(Error::Starved { .. }) = found {
            slots.stats.starved += 1;
        }
        found
    }

    /// [`FramePool::try_acquire`] that waits until the deadline for a slot to come home and its fence to signal.
    ///
    /// # Errors
    /// As [`FramePool::try_acquire`], [`Error::Starved`] at the deadline; [`Error::Os`] when the wait is refused.
    pub fn acquire(&self, deadline: impl Into<Deadline>) -> Result<Frame, Error> {
        let deadline = deadline.into();
        let mut waited = false;
        loop {
            // In a statement of its own: the lock must be gone before the wait.
            let found = lock(&self.slots).acquire(&self.wake);
            match found {
                Err(starved)
                    if starved.is_starved() && !deadline.remaining().is_some_and(|left| left.is_zero()) =>
                {
                    if !waited {
                        lock(&self.slots).stats.waited += 1;
                        waited = true;
                    }
                    self.wake.wait(deadline)?;
                }
                Err(starved) if starved.is_starved() => {
                    lock(&self.slots).stats.starved += 1;
                    return Err(starved);
                }
                other => return other,
            }
        }
    }

    /// Changes to another picture: a new generation of as many slots from the same allocator.
    ///
    /// Frames of the old generation stay valid; when they drop, their memory is freed and no slot comes back. Threads
    /// in [`FramePool::acquire`] get frames of the new one.
    ///
    /// # Errors
    /// Those of the allocator. The pool is then as it was.
    pub fn renegotiate(&self, request: impl Into<Request>) -> Result<(), Error> {
        let count = lock(&self.slots).count();
        self.resize(request, count)
    }

    /// [`FramePool::renegotiate`] with another number of slots.
    ///
    /// # Errors
    /// As [`FramePool::renegotiate`], and [`Error::Slots`].
    pub fn resize(&self, request: impl Into<Request>, count: usize) -> Result<(), Error> {
        // Held to the end, so that of two threads that renegotiate at once the later one wins as a whole.
        let allocator = lock(&self.allocator);
        let new = Slots::allocate(&**allocator, &request.into(), count, self.config)?;
        let old = {
            let mut slots = lock(&self.slots);
            // Watches the new queue first: when that fails, the old one is still there.
            new.watch(&self.wake)?;
            slots.unwatch(&self.wake);
            let mut new = new;
            (new.stats, new.watched) = (slots.stats, slots.watched);
            std::mem::replace(&mut *slots, new)
        };
        old.close();
        Ok(())
    }

    /// The layout of the frames it gives now.
    #[must_use]
    pub fn layout(&self) -> Layout {
        lock(&self.slots).layout().clone()
    }

    /// The buffers of the slots, in order: for a driver that wants to import all of them beforehand. Putting them into
    /// frames is the pool's business.
    #[must_use]
    pub fn buffers(&self) -> Vec<Arc<Buffer>> {
        lock(&self.slots).buffers().to_vec()
    }

    /// The generation its buffers are stamped with; another one after each [`FramePool::renegotiate`].
    #[must_use]
    pub fn generation(&self) -> u64 {
        lock(&self.slots).generation()
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        lock(&self.slots).count()
    }

    /// How many slots are not free: in frames, or waiting for a fence that the pool has looked at.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        lock(&self.slots).outstanding()
    }

    /// What a source should do with its next picture by the pool's [`Budget`]: share a slot, deliver a copy, or drop
    /// it. So that consumers who hold frames never take the last ones.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        let slots = lock(&self.slots);
        self.config.budget.decide(slots.count(), slots.outstanding())
    }

    /// The counters since the pool was built.
    #[must_use]
    pub fn stats(&self) -> Stats {
        lock(&self.slots).stats
    }

    /// Which allocator made the memory, and why not the others.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        lock(&self.allocator).verdict()
    }
}

impl AsFd for FramePool {
    /// Readable while slots are at home; after [`Error::Starved`] also for their fences.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Drop for FramePool {
    fn drop(&mut self) {
        // Frames still out must find nobody at home, or their slots would keep the buffers alive.
        lock(&self.slots).close();
    }
}

impl fmt::Debug for FramePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = lock(&self.slots);
        let (size, fourcc) = (slots.layout().size(), slots.layout().fourcc());
        write!(
            f,
            "FramePool({fourcc} {size}, {} of {} slots out, {})",
            slots.outstanding(),
            slots.count(),
            slots.stats
        )
    }
}
