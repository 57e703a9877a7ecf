//! The newest frame, from one thread to another.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, Frame};

use super::{Error, Sink, Summary, Taken};

/// Room for one frame between a camera's thread and one that shows it, or looks at it, whenever it is ready. A newer frame
/// replaces one that was not taken, which goes back to the camera: neither side waits for the other, and the reader always
/// has the newest.
///
/// Clones are the same room. The writer puts, says and ends; the reader takes, and closes. The reader is woken through a
/// closure that it gives, which posts an event to its loop; a reader without a loop waits in [`Latest::next`].
///
/// ```
/// # use dmaframe::{Fourcc, Frame, FrameMeta, Layout, Size};
/// use dmaframe::sink::Latest;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), dmaframe::Error> {
/// # let frame = Frame::from_bytes(vec![0; 16], &Layout::tight(Fourcc::R8, Size::new(4, 4))?, FrameMeta::default())?;
/// let latest = Latest::new(|| { /* proxy.send_event(Wake) */ });
/// let writer = latest.clone();
/// std::thread::spawn(move || {
///     writer.put(frame);
///     writer.end();
/// });
/// while let Some(frame) = latest.next(Duration::from_secs(1)) {
///     println!("{frame:?}");
/// }
/// assert!(latest.has_ended());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Latest {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    waker: Mutex<Box<dyn FnMut() + Send>>,
    hop: Arc<Hop>,
}

#[derive(Debug, Default)]
struct State {
    frame: Option<Frame>,
    message: Option<String>,
    warnings: Vec<String>,
    taken: u64,
    replaced: u64,
    /// The writer's end.
    ended: bool,
    /// The reader's end.
    closed: bool,
}

impl Latest {
    /// An empty room. `waker` is called on the writer's thread, and not for each frame: once when there is something new,
    /// and again only after the reader has taken it. It must not use this room.
    pub fn new(waker: impl FnMut() + Send + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                changed: Condvar::new(),
                waker: Mutex::new(Box::new(waker)),
                hop: Hop::new("latest"),
            }),
        }
    }

    /// Puts a frame in. `false`: the reader has closed it. Does not block.
    pub fn put(&self, frame: Frame) -> bool {
        self.replace(frame).is_some()
    }

    /// Whether another frame had to go for it; `None` where nobody reads.
    fn replace(&self, frame: Frame) -> Option<bool> {
        let mut state = self.state();
        if state.closed {
            return None;
        }
        let before = state.frame.replace(frame);
        state.replaced += u64::from(before.is_some());
        // For the frame before, the reader is on its way already.
        let wake = state.message.take().is_some() || before.is_none();
        drop(state);
        if wake {
            self.wake();
        }
        let replaced = before.is_some();
        if replaced {
            self.shared
                .hop
                .dropped("a newer picture was there before it was taken");
        }
        Some(replaced)
    }

    /// A message for the reader's user (the camera is gone, and why), until there is another frame. `false`: the reader has
    /// closed it.
    pub fn say(&self, message: impl Into<String>) -> bool {
        let mut state = self.state();
        state.message = Some(message.into());
        let open = !state.closed;
        drop(state);
        self.wake();
        open
    }

    /// A message that stays, whatever frames come: a recording beside has ended, and why.
    pub fn warn(&self, message: impl Into<String>) {
        self.state().warnings.push(message.into());
        self.wake();
    }

    /// Nothing more will come; what is there can still be taken.
    pub fn end(&self) {
        self.state().ended = true;
        self.wake();
    }

    /// The newest frame, if it was not taken yet. Does not block.
    #[must_use]
    pub fn try_next(&self) -> Option<Frame> {
        self.taken(&mut self.state())
    }

    /// The newest frame, when there is one that was not taken yet. `None` at the deadline, and at the end.
    #[must_use]
    pub fn next(&self, deadline: impl Into<Deadline>) -> Option<Frame> {
        let deadline = deadline.into();
        let mut state = self.state();
        loop {
            let frame = self.taken(&mut state);
            let left = deadline.remaining();
            if frame.is_some() || state.ended || left.is_some_and(|left| left.is_zero()) {
                return frame;
            }
            state = match left {
                Some(left) => {
                    let waited = self.shared.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.shared.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    fn taken(&self, state: &mut State) -> Option<Frame> {
        let frame = state.frame.take()?;
        state.taken += 1;
        self.shared.hop.zero_copy();
        Some(frame)
    }

    /// What was said since the last frame.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        self.state().message.clone()
    }

    /// All that was warned of.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.state().warnings.clone()
    }

    /// Frames that a newer one replaced before they were taken.
    #[must_use]
    pub fn replaced(&self) -> u64 {
        self.state().replaced
    }

    /// Whether the writer has ended it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// The reader wants no more: a frame that is still there goes back to the camera, and further ones are refused.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let frame = state.frame.take();
        drop((state, frame));
    }

    fn wake(&self) {
        self.shared.changed.notify_one();
        let mut waker = self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner);
        (*waker)();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements: a panic elsewhere harms nothing.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Latest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Latest").field(&*self.state()).finish()
    }
}

/// The writer's half, among other sinks. It fails with [`Error::Closed`] when the reader has closed it.
impl Sink for Latest {
    fn take(&mut self, frame: &Frame) -> Result<Taken, Error> {
        match self.put(frame.clone()) {
            true => Ok(Taken::Shared),
            false => Err(Error::Closed),
        }
    }

    fn hop(&self) -> &Arc<Hop> {
        &self.shared.hop
    }

    fn finish(self: Box<Self>) -> Result<Summary, Error> {
        self.end();
        let state = self.state();
        Ok(Summary {
            kind: "newest pictures",
            name: self.shared.hop.counts().name,
            by: None,
            frames: state.taken,
            copied: None,
            dropped: state.replaced,
            bytes: None,
        })
    }
}
