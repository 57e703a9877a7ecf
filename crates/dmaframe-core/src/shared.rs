//! A shared value that knows its last user, and whose allocation can be used again.
//!
//! `Arc` cannot say "I was the last" without giving up its allocation, and a frame per capture must not allocate. So
//! users are counted beside the `Arc`: whoever brings the count to 0 is the last user, exactly one of them, and gets
//! the allocation itself as [`Spent`], which the producer fills again for the next capture.

use crate::sync::{Arc, AtomicUsize, Ordering, fence};

/// What to do when the last user is gone.
pub(crate) trait OnLast: Sized {
    /// Runs once, on the thread that dropped last; must not block.
    fn on_last(spent: Spent<Self>);
}

struct Counted<T> {
    users: AtomicUsize,
    value: T,
}

/// One user of a value.
pub(crate) struct Shared<T: OnLast>(Option<Arc<Counted<T>>>);

impl<T: OnLast> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(Arc::new(Counted {
            users: AtomicUsize::new(1),
            value,
        })))
    }

    fn counted(&self) -> &Arc<Counted<T>> {
        match &self.0 {
            Some(counted) => counted,
            None => unreachable!("only drop takes it out"),
        }
    }

    pub(crate) fn get(&self) -> &T {
        &self.counted().value
    }

    /// Whether this is the only user. True stays true: a second user can only come from this one.
    pub(crate) fn is_unique(&self) -> bool {
        self.counted().users.load(Ordering::Acquire) == 1
    }

    /// The value, if nobody else has it: always when [`Shared::is_unique`] says so.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        if !self.is_unique() {
            return None;
        }
        self.0.as_mut().map(|counted| &mut alone(counted).value)
    }

    /// Whether both are users of the same value.
    #[cfg(not(loom))]
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.counted(), other.counted())
    }
}

impl<T: OnLast> Clone for Shared<T> {
    fn clone(&self) -> Self {
        let counted = self.counted();
        // As in `Arc::clone`: a new user can only come from one that exists, so nothing has to be ordered.
        counted.users.fetch_add(1, Ordering::Relaxed);
        Self(Some(Arc::clone(counted)))
    }
}

impl<T: OnLast> Drop for Shared<T> {
    fn drop(&mut self) {
        let Some(counted) = self.0.take() else { return };
        // As in `Arc::drop`: every use happens before the last user's clean-up.
        if counted.users.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            T::on_last(Spent(counted));
        }
    }
}

/// Waits until another thread that has counted itself out has let go of the allocation too: a few instructions later,
/// unless it is preempted just there.
fn alone<T>(counted: &mut Arc<Counted<T>>) -> &mut Counted<T> {
    let mut round = 0;
    loop {
        // Asked twice, since the borrow checker does not see that a reference is returned only when there is one.
        if Arc::get_mut(counted).is_some() {
            break;
        }
        pause(round);
        round += 1;
    }
    match Arc::get_mut(counted) {
        Some(counted) => counted,
        None => unreachable!("new handles come only from this one, which is borrowed mutably"),
    }
}

#[cfg(loom)]
fn pause(_round: u32) {
    loom::thread::yield_now();
}

#[cfg(not(loom))]
fn pause(round: u32) {
    if round < 64 {
        std::thread::yield_now();
    } else {
        // A real-time thread that yields to a lesser one waits for itself: only sleep lets that one go on.
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
}

/// A value nobody uses any more, and its allocation.
pub(crate) struct Spent<T>(Arc<Counted<T>>);

impl<T> Spent<T> {
    pub(crate) fn get(&self) -> &T {
        &self.0.value
    }

    /// The value, unless another thread is still between counting itself out and letting go of the allocation.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        Arc::get_mut(&mut self.0).map(|counted| &mut counted.value)
    }
}

impl<T> Spent<T> {
    /// The value, having waited for that thread.
    pub(crate) fn alone(&mut self) -> &mut T {
        &mut alone(&mut self.0).value
    }
}

impl<T: OnLast> Spent<T> {
    /// Puts a new value into the old allocation, or, in the rare case described at [`Spent::get_mut`], into a new one.
    pub(crate) fn refill(mut self, value: T) -> Shared<T> {
        match Arc::get_mut(&mut self.0) {
            Some(counted) => {
                counted.value = value;
                counted.users = AtomicUsize::new(1);
                Shared(Some(self.0))
            }
            None => Shared::new(value),
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::Mutex;
    use loom::thread;

    /// Stands for a frame's body: a lease to be taken once, and work done by users that the last one must see.
    struct Body {
        ended: Arc<Mutex<Vec<usize>>>,
        back: Arc<Mutex<Option<Spent<Body>>>>,
        work: loom::cell::UnsafeCell<usize>,
    }

    impl OnLast for Body {
        fn on_last(spent: Spent<Self>) {
            let body = spent.get();
            // Safe only if every user's write happened before: loom's cell checks that.
            let work = body.work.with(|p| unsafe { *p });
            body.ended.lock().unwrap().push(work);
            let back = body.back.clone();
            *back.lock().unwrap() = Some(spent);
        }
    }

    // SAFETY: for the model only; loom checks the accesses.
    unsafe impl Sync for Body {}

    #[test]
    fn loom_lease_runs_once_after_every_use_and_the_slot_is_used_again() {
        loom::model(|| {
            let ended = Arc::new(Mutex::new(Vec::new()));
            let back = Arc::new(Mutex::new(None));
            let body = |work| Body {
                ended: ended.clone(),
                back: back.clone(),
                work: loom::cell::UnsafeCell::new(work),
            };
            let first = Shared::new(body(1));
            let second = first.clone();
            let thread = thread::spawn(move || {
                let third = second.clone();
                drop(second);
                drop(third);
            });
            drop(first);
            // The producer may take the slot while the other thread is still on its way out of drop.
            let early = back.lock().unwrap().take();
            if let Some(spent) = early {
                drop(spent.refill(body(2)));
                thread.join().unwrap();
            } else {
                thread.join().unwrap();
                let spent = back.lock().unwrap().take().expect("both users are gone");
                drop(spent.refill(body(2)));
            }
            assert_eq!(
                *ended.lock().unwrap(),
                [1, 2],
                "each delivery ended once, in order"
            );
            // Break the cycle body -> back -> body, or loom sees a leak.
            drop(back.lock().unwrap().take());
        });
    }

    #[test]
    fn loom_a_unique_user_is_alone() {
        loom::model(|| {
            let ended = Arc::new(Mutex::new(Vec::new()));
            let back = Arc::new(Mutex::new(None));
            let first = Shared::new(Body {
                ended,
                back: back.clone(),
                work: loom::cell::UnsafeCell::new(0),
            });
            let second = first.clone();
            let thread = thread::spawn(move || {
                // SAFETY: this user and the other take turns: the other writes only when it is unique.
                second.get().work.with(|p| unsafe { *p });
                drop(second);
            });
            let mut first = first;
            if first.is_unique() {
                // It says so before the other has let go of the allocation, and is right all the same.
                let body = first.get_mut().expect("a unique user gets the value");
                body.work.with_mut(|p| unsafe { *p = 7 });
            }
            thread.join().unwrap();
            drop(first);
            drop(back.lock().unwrap().take());
        });
    }
}
