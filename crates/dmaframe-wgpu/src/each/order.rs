//! One submission at a time, with what marks its end.

use std::any::Any;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use crate::track::Core;

/// Has submissions, and what marks their ends, come in one order.
///
/// wgpu calls applications back in the middle of a submission, and those may submit: the thread whose turn it is may take
/// another within it.
#[derive(Debug, Default)]
pub(super) struct Order {
    turn: Mutex<()>,
    /// Whose turn it is.
    owner: Mutex<Option<ThreadId>>,
    left: Mutex<Left>,
}

/// What one submission leaves to the next.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// The mark that was given to wgpu to go with the next submission, whosever that is. At most one: two values for one
    /// counter cannot be signalled in one submission.
    pub(super) waiting: Option<u64>,
    /// What wgpu will signal with the next submission without being wanted any more: it stays until that is done.
    pub(super) strays: Vec<Box<dyn Any + Send>>,
}

impl Left {
    /// A mark that wgpu has.
    pub(super) fn waiting(value: u64) -> Self {
        Self {
            waiting: Some(value),
            strays: Vec::new(),
        }
    }
}

/// From a submission to its mark.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    order: &'a Order,
    /// `None` within another turn of the same thread.
    outermost: Option<MutexGuard<'a, ()>>,
}

impl Order {
    pub(super) fn turn(&self) -> Turn<'_> {
        let here = std::thread::current().id();
        if *lock(&self.owner) == Some(here) {
            return Turn {
                order: self,
                outermost: None,
            };
        }
        let outermost = Some(lock(&self.turn));
        *lock(&self.owner) = Some(here);
        Turn {
            order: self,
            outermost,
        }
    }

    /// For a moment: never over a call of wgpu's.
    pub(super) fn left(&self) -> MutexGuard<'_, Left> {
        lock(&self.left)
    }
}

impl Turn<'_> {
    /// As [`Order::left`].
    pub(super) fn left(&self) -> MutexGuard<'_, Left> {
        self.order.left()
    }

    /// What no submission has taken after all.
    pub(super) fn put_back(&self, mut carried: Left, core: &Core) {
        let mut left = self.left();
        left.strays.append(&mut carried.strays);
        match (carried.waiting, left.waiting) {
            // Somebody submitted in the middle, and took it along.
            (Some(value), Some(_)) => core.marked(value),
            (Some(value), None) => left.waiting = Some(value),
            (None, _) => {}
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.outermost.is_some() {
            *lock(&self.order.owner) = None;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
