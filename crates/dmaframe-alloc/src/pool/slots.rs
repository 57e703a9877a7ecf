//! The slots of one generation: free, out, or waiting for a fence.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use dmaframe_core::{
    Access, Buffer, Deadline, Fence, Frame, FrameMeta, Layout, ReturnQueue, Waited, next_generation,
};
use rustix::io::Errno;

use super::wake::Wake;
use super::{Config, MAX_SLOTS, Stats};
use crate::allocator::Allocator;
use crate::error::Error;
use crate::request::Request;

/// Free slots stay in the return queue until somebody takes one, and fences that have signalled stay in the wake-up set
/// until their slot is taken: so the set is readable as long as there is something to take, and no thread that waits for
/// it can miss what another one left over.
///
/// All lists have their full capacity from the start: nothing here allocates after [`Slots::allocate`].
pub(super) struct Slots {
    queue: Arc<ReturnQueue>,
    buffers: Vec<Arc<Buffer>>,
    pending: Vec<Pending>,
    /// Somebody was told that the pool is starved and may be waiting for the wake-up set: from then on it has every
    /// pending fence in it. Until then that is two system calls a frame saved.
    pub(super) watched: bool,
    generation: u64,
    implicit: bool,
    pub(super) stats: Stats,
}

/// A slot whose lease came back before its release fence signalled.
struct Pending {
    slot: usize,
    fence: Fence,
    watch: Watch,
}

/// How a starved pool hears of a pending fence.
enum Watch {
    /// Nobody has had to wait for it yet.
    Not,
    /// The fence's own descriptor is in the wake-up set.
    Fence,
    /// An eventfd for it is.
    Event(OwnedFd),
    /// It has no descriptor: a timer is in the set, so that it is looked at again and again.
    Unwatched,
}

impl Slots {
    pub(super) fn allocate(
        allocator: &dyn Allocator,
        request: &Request,
        count: usize,
        config: Config,
    ) -> Result<Self, Error> {
        if count == 0 || count > MAX_SLOTS {
            return Err(Error::Slots {
                found: count,
                limit: MAX_SLOTS,
            });
        }
        let generation = next_generation();
        let buffers = allocator.allocate_set(request, count, generation)?;
        let buffers: Vec<_> = buffers.into_iter().map(Arc::new).collect();
        let queue = ReturnQueue::new(buffers.len())?;
        // Each slot goes round once now, so that its frame's allocation is there for the first real use. It also
        // leaves the queue readable, which wakes whoever waits for slots of an older generation.
        for (slot, buffer) in buffers.iter().enumerate() {
            drop(queue.frame(slot, buffer, FrameMeta::default(), Fence::Signaled)?);
        }
        Ok(Self {
            pending: Vec::with_capacity(buffers.len()),
            watched: false,
            queue,
            buffers,
            generation,
            implicit: config.implicit,
            stats: Stats::default(),
        })
    }

    pub(super) fn watch(&self, wake: &Wake) -> Result<(), Error> {
        wake.watch(&self.queue)
    }

    /// Takes everything of this generation out of the wake-up set.
    pub(super) fn unwatch(&mut self, wake: &Wake) {
        wake.unwatch(&self.queue);
        for pending in &mut self.pending {
            pending.unwatch(wake);
        }
    }

    /// Leases still out do nothing from now on.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    pub(super) fn count(&self) -> usize {
        self.buffers.len()
    }

    pub(super) fn layout(&self) -> &Layout {
        // A pool has at least one slot.
        self.buffers[0].layout()
    }

    pub(super) fn buffers(&self) -> &[Arc<Buffer>] {
        &self.buffers
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// In frames, or known to wait for a fence.
    pub(super) fn outstanding(&self) -> usize {
        self.queue.outstanding() + self.pending.len()
    }

    /// A free slot as a frame.
    pub(super) fn acquire(&mut self, wake: &Wake) -> Result<Frame, Error> {
        let Some(slot) = self.take_free(wake).or_else(|| self.take_signaled(wake)) else {
            self.watched = true;
            let mut unwatched = false;
            for pending in &mut self.pending {
                pending.watch(wake);
                unwatched |= matches!(pending.watch, Watch::Unwatched);
            }
            wake.look_again(unwatched)?;
            return Err(Error::Starved {
                slots: self.count(),
                out: self.queue.outstanding(),
                fenced: self.pending.len(),
            });
        };
        // Refused only when somebody else put the buffer into a frame; the slot then comes back through the queue.
        let frame = self
            .queue
            .frame(slot, &self.buffers[slot], FrameMeta::default(), Fence::Signaled)?;
        self.stats.acquired += 1;
        Ok(frame)
    }

    /// The slot longest at home of those that came back without a fence.
    fn take_free(&mut self, wake: &Wake) -> Option<usize> {
        while let Some(back) = self.queue.next() {
            let mut fence = back.fence;
            if self.implicit {
                for object in self.buffers[back.slot].objects() {
                    fence = object.with_implicit(Access::Write, fence);
                }
            }
            if fence.is_trivial() {
                return Some(back.slot);
            }
            let mut pending = Pending {
                slot: back.slot,
                fence,
                watch: Watch::Not,
            };
            if self.watched {
                pending.watch(wake);
            }
            self.pending.push(pending);
        }
        None
    }

    /// The first slot whose fence has signalled.
    fn take_signaled(&mut self, wake: &Wake) -> Option<usize> {
        for index in 0..self.pending.len() {
            let pending = &mut self.pending[index];
            match pending.fence.wait(Deadline::now()) {
                Ok(Waited::TimedOut) => continue,
                Ok(Waited::Signaled) => {}
                // Its device gave up or is gone: nobody writes the memory any more.
                Ok(Waited::Failed(_))
                | Err(dmaframe_core::Error::Os {
                    errno: Errno::NODEV, ..
                }) => {
                    self.stats.failed_fences += 1;
                }
                // The kernel would not say (no memory, most likely): the slot stays where it is.
                Err(_) => {
                    pending.unwatch(wake);
                    pending.watch = Watch::Unwatched;
                    continue;
                }
            }
            pending.unwatch(wake);
            return Some(self.pending.remove(index).slot);
        }
        None
    }
}

impl Pending {
    /// Puts the fence's descriptor, or an eventfd for it, into the wake-up set.
    fn watch(&mut self, wake: &Wake) {
        if matches!(self.watch, Watch::Fence | Watch::Event(_)) {
            return;
        }
        // What could not be a sync_file the last time may be one now: its work has been submitted.
        self.fence = std::mem::take(&mut self.fence).into_pollable();
        self.watch = match &self.fence {
            Fence::SyncFile(file) if wake.watch(file).is_ok() => Watch::Fence,
            // No work was submitted for the point yet. Linux 6.6 has an eventfd for that.
            Fence::Point(point) => match point.eventfd() {
                Ok(event) if wake.watch(&event).is_ok() => Watch::Event(event),
                _ => Watch::Unwatched,
            },
            _ => Watch::Unwatched,
        };
    }

    fn unwatch(&mut self, wake: &Wake) {
        match (std::mem::replace(&mut self.watch, Watch::Not), &self.fence) {
            (Watch::Fence, Fence::SyncFile(file)) => wake.unwatch(file),
            (Watch::Event(event), _) => wake.unwatch(&event),
            _ => {}
        }
    }
}
