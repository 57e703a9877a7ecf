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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::Cameras;
    use crate::capture::Capture;
    use crate::error::Error;
    use crate::format::{Role, StreamRequest};
    use rustix::event::{PollFd, PollFlags, Timespec};
    use std::time::Duration;

    /// `None`, visibly, where libcamera has no virtual camera.
    fn virtual_camera() -> Option<Capture> {
        let cameras = Cameras::new().unwrap();
        let listed = cameras.list().into_iter().map(|camera| camera.id);
        let Some(id) = listed.into_iter().find(|id| id.contains("Virtual0")) else {
            dmaframe_testkit::skip("libcamera lists no virtual camera");
            return None;
        };
        let request = StreamRequest::new(Role::ViewFinder).buffers(4);
        let builder = Capture::builder(cameras.open(&id).unwrap());
        Some(builder.stream(request).start().unwrap())
    }

    fn gone<T>(result: Result<T, Error>) -> bool {
        matches!(result, Err(Error::Unplugged { .. }))
    }

    /// Only webcams' pipeline tells of unplugging, and no lab has one. So the camera is one that is there, and what its
    /// pipeline would say from its thread is said here: unlike of a camera that libcamera does not know to be gone, it is
    /// stopped, every request comes back, and nothing is left behind.
    #[test]
    fn a_camera_that_libcamera_says_is_gone_ends_with_everything_given_back() {
        // The first round loads libraries, which stay.
        let mut before = None;
        for round in 0..6 {
            let Some(mut capture) = virtual_camera() else {
                return;
            };
            let held = capture.next(Duration::from_secs(10)).unwrap().unwrap();
            assert!(capture.is_in_flight());
            let inbox = Arc::clone(&capture.inbox);
            let told = std::thread::spawn(move || inbox.camera_gone());
            told.join().unwrap();
            let mut fds = [PollFd::new(&capture.watcher, PollFlags::IN)];
            assert_eq!(rustix::event::poll(&mut fds, Some(&Timespec::default())), Ok(1));
            assert!(gone(capture.next(Duration::from_secs(10))) && gone(capture.try_next()));
            match round % 3 {
                // In the middle of its stream.
                0 => drop(capture),
                1 => {
                    assert!(gone(capture.stop()));
                    assert!(!capture.is_streaming() && !capture.is_in_flight());
                    assert_eq!((capture.queued(0), capture.lost), (0, false));
                    assert!(gone(capture.start()));
                    drop(capture);
                }
                _ => assert!(gone(capture.into_camera())),
            }
            let picture = held.into_frame().unwrap();
            let view = picture.map_read(Duration::from_secs(10)).unwrap();
            assert!(!view.to_tight().unwrap().is_empty());
            drop(view);
            drop(picture);
            before.get_or_insert_with(dmaframe_testkit::Leaks::now).check();
        }
    }
}
