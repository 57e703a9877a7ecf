//! Threads that help with one piece of work at a time, and sleep in between.
//!
//! The caller begins at once and does pieces itself until none is left, so that a thread which takes long to wake costs
//! nothing but its help. (A pool that takes the work over, as rayon's does, has the caller sleep until a thread is awake:
//! on a server that was as long as the copy of a 1080p picture.) Nothing is allocated for work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What helpers are asked to call, until nobody is left who does.
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn() + Sync));

// SAFETY: what it points to is `Sync`, and is only called while `Crew::work`, which borrows it, has not returned.
unsafe impl Send for Job {}

#[derive(Default)]
struct State {
    /// There is one while its owner offers it.
    job: Option<Job>,
    /// Counts the jobs: no helper takes the same twice.
    number: u64,
    /// Helpers that are at the job.
    at_work: usize,
    panicked: bool,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    offered: Condvar,
    left: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn help(&self) {
        let mut seen = 0;
        let mut state = self.lock();
        loop {
            match state.job.filter(|_| state.number != seen) {
                _ if state.closed => return,
                Some(job) => {
                    seen = state.number;
                    state.at_work += 1;
                    drop(state);
                    // SAFETY: the job was there with the lock held, and is counted as being done: `Crew::work` withdraws
                    // it and waits for the count to be zero before what it borrows ends.
                    let done = catch_unwind(AssertUnwindSafe(|| unsafe { (*job.0)() }));
                    state = self.lock();
                    state.panicked |= done.is_err();
                    state.at_work -= 1;
                    if state.at_work == 0 {
                        self.left.notify_all();
                    }
                }
                None => state = self.offered.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Some threads.
pub(crate) struct Crew {
    shared: Arc<Shared>,
    /// One job at a time.
    busy: Mutex<()>,
}

impl Crew {
    /// As many helpers as can be had, `helpers` at most. `None` where there is none.
    pub(crate) fn new(helpers: usize, name: &str) -> Option<Self> {
        let shared = Arc::<Shared>::default();
        let started = (0..helpers).filter(|index| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("{name}-{index}"))
                .spawn(move || shared.help())
                .is_ok()
        });
        let busy = Mutex::default();
        (started.count() > 0).then_some(Self { shared, busy })
    }

    /// Calls `piece` once with each number below `pieces`, on this thread and on those helpers that come in time, and
    /// returns when all are done. While another thread's work is under way, on this thread alone.
    ///
    /// # Panics
    /// If `piece` does. All that were begun have ended then.
    pub(crate) fn work(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let all = || {
            // Only for who gets which: what pieces write is handed over by the lock in `Shared`.
            while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < pieces)
            {
                piece(index);
            }
        };
        let Ok(_busy) = self.busy.try_lock() else {
            return all();
        };
        let job: *const (dyn Fn() + Sync + '_) = &all;
        // SAFETY: only the lifetime changes. `Offer` is dropped before `all` is, also in a panic; it takes the job back, so
        // that nobody begins with it any more, and waits for those who are at it.
        let job = Job(unsafe {
            std::mem::transmute::<*const (dyn Fn() + Sync + '_), *const (dyn Fn() + Sync + 'static)>(job)
        });
        let offer = Offer::new(&self.shared, job);
        all();
        let panicked = offer.withdraw();
        drop(offer);
        assert!(!panicked, "a piece of work panicked on a helping thread");
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.offered.notify_all();
    }
}

/// A job that helpers may take.
struct Offer<'a>(&'a Shared);

impl<'a> Offer<'a> {
    fn new(shared: &'a Shared, job: Job) -> Self {
        let mut state = shared.lock();
        state.job = Some(job);
        state.number += 1;
        state.panicked = false;
        drop(state);
        shared.offered.notify_all();
        Self(shared)
    }

    /// Waits until nobody is at it. Whether somebody panicked.
    fn withdraw(&self) -> bool {
        let mut state = self.0.lock();
        state.job = None;
        while state.at_work > 0 {
            state = self.0.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.panicked
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_piece_is_done_once_before_work_returns() {
        let crew = Crew::new(3, "test").unwrap();
        let rounds = if cfg!(miri) { 20 } else { 2000 };
        for round in 0..rounds {
            let done: Vec<_> = (0..round % 40).map(|_| AtomicU32::new(0)).collect();
            crew.work(done.len(), &|index| {
                done[index].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn several_callers_at_once_get_their_work_done() {
        let crew = Crew::new(2, "test").unwrap();
        let sum = AtomicUsize::new(0);
        let rounds = if cfg!(miri) { 5 } else { 200 };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        crew.work(10, &|index| {
                            sum.fetch_add(index, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(sum.load(Ordering::Relaxed), 3 * rounds * 45);
    }

    #[test]
    fn a_panic_ends_when_nobody_uses_the_work_any_more_and_the_crew_lives_on() {
        let crew = Crew::new(2, "test").unwrap();
        for bad in [0, 7, 15] {
            let worked = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                crew.work(16, &|index| {
                    std::thread::yield_now();
                    assert_ne!(index, bad);
                    worked.fetch_add(1, Ordering::Relaxed);
                });
            }));
            assert!(result.is_err());
        }
        let worked = AtomicUsize::new(0);
        crew.work(16, &|_| {
            worked.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(worked.load(Ordering::Relaxed), 16);
    }
}
