//! Between the camera's thread and the window's: the newest picture, and what there is to say. Neither waits for the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dmaframe::Frame;
use winit::event_loop::EventLoopProxy;

/// There is something new in the slot.
#[derive(Debug)]
pub(crate) struct Wake;

/// Room for one picture.
#[derive(Clone)]
pub(crate) struct Slot {
    state: Arc<Mutex<State>>,
    waker: EventLoopProxy<Wake>,
}

#[derive(Default)]
struct State {
    frame: Option<Frame>,
    message: Option<String>,
    replaced: u64,
    /// The camera's end.
    ended: bool,
    /// The window's end.
    closed: bool,
}

impl Slot {
    pub(super) fn new(waker: EventLoopProxy<Wake>) -> Self {
        Self {
            state: Arc::default(),
            waker,
        }
    }

    /// Puts a picture in. One that the window has not taken, because it is hidden or slow, goes back to the camera.
    /// `false`: the window is closed.
    pub(crate) fn put(&self, frame: Frame) -> bool {
        let mut state = self.state();
        let before = state.frame.replace(frame);
        state.replaced += u64::from(before.is_some());
        // One wake-up is under way already.
        let wake = state.message.take().is_some() || before.is_none();
        let open = !state.closed;
        drop(state);
        self.wake(wake);
        open
    }

    /// Shows a message over the last picture, until there is another picture.
    pub(crate) fn say(&self, message: String) -> bool {
        let mut state = self.state();
        state.message = Some(message);
        let open = !state.closed;
        drop(state);
        self.wake(true);
        open
    }

    pub(super) fn take(&self) -> Option<Frame> {
        self.state().frame.take()
    }

    pub(super) fn message(&self) -> Option<String> {
        self.state().message.clone()
    }

    pub(super) fn replaced(&self) -> u64 {
        self.state().replaced
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.wake(true);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
    }

    fn wake(&self, wake: bool) {
        if wake {
            // An error means that the window is gone.
            let _ = self.waker.send_event(Wake);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
