//! The lease: how a frame's memory gets back to its producer.
//!
//! Duplicating a descriptor keeps the memory, not the pixels: a producer that does not know who is still reading
//! fills the buffer again. So every frame carries a [`Lease`], which runs once, when the last clone drops, with the
//! merged release fence of all consumers. Producers with a fixed set of buffers use a [`ReturnQueue`].

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::event::EventfdFlags;

use crate::buffer::{Buffer, DeviceClaim};
use crate::error::{Error, Rejected};
use crate::fence::Fence;
use crate::frame::{Body, Frame};
use crate::meta::FrameMeta;
use crate::shared::Spent;
use crate::sync::{Descriptor, Mutex, lock};

/// The way back to the producer. Runs exactly once: when the last clone of its frame drops, or, if it never got into
/// a frame, when it is dropped itself.
///
/// Runs on whichever thread drops last, so what it does must not block.
#[must_use = "dropping a lease gives the buffer back at once"]
pub struct Lease(Kind);

enum Kind {
    Nobody,
    Slot {
        queue: Arc<ReturnQueue>,
        slot: usize,
        generation: u64,
    },
    Call(Box<dyn FnOnce(Fence) + Send + Sync>),
    /// A frame made from another one, sharing its memory.
    Frame(Frame),
}

impl Lease {
    /// Memory that belongs to the frame alone.
    pub const fn none() -> Self {
        Self(Kind::Nobody)
    }

    /// Calls `f` with the release fence. Allocates once; sources with slots use [`ReturnQueue`], which does not.
    ///
    /// `f` must not block, and must not panic: it runs inside a drop.
    pub fn on_release(f: impl FnOnce(Fence) + Send + Sync + 'static) -> Self {
        Self(Kind::Call(Box::new(f)))
    }

    /// Keeps another frame until this one is done, and passes the release fence on to it.
    pub fn frame(parent: Frame) -> Self {
        Self(Kind::Frame(parent))
    }

    pub(crate) fn finish(mut self, fence: Fence, spent: Option<Spent<Body>>) {
        self.run(fence, spent);
    }

    fn run(&mut self, fence: Fence, spent: Option<Spent<Body>>) {
        match std::mem::replace(&mut self.0, Kind::Nobody) {
            Kind::Nobody => drop(fence),
            Kind::Slot {
                queue,
                slot,
                generation,
            } => queue.give_back(slot, generation, fence, spent),
            Kind::Call(f) => f(fence),
            Kind::Frame(parent) => parent.release_after(fence),
        }
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::none()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.run(Fence::Signaled, None);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Nobody => f.write_str("Lease::none"),
            Kind::Slot { slot, generation, .. } => write!(f, "Lease(slot {slot}, generation {generation})"),
            Kind::Call(_) => f.write_str("Lease(callback)"),
            Kind::Frame(frame) => write!(f, "Lease(frame {:?})", frame.content_id()),
        }
    }
}

/// A slot that came back.
#[derive(Debug)]
#[must_use = "a slot that came back comes only once"]
pub struct Returned {
    /// Which.
    pub slot: usize,
    /// What has to signal before its memory may be written again.
    pub fence: Fence,
}

/// A table of slots and the way back to the thread that owns them.
///
/// Returning a slot from any thread costs a mutex and, when the queue was empty, an eventfd write; nothing
/// allocates after construction. The owner polls the descriptor ([`AsFd`]) and takes what came with
/// [`ReturnQueue::next`]. After [`ReturnQueue::close`] late returns are forgotten.
#[derive(Debug)]
pub struct ReturnQueue {
    state: Mutex<State>,
    wake: Descriptor,
}

struct State {
    slots: Vec<Slot>,
    returned: VecDeque<Returned>,
    generation: u64,
    out: usize,
}

#[derive(Default)]
struct Slot {
    out: bool,
    spent: Option<Spent<Body>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} slots out, {} returned",
            self.out,
            self.slots.len(),
            self.returned.len()
        )
    }
}

impl ReturnQueue {
    /// A queue for `slots` slots, all at home.
    ///
    /// # Errors
    /// [`Error::Os`] when no eventfd can be had.
    pub fn new(slots: usize) -> Result<Arc<Self>, Error> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(Error::os("eventfd", "return queue"))?;
        let state = State {
            slots: (0..slots).map(|_| Slot::default()).collect(),
            returned: VecDeque::with_capacity(slots),
            generation: 0,
            out: 0,
        };
        Ok(Arc::new(Self {
            state: Mutex::new(state),
            wake: Descriptor::new(wake),
        }))
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        lock(&self.state).slots.len()
    }

    /// How many slots are in frames now. Those that came back and were not yet taken do not count.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        lock(&self.state).out
    }

    /// Takes a slot out and gives its lease.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a slot there is not or that is out already.
    pub fn lease(self: &Arc<Self>, slot: usize) -> Result<Lease, Error> {
        self.take_out(slot).map(|(lease, _)| lease)
    }

    /// A frame of `buffer` whose lease brings `slot` back. Allocates nothing once each slot has been around.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a slot there is not or that is out; [`Error::InUse`] when `buffer` is in a frame.
    pub fn frame(
        self: &Arc<Self>,
        slot: usize,
        buffer: &Arc<Buffer>,
        meta: FrameMeta,
        acquire: Fence,
    ) -> Result<Frame, Error> {
        let (lease, spent) = self.take_out(slot)?;
        Frame::assemble(Arc::clone(buffer), meta, acquire, lease, spent)
    }

    /// As [`ReturnQueue::frame`], for a buffer a device has just filled. A visible rect outside the picture is ignored.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a slot there is not or that is out; the claim is given back.
    pub fn frame_from_device(
        self: &Arc<Self>,
        slot: usize,
        claim: DeviceClaim,
        meta: FrameMeta,
        acquire: Fence,
    ) -> Result<Frame, Box<Rejected<DeviceClaim>>> {
        match self.take_out(slot) {
            Ok((lease, spent)) => Ok(Frame::claimed(claim.into_buffer(), meta, acquire, lease, spent)),
            Err(error) => Err(Rejected::new(claim, error)),
        }
    }

    fn take_out(self: &Arc<Self>, slot: usize) -> Result<(Lease, Option<Spent<Body>>), Error> {
        let mut state = lock(&self.state);
        let generation = state.generation;
        let limit = state.slots.len();
        match state.slots.get_mut(slot) {
            Some(entry) if !entry.out => {
                entry.out = true;
                let spent = entry.spent.take();
                state.out += 1;
                Ok((
                    Lease(Kind::Slot {
                        queue: Arc::clone(self),
                        slot,
                        generation,
                    }),
                    spent,
                ))
            }
            _ => Err(Error::OutOfRange {
                what: "slot (or it is out already)",
                index: slot,
                limit,
            }),
        }
    }

    /// The next slot that came back, or `None`. Never blocks.
    #[must_use = "a slot that came back comes only once"]
    pub fn next(&self) -> Option<Returned> {
        let mut state = lock(&self.state);
        let next = state.returned.pop_front();
        if next.is_some() && state.returned.is_empty() {
            // Under the lock, so that no return slips between "empty" and "not readable".
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        next
    }

    /// Starts a new generation: every slot counts as at home, and leases handed out before do nothing any more.
    ///
    /// For a stream that stops or renegotiates while consumers still hold frames: their memory stays valid.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.generation += 1;
        state.out = 0;
        let empty = VecDeque::with_capacity(state.slots.len());
        let returned = std::mem::replace(&mut state.returned, empty);
        let spent: Vec<_> = state
            .slots
            .iter_mut()
            .map(|slot| {
                slot.out = false;
                slot.spent.take()
            })
            .collect();
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        drop(state);
        // What they own (fences, buffers) goes outside the lock.
        drop((returned, spent));
    }

    fn give_back(&self, slot: usize, generation: u64, fence: Fence, spent: Option<Spent<Body>>) {
        let mut state = lock(&self.state);
        if state.generation != generation {
            drop(state);
            return;
        }
        state.out -= 1;
        if let Some(entry) = state.slots.get_mut(slot) {
            entry.out = false;
            entry.spent = spent;
        }
        state.returned.push_back(Returned { slot, fence });
        if state.returned.len() == 1 {
            // Full or closed cannot happen: the counter is read back to 0 whenever the queue runs empty.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }
}

impl AsFd for ReturnQueue {
    /// Readable while slots wait to be taken with [`ReturnQueue::next`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// What a source does when consumers hold nearly all of its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starvation {
    /// Deliver a copy in fresh memory and keep the buffer: consumers see every picture, for the price of a copy.
    Detach,
    /// Drop the picture and count it.
    Drop,
}

/// How many buffers a source keeps for itself, so that holding frames never stalls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Buffers that must stay with the producer.
    pub min_free: usize,
    /// What to do instead of going below.
    pub policy: Starvation,
}

/// What to do with one captured buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Hand the buffer itself out.
    Share,
    /// Hand a copy out.
    Detach,
    /// Drop it.
    Drop,
}

impl Default for Budget {
    /// Two buffers stay with the producer (one being filled, one next); consumers get copies beyond that.
    fn default() -> Self {
        Self {
            min_free: 2,
            policy: Starvation::Detach,
        }
    }
}

impl Budget {
    /// What to do with one more buffer when `outstanding` of `slots` are with consumers already.
    #[must_use]
    pub fn decide(&self, slots: usize, outstanding: usize) -> Delivery {
        // A source with fewer buffers than it is to keep would never share one: it keeps one less than it has.
        let keep = self.min_free.min(slots.saturating_sub(1));
        if outstanding + 1 + keep <= slots {
            return Delivery::Share;
        }
        match self.policy {
            Starvation::Detach => Delivery::Detach,
            Starvation::Drop => Delivery::Drop,
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;
