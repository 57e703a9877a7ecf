//! Which slots are free, and waiting for one.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use arrayvec::ArrayVec;
use dmaframe_core::{Access, Deadline, Delivery, DeviceClaim, Fence, Returned, SyncFile};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::submission::gone;
use super::target::Progress;
use super::{Inner, Work};
use crate::Error;

/// Slots that are not with anybody.
pub(super) struct State {
    free: Vec<usize>,
    /// Home, but somebody still reads.
    pending: Vec<Returned>,
    /// Never became a frame; the GPU still writes.
    busy: Vec<Written>,
    pub(super) starved: u64,
    pub(super) waited: u64,
}

/// How long a wait lasts before it looks around: what has no descriptor to poll (wgpu's own news, implicit fences,
/// timeline points, targets that other threads drop) is seen then.
const LOOK: Duration = Duration::from_millis(5);

/// Fences that one wait polls; those beyond are seen when it looks around.
const WATCHED: usize = 16;

/// A slot that the GPU still writes. Nobody can make a frame of it meanwhile.
struct Written {
    slot: usize,
    by: Busy,
    claim: Option<DeviceClaim>,
}

/// What the GPU still does with a slot.
enum Busy {
    Work(Work),
    Unknown(Arc<Progress>),
}

impl State {
    /// A slot that is written until everything submitted so far is done, or not at all.
    pub(super) fn forsake(&mut self, slot: usize, end: Arc<Progress>, claim: Option<DeviceClaim>) {
        let by = Busy::Unknown(end);
        self.busy.push(Written { slot, by, claim });
    }

    /// Of slots that the GPU still writes.
    pub(super) fn claims(&mut self) -> Vec<DeviceClaim> {
        self.busy
            .iter_mut()
            .filter_map(|busy| busy.claim.take())
            .collect()
    }

    pub(super) fn new(slots: usize) -> Self {
        Self {
            free: (0..slots).rev().collect(),
            pending: Vec::with_capacity(slots),
            busy: Vec::with_capacity(slots),
            starved: 0,
            waited: 0,
        }
    }
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A target that was not used.
    pub(super) fn put_back(&self, slot: usize) {
        self.state().free.push(slot);
    }

    /// A picture that nobody wanted.
    pub(super) fn abandon(&self, slot: usize, claim: DeviceClaim, work: Option<Work>) {
        let mut state = self.state();
        match work {
            Some(work) => state.busy.push(Written {
                slot,
                by: Busy::Work(work),
                claim: Some(claim),
            }),
            None => {
                drop(claim);
                state.free.push(slot);
            }
        }
    }

    /// A free slot with its buffer's claim.
    pub(super) fn take(&self) -> Result<(usize, DeviceClaim), Error> {
        if !self.state().busy.is_empty() {
            self.tick();
        }
        if self.gpu.tracker().core().is_lost() {
            return Err(gone("no picture is rendered any more"));
        }
        let mut state = self.state();
        self.collect(&mut state);
        let held = self.queue.outstanding();
        let waiting = state.pending.len() + state.busy.len();
        let starved = Error::Starved {
            slots: self.slots.len(),
            held,
            waiting,
        };
        if self.decide(held) == Delivery::Drop {
            return Err(starved);
        }
        let slot = state.free.pop().ok_or(starved)?;
        match self.slots[slot].buffer.claim_for_device() {
            Ok(claim) => Ok((slot, claim)),
            Err(error) => {
                // In a frame of somebody else's making: it may be free the next time.
                state.free.insert(0, slot);
                Err(error.into())
            }
        }
    }

    pub(super) fn take_until(&self, deadline: Deadline) -> Result<(usize, DeviceClaim), Error> {
        let mut waited = false;
        loop {
            match self.take() {
                Err(Error::Starved { .. }) if !deadline.remaining().is_some_and(|left| left.is_zero()) => {
                    if !waited {
                        self.state().waited += 1;
                        waited = true;
                    }
                    self.wait(deadline)?;
                }
                Err(error @ Error::Starved { .. }) => {
                    self.state().starved += 1;
                    return Err(error);
                }
                other => return other,
            }
        }
    }

    /// Moves home what is home.
    fn collect(&self, state: &mut State) {
        while let Some(returned) = self.queue.next() {
            state.pending.push(returned);
        }
        let State {
            free, pending, busy, ..
        } = state;
        pending.retain(|returned| {
            let quiet = self.is_quiet(returned);
            if quiet {
                free.push(returned.slot);
            }
            !quiet
        });
        busy.retain(|Written { slot, by, .. }| {
            let ended = match by {
                Busy::Work(work) => self.is_over(work),
                Busy::Unknown(end) => end.ended().is_some() || self.is_over_for_good(),
            };
            if ended {
                if let (Busy::Work(work), Some(staging)) = (by, self.slots[*slot].staging())
                    && let Some(mapping) = &work.mapping
                    && mapping.ended() == Some(true)
                {
                    staging.unmap();
                }
                free.push(*slot);
            }
            !ended
        });
    }

    /// Whether the GPU is done with a slot. Work of a lost device is.
    fn is_over(&self, work: &Work) -> bool {
        match &work.mapping {
            Some(mapping) => mapping.ended().is_some() || self.is_over_for_good(),
            None => !matches!(
                work.submission.wait(Deadline::now()),
                Ok(dmaframe_core::Waited::TimedOut)
            ),
        }
    }

    /// Whether nobody uses a slot's memory any more: neither those who said so with a fence, nor those who put one on
    /// the dma-buf. A fence that cannot be asked counts as pending.
    fn is_quiet(&self, returned: &Returned) -> bool {
        let idle = |object: &Arc<dmaframe_core::Object>| {
            let waited = object.wait_idle(Access::Write, Deadline::now());
            waited.is_ok_and(|waited| waited.is_signaled())
        };
        returned.fence.is_done().unwrap_or(false)
            && self.slots[returned.slot].buffer.objects().iter().all(idle)
    }

    /// Until a frame comes home, a fence signals, or it is time to look around.
    fn wait(&self, deadline: Deadline) -> Result<(), Error> {
        let fences: ArrayVec<SyncFile, WATCHED> = {
            let state = self.state();
            let files = state.pending.iter().filter_map(|returned| match &returned.fence {
                Fence::SyncFile(file) => file.try_clone().ok(),
                _ => None,
            });
            files.take(WATCHED).collect()
        };
        let left = deadline.remaining().unwrap_or(LOOK).min(LOOK);
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut watched: ArrayVec<PollFd<'_>, { WATCHED + 1 }> = ArrayVec::new();
        watched.push(PollFd::new(&*self.queue, PollFlags::IN));
        watched.extend(fences.iter().map(|fence| PollFd::new(fence, PollFlags::IN)));
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(dmaframe_core::Error::Os {
                call: "poll",
                object: "export pool",
                errno,
            }
            .into()),
        }
    }
}
