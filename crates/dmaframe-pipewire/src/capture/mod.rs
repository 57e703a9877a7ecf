//! Reading frames from a node.
//!
//! The loop's thread ([`worker`]) turns filled buffers into frames and puts them into a short queue; consumers take them
//! from there on any thread, and their leases come back through the core's return queue to the loop's thread, which is
//! the only one that touches libpipewire.

mod builder;
mod pool;
mod worker;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, Extensions, Frame, Rect};

pub use builder::{CaptureBuilder, Target, Unguarded};

use crate::error::Error;
use crate::negotiate::Taken;
use crate::pod::VideoFormat;
use crate::thread::LoopThread;
use crate::wake::Signal;

/// What a capture tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A picture.
    Frame(Frame),
    /// The format was negotiated, for the first time or anew. Frames that come after it are like this; those before it,
    /// and those still held, stay valid.
    Format(VideoFormat),
    /// The link is gone, or its format: no pictures until there is another one.
    Unlinked,
    /// The node that was read from is gone.
    NodeRemoved {
        /// Its id.
        node: u32,
    },
}

impl Event {
    /// The picture, if it is one.
    #[must_use]
    pub fn into_frame(self) -> Option<Frame> {
        match self {
            Self::Frame(frame) => Some(frame),
            _ => None,
        }
    }
}

/// The parts of a picture that changed since the last one (`SPA_META_VideoDamage`), in
/// [`FrameMeta::extensions`](dmaframe_core::FrameMeta::extensions) of frames whose producer says so. A frame without it may be
/// new everywhere: the first one is, and the next after pictures that were lost or thrown away on the way.
///
/// A virtual camera tells its consumers the whole picture instead of more than 16 parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage(pub Vec<Rect>);

/// Counters of a capture since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Frames that went to the queue in the node's own memory.
    pub delivered: u64,
    /// Copies, because consumers held nearly all buffers or the memory could not be shared safely.
    pub detached: u64,
    /// Pictures thrown away because consumers held nearly all buffers, by policy.
    pub dropped: u64,
    /// Frames thrown away because nobody took them from the queue in time.
    pub overrun: u64,
    /// Sequence numbers that never came: pictures that the node or the graph lost.
    pub gaps: u64,
    /// Buffers without a whole picture, by the node's own word; not handed out.
    pub damaged: u64,
    /// Pictures older than one that was handed out already; not handed out. Only unguarded nodes give such.
    pub stale: u64,
    /// Buffers that do not hold what they promise; not handed out.
    pub refused: u64,
    /// Pictures that the node wrote into a buffer of which a frame was still out; not handed out, but that frame shows them.
    /// Only unguarded nodes do.
    pub overwritten: u64,
    /// Buffers in use now.
    pub buffers: u64,
    /// Whether those are shared with explicit sync.
    pub explicit_sync: bool,
    /// Whether the node takes buffers back whoever holds them ([`CaptureBuilder::unguarded`]).
    pub unguarded: bool,
}

/// A stream of frames from a camera, a screencast or any other video node.
///
/// Frames are the node's own dma-bufs (or sealed memfds) and go back to it when the last clone drops, from any thread;
/// holding them never stalls the node ([`CaptureBuilder::budget`]).
///
/// A node that is another program's stream (a virtual camera, a screencast) does not write a buffer that a frame is in.
/// **PipeWire's own nodes for V4L2 and libcamera cameras do**, whoever holds it: their frames are good until the node has
/// gone once through its other buffers. [`Stats::unguarded`] says that a node is one of these, [`Stats::overwritten`] how
/// often it happened, and [`CaptureBuilder::unguarded`] has each picture copied instead.
///
/// Frames outlive renegotiations, the node, the daemon and this stream; their leases then do nothing.
///
/// Dropping it disconnects and joins its thread; on that thread itself, where leases may run, it only disconnects.
#[derive(Debug)]
pub struct CaptureStream {
    shared: Arc<Shared>,
    taken: Taken,
    #[expect(dead_code, reason = "its drop ends the thread")]
    thread: LoopThread,
}

/// What the two threads share.
#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    /// Readable while the inbox has something.
    ready: Signal,
    /// Wakes the loop's thread.
    commands: Arc<Signal>,
    hop: Arc<Hop>,
}

#[derive(Debug)]
struct Inbox {
    events: VecDeque<Event>,
    frames: usize,
    limit: usize,
    failed: Option<Error>,
    /// Told once: the stream can still be linked to something else.
    refused: Option<Error>,
    stats: Stats,
    format: Option<VideoFormat>,
    new_formats: Option<FormatSet>,
}

impl Shared {
    fn new(name: &str, limit: usize) -> Result<Self, Error> {
        Ok(Self {
            inbox: Mutex::new(Inbox {
                events: VecDeque::with_capacity(limit + 8),
                frames: 0,
                limit,
                failed: None,
                refused: None,
                stats: Stats::default(),
                format: None,
                new_formats: None,
            }),
            ready: Signal::new()?,
            commands: Arc::new(Signal::new()?),
            hop: Hop::new(format!("{name}(PipeWire)")),
        })
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // Whole between any two statements: a panic elsewhere harms nothing.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut event: Event) {
        let mut inbox = self.inbox();
        let mut overrun = None;
        if matches!(event, Event::Frame(_)) {
            if inbox.frames >= inbox.limit {
                let oldest = inbox.events.iter().position(|e| matches!(e, Event::Frame(_)));
                overrun = oldest.and_then(|index| inbox.events.remove(index));
                inbox.stats.overrun += 1;
                // What changed since the picture that nobody gets is not all that is new in the next one.
                let next = inbox.events.iter_mut().chain([&mut event]);
                let next = next.filter_map(|e| match e {
                    Event::Frame(frame) => Some(frame),
                    _ => None,
                });
                if let Some(Ok(meta)) = next.take(1).map(Frame::meta_mut).next() {
                    // Nothing but the damage is in them.
                    meta.extensions = Extensions::default();
                }
            } else {
                inbox.frames += 1;
            }
        }
        inbox.events.push_back(event);
        self.ready.set();
        drop(inbox);
        if overrun.is_some() {
            self.hop.dropped("nobody took the frame from the queue in time");
        }
        // Its lease runs here, outside of the lock.
        drop(overrun);
    }

    fn refuse(&self, error: Error) {
        self.inbox().refused = Some(error);
        self.ready.set();
    }

    fn fail(&self, error: Error) {
        let mut inbox = self.inbox();
        if inbox.failed.is_none() {
            inbox.failed = Some(error);
        }
        self.ready.set();
    }
}

impl CaptureStream {
    /// What a new capture is to be like.
    pub fn builder() -> CaptureBuilder {
        CaptureBuilder::new()
    }

    /// The next event, or `None` at the deadline. Frames come in order, and after the format they have.
    ///
    /// # Errors
    /// [`Error::NoCommonFormat`], once for each link that failed for it: the stream lives, and other formats
    /// ([`CaptureStream::set_formats`]) or another node may do. [`Error::Disconnected`], [`Error::Removed`],
    /// [`Error::Stream`] and whatever else ended the stream: the same again at each call, after everything that came before
    /// it. [`Error::Os`] when the wait is refused.
    pub fn next(&self, deadline: impl Into<Deadline>) -> Result<Option<Event>, Error> {
        self.shared.ready.until(deadline.into(), || self.try_next())
    }

    /// The next event if there is one. Does not block.
    ///
    /// # Errors
    /// As [`CaptureStream::next`].
    pub fn try_next(&self) -> Result<Option<Event>, Error> {
        let mut inbox = self.shared.inbox();
        let event = inbox.events.pop_front();
        if matches!(event, Some(Event::Frame(_))) {
            inbox.frames -= 1;
        }
        let refused = if event.is_none() {
            inbox.refused.take()
        } else {
            None
        };
        if inbox.events.is_empty() && inbox.refused.is_none() && inbox.failed.is_none() {
            // Under the lock, so that nothing slips in between.
            self.shared.ready.clear();
        }
        match (event, refused.or_else(|| inbox.failed.clone())) {
            (Some(event), _) => Ok(Some(event)),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }

    /// The next frame, passing over everything else, or `None` at the deadline.
    ///
    /// # Errors
    /// As [`CaptureStream::next`].
    pub fn next_frame(&self, deadline: impl Into<Deadline>) -> Result<Option<Frame>, Error> {
        let deadline = deadline.into();
        loop {
            match self.next(deadline)? {
                Some(Event::Frame(frame)) => return Ok(Some(frame)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Offers other formats from now on, without a new stream: for an importer that refused a pair
    /// ([`dmaframe_core::negotiate::Offers::refuse`]). The node is asked anew; frames keep coming until it has answered.
    /// Does not block.
    ///
    /// # Errors
    /// [`Error::NoFormat`] where nothing would be offered; the offers stay as they were.
    pub fn set_formats(&self, formats: FormatSet) -> Result<(), Error> {
        self.taken.check(&formats)?;
        self.shared.inbox().new_formats = Some(formats);
        self.shared.commands.set();
        Ok(())
    }

    /// The format now; `None` until one was negotiated.
    #[must_use]
    pub fn format(&self) -> Option<VideoFormat> {
        self.shared.inbox().format.clone()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.inbox().stats
    }

    /// What the hop from the node costs, for a [`PathReport`](dmaframe_core::report::PathReport).
    #[must_use]
    pub fn hop(&self) -> &Arc<Hop> {
        &self.shared.hop
    }
}

impl AsFd for CaptureStream {
    /// Readable while [`CaptureStream::try_next`] has something to tell.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.ready.as_fd()
    }
}
