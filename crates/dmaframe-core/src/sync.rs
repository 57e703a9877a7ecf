//! The synchronisation types the lease is made of, exchangeable for loom's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering, fence},
};

/// A descriptor that several threads use: loom, which sees no system calls, sees an access to it instead.
#[derive(Debug)]
pub(crate) struct Descriptor {
    fd: OwnedFd,
    #[cfg(loom)]
    used: AtomicUsize,
}

impl Descriptor {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            #[cfg(loom)]
            used: AtomicUsize::new(0),
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        #[cfg(loom)]
        self.used.fetch_add(1, Ordering::SeqCst);
        self.fd.as_fd()
    }
}

/// Locks, also after a panic elsewhere: what these mutexes guard is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
