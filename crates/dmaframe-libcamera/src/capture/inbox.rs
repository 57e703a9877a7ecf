//! From libcamera's thread to ours: completed requests, and the news that the camera is gone.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libcamera::request::Request;
use rustix::event::EventfdFlags;
use rustix::io::Errno;

/// Its descriptor is readable while requests wait to be taken, and for ever once the camera is gone.
pub(crate) struct Inbox {
    state: Mutex<State>,
    wake: OwnedFd,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    gone: bool,
}

impl Inbox {
    pub(crate) fn new() -> Result<Arc<Self>, Errno> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Self {
            state: Mutex::default(),
            wake,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // Full cannot happen: the counter is read back to 0 whenever the queue runs empty.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Called by libcamera's thread: must not block, nor drop a request, nor call into libcamera.
    pub(crate) fn push(&self, request: Request) {
        let mut state = self.lock();
        state.requests.push_back(request);
        if state.requests.len() == 1 && !state.gone {
            self.ring();
        }
    }

    /// Called by libcamera's thread.
    pub(crate) fn camera_gone(&self) {
        let mut state = self.lock();
        state.gone = true;
        self.ring();
    }

    pub(crate) fn pop(&self) -> Option<Request> {
        let mut state = self.lock();
        let next = state.requests.pop_front();
        if next.is_some() && state.requests.is_empty() && !state.gone {
            // Under the lock, so that no completion slips between "empty" and "not readable".
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        next
    }

    pub(crate) fn is_camera_gone(&self) -> bool {
        self.lock().gone
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        write!(
            f,
            "Inbox({} requests, gone: {})",
            state.requests.len(),
            state.gone
        )
    }
}
