//! How the end of work on a device shows, and waiting for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use dmaframe_core::{Deadline, Fence};

use crate::Error;
use crate::sys::{Reached, Timeline};

/// How long one wait is, and how often wgpu is polled where it has to be.
pub(super) const STEP: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(5);
/// How many panics one after the other, while polling, are a device's end. One may be an application's callback's.
const PANICS: u32 = 4;

/// What polling the wgpu device found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Everything that wgpu submitted is done.
    Empty,
    /// Something is not.
    Busy,
}

/// How completion shows.
#[derive(Clone, Debug)]
pub(crate) enum Mark {
    /// When the device's counter comes to this.
    Counter(u64),
    /// When wgpu calls back in a poll, or drops the callback.
    Callback(Arc<AtomicBool>),
}

/// Sets a [`Mark::Callback`] when wgpu calls it, or drops it uncalled.
pub(crate) struct OnDrop(pub(crate) Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Submits the mark with this value: whether it did, or there was nothing to do here. An error when it never will be.
pub(crate) type Flush = Box<dyn Fn(u64, &Core) -> Result<bool, Error> + Send + Sync>;

/// What came of marking the end of work.
#[derive(Debug)]
pub(crate) enum Marked {
    /// It is marked. The fence, if one was asked for, or why there is none.
    Yes(Option<Result<Fence, Error>>),
    /// It is not: wgpu alone knows when the work is done.
    No {
        error: Error,
        /// wgpu still has the counter's signal, for the next submission.
        kept: bool,
    },
}

/// A fence that another thread gives.
#[derive(Debug, Default)]
pub(crate) struct LateFence {
    fence: Mutex<Option<Result<Fence, Error>>>,
    there: Condvar,
}

impl LateFence {
    pub(super) fn set(&self, fence: Result<Fence, Error>) {
        *self.fence.lock().unwrap_or_else(PoisonError::into_inner) = Some(fence);
        self.there.notify_all();
    }

    /// `None` at the deadline.
    pub(crate) fn get(&self, deadline: Deadline) -> Option<Result<Fence, Error>> {
        let mut fence = self.fence.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = &*fence {
                return Some(match found {
                    Ok(fence) => fence.try_clone().map_err(Error::from),
                    Err(error) => Err(error.clone()),
                });
            }
            let left = deadline.remaining().unwrap_or(STEP).min(STEP);
            if left.is_zero() {
                return None;
            }
            let waited = self.there.wait_timeout(fence, left);
            fence = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What is needed to see the end of work on one device.
pub(crate) struct Core {
    /// `None` without Vulkan 1.2.
    pub(crate) timeline: Option<Timeline>,
    /// Polls the wgpu device, without blocking.
    poll: Box<dyn Fn() -> Polled + Send + Sync>,
    /// Submits a mark that waits for a submission to carry it. Does nothing where it does not wait (any more).
    flush: Flush,
    /// The highest value whose signal has been submitted.
    marked: AtomicU64,
    /// What is outstanding will not be seen to be done. It is over when wgpu has nothing left to do.
    doomed: AtomicBool,
    /// It is over.
    lost: AtomicBool,
    panics: AtomicU32,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("timeline", &self.timeline)
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(super) fn new(
        timeline: Option<Timeline>,
        poll: Box<dyn Fn() -> Polled + Send + Sync>,
        flush: Flush,
    ) -> Self {
        Self {
            timeline,
            poll,
            flush,
            marked: AtomicU64::new(0),
            doomed: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            panics: AtomicU32::new(0),
        }
    }

    /// Whether work is done, or never will be.
    pub(super) fn is_over(&self, mark: &Mark) -> bool {
        self.is_over_for_good() || self.is_done(mark)
    }

    pub(crate) fn is_done(&self, mark: &Mark) -> bool {
        match mark {
            Mark::Counter(value) => self
                .timeline
                .as_ref()
                .is_some_and(|timeline| timeline.value().is_ok_and(|now| now >= *value)),
            Mark::Callback(done) => done.load(Ordering::Acquire),
        }
    }

    /// The signal of `value` has been given to wgpu to submit.
    pub(crate) fn marked(&self, value: u64) {
        self.marked.fetch_max(value, Ordering::Release);
    }

    /// What is outstanding is never seen to be done. The GPU may still be doing it: waits end when it does not.
    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    /// Nothing that was submitted runs any more.
    fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Whether nothing more is to be submitted.
    pub(crate) fn is_lost(&self) -> bool {
        self.doomed.load(Ordering::Acquire) || self.is_over_for_good()
    }

    /// Whether nothing that was submitted runs any more, and nothing will be.
    pub(crate) fn is_over_for_good(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(super) fn is_marked(&self, mark: &Mark) -> bool {
        match mark {
            Mark::Counter(value) => self.marked.load(Ordering::Acquire) >= *value,
            Mark::Callback(_) => true,
        }
    }

    /// Has the work's end marked, if nothing that came after it has done so.
    pub(super) fn flush(&self, mark: &Mark) {
        if self.is_lost() {
            return;
        }
        if let (Mark::Counter(value), false) = (mark, self.is_marked(mark)) {
            match (self.flush)(*value, self) {
                Ok(true) => self.marked(*value),
                // Somebody else marks it, or it goes with the next submission.
                Ok(false) => {}
                Err(_) => self.doom(),
            }
        }
    }

    /// Waits a little for work to be done; finds out when it never will be.
    pub(super) fn step(&self, mark: &Mark, limit: Duration) {
        if self.doomed.load(Ordering::Acquire) {
            match self.polled() {
                Some(Polled::Empty) => self.lose(),
                _ => std::thread::sleep(limit.min(TICK)),
            }
            return;
        }
        match (mark, &self.timeline) {
            (Mark::Counter(value), Some(timeline)) => {
                self.flush(mark);
                let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
                match timeline.wait(*value, limit) {
                    Reached::Yes => {}
                    Reached::Lost => self.lose(),
                    // wgpu does not say that it dropped a submission because its device was destroyed. If all that it
                    // did submit is done and the counter is not there, ours was not among them.
                    Reached::No if self.marked.load(Ordering::Acquire) < *value => {}
                    Reached::No if self.polled() == Some(Polled::Empty) => {
                        // The two counters of one submission need not show at the same time.
                        let again = u64::try_from(STEP.as_nanos()).unwrap_or(u64::MAX);
                        if timeline.wait(*value, again) != Reached::Yes {
                            self.lose();
                        }
                    }
                    Reached::No => {}
                }
            }
            _ => {
                self.polled();
                if !self.is_done(mark) {
                    std::thread::sleep(limit.min(TICK));
                }
            }
        }
    }

    /// Polls. wgpu panics when it finds its device lost, and so may what it calls back: `None` then.
    pub(crate) fn polled(&self) -> Option<Polled> {
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.poll)()));
        match &polled {
            Ok(_) => self.panics.store(0, Ordering::Relaxed),
            Err(_) => {
                let lost = self
                    .timeline
                    .as_ref()
                    .is_some_and(|timeline| timeline.value() == Err(Reached::Lost));
                let again = self.panics.fetch_add(1, Ordering::Relaxed) + 1;
                if lost || again >= PANICS {
                    self.lose();
                }
            }
        }
        polled.ok()
    }

    /// Waits on this thread. `false` at the deadline.
    pub(crate) fn wait(&self, mark: &Mark, deadline: Deadline) -> bool {
        loop {
            if self.is_over(mark) {
                return true;
            }
            let left = deadline.remaining().unwrap_or(STEP).min(STEP);
            if left.is_zero() {
                return false;
            }
            self.step(mark, left);
        }
    }
}
