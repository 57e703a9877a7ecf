//! A queue of buffers that the device fills: out of the driver, to consumers, and back.
//!
//! A buffer goes round: `Home` -> QBUF -> `Driver` -> DQBUF -> frame (`Out`) -> the lease runs on whichever thread drops
//! the last clone and puts the slot number into the [`ReturnQueue`] -> the thread that owns the queue takes it out at
//! its next call -> QBUF, at once, or (`Fenced`) when the consumers' release fence has signalled.
//!
//! Cameras have one of these, and mem2mem devices have one behind what they take in.

mod deliver;
mod extent;
mod import;
mod request;
mod slots;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use dmaframe_core::capture::{Sequence, Stats};
use dmaframe_core::report::Hop;
use dmaframe_core::{Access, Budget, Fence, ReturnQueue};
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use rustix::io::Errno;

pub(crate) use deliver::timestamp;
pub(crate) use extent::carrier;
pub(crate) use request::{Source, release, request};
pub(crate) use slots::{Place, Slots, codec_of};

use crate::device::{Device, Queue};
use crate::error::Error;
use crate::format::Format;
use crate::sys;
use crate::sys::abi;

/// Most slots there can be: the kernel's `VIDEO_MAX_FRAME`.
pub(crate) const MAX_SLOTS: usize = abi::VIDEO_MAX_FRAME as usize;

/// Which descriptor an epoll event is about. Not looked at: every wake-up looks at everything.
pub(crate) const TOKEN: epoll::EventData = epoll::EventData::new_u64(0);

/// The buffers of a CAPTURE queue and all who have them.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) slots: Slots,
    returns: Arc<ReturnQueue>,
    /// Slots in [`Place::Fenced`], with what they wait for.
    fenced: ArrayVec<(usize, Fence), MAX_SLOTS>,
    /// Whether fences on the dma-bufs themselves hold a buffer back too.
    implicit: bool,
    budget: Budget,
    sequence: Sequence,
    pub(crate) stats: Stats,
    pub(crate) hop: Arc<Hop>,
    pub(crate) streaming: bool,
}

impl Fill {
    /// Gets buffers for `format`. Nothing is queued yet.
    pub(crate) fn allocate(
        device: &Device,
        format: &Format,
        source: &Source,
        (budget, implicit): (Budget, bool),
        epoll: &OwnedFd,
    ) -> Result<Self, Error> {
        let slots = Slots::allocate(
            device,
            Queue::Capture,
            format,
            source,
            dmaframe_core::next_generation(),
        )?;
        let returns = returns_for(device, &slots, epoll)?;
        let mode = match source {
            Source::Export { .. } => "EXPBUF",
            Source::Import { .. } => "DMABUF",
        };
        let hop = Hop::new(format!("{}(V4L2,{mode})", device.capabilities().driver));
        Ok(Self {
            slots,
            returns,
            fenced: ArrayVec::new(),
            implicit,
            budget,
            sequence: Sequence::default(),
            stats: Stats::default(),
            hop,
            streaming: false,
        })
    }

    /// Other buffers in the place of those that [`Fill::forget`] gave up; counters go on.
    pub(crate) fn reallocate(
        &mut self,
        device: &Device,
        format: &Format,
        source: &Source,
        budget: Budget,
        epoll: &OwnedFd,
    ) -> Result<(), Error> {
        self.budget = budget;
        let generation = dmaframe_core::next_generation();
        self.slots = Slots::allocate(device, Queue::Capture, format, source, generation)?;
        // Not the old queue: it has as many slots as there were buffers, and the driver may have granted others.
        let returns = returns_for(device, &self.slots, epoll)?;
        let _ = epoll::delete(epoll, self.returns.as_fd());
        self.returns = returns;
        Ok(())
    }

    /// Queues what is free and starts the stream.
    pub(crate) fn stream_on(&mut self, device: &Device, epoll: &OwnedFd) -> Result<(), Error> {
        self.sequence.restart();
        let started = self.reclaim(device, epoll, true).and_then(|()| {
            let mut kind = int(device.buf_type(Queue::Capture));
            sys::streamon(device.as_fd(), &mut kind).map_err(device.fail("VIDIOC_STREAMON"))
        });
        self.streaming = started.is_ok();
        if started.is_err() {
            // Gives back what was queued; that this fails too adds nothing.
            let _ = self.stream_off(device);
        }
        started
    }

    /// Stops the stream; the buffers that the driver had are at home.
    ///
    /// A driver that would not be told (its device was pulled out) may write on into those it has until the device is
    /// closed: they stay claimed, and [`Fill::is_stuck`] then.
    pub(crate) fn stream_off(&mut self, device: &Device) -> Result<(), Error> {
        self.streaming = false;
        let mut kind = int(device.buf_type(Queue::Capture));
        sys::streamoff(device.as_fd(), &mut kind).map_err(device.fail("VIDIOC_STREAMOFF"))?;
        self.slots.all_home();
        Ok(())
    }

    /// Whether the driver has buffers although the stream was to stop.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.streaming && self.slots.with_driver() > 0
    }

    /// Forgets all slots: leases that are out do nothing more, and the driver has no buffers. Those of a stream that
    /// would not stop are not forgotten.
    pub(crate) fn forget(&mut self, device: &Device, epoll: &OwnedFd, memory: u32) -> Result<(), Error> {
        if self.streaming || self.is_stuck() {
            self.stream_off(device)?;
        }
        self.returns.close();
        for (_, fence) in self.fenced.drain(..) {
            unwatch(epoll, &fence);
        }
        self.slots.slots.clear();
        release(device, Queue::Capture, memory)
    }

    /// Leases that are out do nothing more.
    pub(crate) fn close(&self) {
        self.returns.close();
    }

    /// Takes back what consumers gave, and queues every buffer that is free: those that came back, those whose fences
    /// have signalled meanwhile, and those an error left at home. `starting` queues before the stream runs.
    pub(crate) fn reclaim(&mut self, device: &Device, epoll: &OwnedFd, starting: bool) -> Result<(), Error> {
        while let Some(returned) = self.returns.next() {
            let Some(slot) = self.slots.slots.get_mut(returned.slot) else {
                continue;
            };
            slot.place = Place::Home;
            let mut fence = returned.fence;
            if self.implicit {
                for object in slot.buffer().objects() {
                    fence = object.with_implicit(Access::Write, fence);
                }
            }
            self.hold_back(epoll, returned.slot, fence);
        }
        for entry in (0..self.fenced.len()).rev() {
            // A fence the kernel will not be asked about is treated as pending: too late is safe, too early is not.
            if self.fenced[entry].1.is_done().unwrap_or(false) {
                let (slot, fence) = self.fenced.swap_remove(entry);
                unwatch(epoll, &fence);
                self.slots.slots[slot].place = Place::Home;
            }
        }
        if !self.streaming && !starting {
            return Ok(());
        }
        for index in 0..self.slots.slots.len() {
            if self.slots.slots[index].place == Place::Home {
                match self.slots.queue(device, index) {
                    // Somebody kept a handle of the buffer and has it in a frame of their own: it joins again when
                    // that is gone, and counts as held until then.
                    Err(Error::Core {
                        error: dmaframe_core::Error::InUse { .. },
                        ..
                    }) if !starting => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// Keeps a slot from the driver while its release fence is pending.
    fn hold_back(&mut self, epoll: &OwnedFd, slot: usize, fence: Fence) {
        if fence.is_trivial() || fence.is_done().unwrap_or(false) {
            return;
        }
        // A timeline point has no descriptor; as a sync_file it can be waited for together with everything else.
        let fence = fence.into_pollable();
        if let Fence::SyncFile(file) = &fence {
            // Without it (no memory, too many watches) the fence is looked at once a tick instead.
            let _ = epoll::add(epoll, file.as_fd(), TOKEN, epoll::EventFlags::IN);
        }
        self.slots.slots[slot].place = Place::Fenced;
        // One entry for each slot at most, so there is room.
        let _ = self.fenced.try_push((slot, fence));
    }

    /// Descriptors that are readable when [`Fill::reclaim`] has something to do: one, and one for each fence that has any.
    pub(crate) fn wakers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let fences = self.fenced.iter().filter_map(|(_, fence)| match fence {
            Fence::SyncFile(file) => Some(file.as_fd()),
            _ => None,
        });
        std::iter::once(self.returns.as_fd()).chain(fences)
    }

    /// Whether a fence is waited for that no descriptor tells about.
    pub(crate) fn is_ticking(&self) -> bool {
        self.fenced
            .iter()
            .any(|(_, fence)| !matches!(fence, Fence::SyncFile(_)))
    }
}

fn returns_for(device: &Device, slots: &Slots, epoll: &OwnedFd) -> Result<Arc<ReturnQueue>, Error> {
    let returns = ReturnQueue::new(slots.slots.len()).map_err(|error| Error::Core {
        device: device.path().to_owned(),
        error,
    })?;
    epoll::add(epoll, returns.as_fd(), TOKEN, epoll::EventFlags::IN).map_err(device.fail("epoll_ctl"))?;
    Ok(returns)
}

/// An epoll of its own for a stream.
pub(crate) fn new_epoll(device: &Device) -> Result<OwnedFd, Error> {
    epoll::create(epoll::CreateFlags::CLOEXEC).map_err(device.fail("epoll_create1"))
}

/// Sleeps until something happens on the epoll, or for `left`. `ticking`: there are fences without a watchable
/// descriptor, which are looked at every 5 ms.
pub(crate) fn sleep(
    device: &Device,
    epoll: &OwnedFd,
    left: Option<Duration>,
    ticking: bool,
) -> Result<(), Error> {
    poll(device, &mut [PollFd::new(epoll, PollFlags::IN)], left, ticking)
}

/// [`sleep`] on these descriptors.
pub(crate) fn poll(
    device: &Device,
    fds: &mut [PollFd<'_>],
    left: Option<Duration>,
    ticking: bool,
) -> Result<(), Error> {
    let tick = Duration::from_millis(5);
    let left = if ticking {
        Some(left.map_or(tick, |left| left.min(tick)))
    } else {
        left
    };
    let timeout = left.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    match rustix::event::poll(fds, timeout.as_ref()) {
        // After a signal the caller looks at its deadline again.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(device.fail("poll")(errno)),
    }
}

/// Buffers the driver must have in a queue to work at all; 0 when it does not say.
pub(crate) fn driver_minimum(device: &Device, queue: Queue) -> usize {
    let id = match queue {
        Queue::Capture => abi::CID_MIN_BUFFERS_FOR_CAPTURE,
        Queue::Output => abi::CID_MIN_BUFFERS_FOR_OUTPUT,
    };
    let minimum = device.get_control(id).unwrap_or(0);
    usize::try_from(minimum).unwrap_or(0).min(MAX_SLOTS)
}

/// A device that stumbles over a question about its picture (webcams do, over controls) can still stream: the answer is
/// then that nothing is known. That it is gone is another matter.
pub(crate) fn unless_gone<T: Default>(answer: Result<T, Error>) -> Result<T, Error> {
    match answer {
        Err(error @ Error::Unplugged { .. }) => Err(error),
        other => Ok(other.unwrap_or_default()),
    }
}

/// For the requests that take an `int`.
pub(crate) fn int(kind: u32) -> i32 {
    i32::try_from(kind).unwrap_or(0)
}

fn unwatch(epoll: &OwnedFd, fence: &Fence) {
    if let Fence::SyncFile(file) = fence {
        let _ = epoll::delete(epoll, file.as_fd());
    }
}
