//! A camera that other applications see.
//!
//! The pool's slots are the stream's buffers. Producers take free ones ([`VirtualCamera::acquire`]) and push frames on any
//! thread; the loop's thread ([`worker`]) publishes them in order and keeps each until no consumer has it any more.

mod builder;
mod copy;
mod pool;
mod worker;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, Frame, Layout, Size};

pub use builder::CameraBuilder;

use crate::error::{Error, Rejected};
use crate::negotiate::Taken;
use crate::pod::VideoFormat;
use crate::thread::LoopThread;
use crate::wake::Signal;
use pool::{Accepted, Pool};

/// What a camera tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CameraEvent {
    /// A consumer is there and the format is settled: [`VirtualCamera::acquire`] has buffers of this layout.
    Format {
        /// As negotiated.
        format: VideoFormat,
        /// Of the buffers.
        layout: Layout,
    },
    /// Nobody is watching any more.
    Unwatched,
    /// A consumer could not be served. Others are not concerned, unless no buffers could be made at all: then the node says
    /// to everybody that it has failed, and comes back as a new one when they are gone.
    Refused(Error),
}

/// What became of a pushed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Consumers get the frame's own memory.
    ZeroCopy,
    /// They get a copy of so many bytes, because the frame's memory is none of the stream's buffers.
    Copied(u64),
}

/// Counters of a camera since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CameraStats {
    /// Frames given to the graph.
    pub published: u64,
    /// Of those, copied first.
    pub copied: u64,
    /// Frames that were pushed for a format that was gone by the time they were ready.
    pub stale: u64,
    /// Buffers that a consumer had promised to release and did not, or never took.
    pub unreleased: u64,
    /// Times a consumer took a buffer just as it came back: it was left to it.
    pub late: u64,
    /// Buffers in use now.
    pub buffers: u64,
    /// Whether those are shared with explicit sync.
    pub explicit_sync: bool,
    /// Links to consumers now.
    pub consumers: u64,
    /// Times all buffers were made anew because a consumer had died with some of them.
    pub rescued: u64,
}

/// A `Video/Source` node: a camera in every application that looks for cameras through PipeWire.
///
/// Frames in the camera's own buffers ([`VirtualCamera::acquire`], or [`CameraBuilder::import`]) go out without a copy;
/// any other frame of the same format and size is copied once, on the thread that pushes it, and the hop says why. A
/// buffer is used again only when no consumer reads it, the producer's clones are gone and all release fences have
/// signalled.
///
/// Threads may share it. Dropping it takes the camera down and joins its thread; on that thread itself, where leases of
/// pushed frames run, it only takes the camera down.
#[derive(Debug)]
pub struct VirtualCamera {
    shared: Arc<Shared>,
    offered: Taken,
    #[expect(dead_code, reason = "its drop ends the thread")]
    thread: LoopThread,
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    /// Readable while there are events, or the camera has failed.
    ready: Signal,
    /// Readable while a buffer is free, or the camera has failed.
    freed: Signal,
    /// Wakes the loop's thread.
    commands: Arc<Signal>,
    hop: Arc<Hop>,
}

#[derive(Debug, Default)]
struct Desk {
    events: VecDeque<CameraEvent>,
    failed: Option<Error>,
    stats: CameraStats,
    format: Option<VideoFormat>,
    pool: Option<Pool>,
    /// Frames to publish, in order; each in a buffer of `pool`, or of an older one.
    pushed: VecDeque<Frame>,
    /// When somebody last asked for a buffer in vain; none has come free since then.
    asked: Option<Instant>,
    /// Threads that sleep until a buffer is free.
    waiting: usize,
    picture: Option<(FormatSet, Size)>,
}

impl Shared {
    fn new(name: &str) -> Result<Self, Error> {
        Ok(Self {
            desk: Mutex::default(),
            ready: Signal::new()?,
            freed: Signal::new()?,
            commands: Arc::new(Signal::new()?),
            hop: Hop::new(format!("PipeWire camera {name}")),
        })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Whole between any two statements: a panic elsewhere harms nothing.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: CameraEvent) {
        let mut desk = self.desk();
        // Nobody has to read events: only the latest matter then.
        if desk.events.len() >= 32 {
            desk.events.pop_front();
        }
        desk.events.push_back(event);
        self.ready.set();
    }

    fn fail(&self, error: Error) {
        let mut desk = self.desk();
        if desk.failed.is_none() {
            desk.failed = Some(error);
        }
        self.ready.set();
        self.freed.set();
    }
}

/// A thread that waits for a free buffer, counted while this lives: another may take the one that wakes it before it has
/// looked, and it sleeps on without having asked again.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.desk().waiting += 1;
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.desk().waiting -= 1;
    }
}

impl VirtualCamera {
    /// What a new camera is to be like; `name` is what users see and `node.name`.
    pub fn builder(name: impl Into<String>) -> CameraBuilder {
        CameraBuilder::new(name.into())
    }

    /// A free buffer as a frame to fill, for the format of now: waits until the deadline for a consumer to appear and for
    /// a buffer to come back. The frame has no clones, default metadata and undefined content.
    ///
    /// Others have the memory too, so it is written row by row ([`dmaframe_core::WriteView::write_row`],
    /// [`dmaframe_core::WriteView::copy_from_tight`]), or by a device. Dropped without being pushed, it is free again.
    ///
    /// # Errors
    /// [`Error::Starved`] at the deadline; [`Error::Disconnected`], [`Error::Removed`] and whatever else ended the camera.
    pub fn acquire(&self, deadline: impl Into<Deadline>) -> Result<Frame, Error> {
        let deadline = deadline.into();
        match self.try_acquire() {
            Err(Error::Starved { .. }) => {}
            other => return other,
        }
        let _counted = Waiting::new(&self.shared);
        loop {
            // Asked again: what came free meanwhile is seen, and from now on somebody looks for it.
            let starved = match self.try_acquire() {
                Err(error @ Error::Starved { .. }) => error,
                other => return other,
            };
            if !self.shared.freed.wait(deadline)? {
                return Err(starved);
            }
        }
    }

    fn try_acquire(&self) -> Result<Frame, Error> {
        let mut desk = self.shared.desk();
        if let Some(error) = &desk.failed {
            return Err(error.clone());
        }
        let found = match &mut desk.pool {
            Some(pool) => pool.take_free(),
            None => Err(Error::Starved {
                slots: 0,
                busy: 0,
                held: 0,
            }),
        };
        if !desk.pool.as_ref().is_some_and(Pool::has_free) {
            self.shared.freed.clear();
        }
        if let Err(Error::Starved { .. }) = found {
            // Consumers do not tell when they let go of a buffer: somebody has to look.
            desk.asked = Some(Instant::now());
            self.shared.commands.set();
        }
        found
    }

    /// Gives a frame to all consumers. It is kept until they have released it; clones may be kept longer.
    ///
    /// A frame whose acquire fence is pending goes out in order, when it signals (at once with explicit sync). Does not
    /// block, unless the frame has to be copied: then it waits until the deadline for its fences and for a free buffer.
    ///
    /// # Errors
    /// [`Error::Picture`] for another format or size than the stream has now, [`Error::Starved`] when a copy finds no
    /// buffer or nobody is watching, [`Error::Core`] when it cannot be read. The frame comes back with the error.
    pub fn push(&self, frame: Frame, deadline: impl Into<Deadline>) -> Result<Pushed, Box<Rejected<Frame>>> {
        let deadline = deadline.into();
        let mut counted = None;
        loop {
            match self.accept(&frame) {
                Ok(Accepted::Here) => break,
                Ok(Accepted::Elsewhere) => return self.push_copy(frame, deadline),
                Ok(Accepted::NotYet) => {}
                Err(error) => return Err(Rejected::new(frame, error)),
            }
            if counted.is_none() {
                counted = Some(Waiting::new(&self.shared));
                continue;
            }
            match self.shared.freed.wait(deadline) {
                Ok(true) => {}
                Ok(false) => return Err(Rejected::new(frame, Error::Imported)),
                Err(error) => return Err(Rejected::new(frame, error)),
            }
        }
        self.shared.desk().pushed.push_back(frame);
        self.shared.commands.set();
        self.shared.hop.zero_copy();
        Ok(Pushed::ZeroCopy)
    }

    /// Where the frame is; in the stream's own buffer, it counts as pushed from now on.
    fn accept(&self, frame: &Frame) -> Result<Accepted, Error> {
        let mut desk = self.shared.desk();
        if let Some(error) = &desk.failed {
            return Err(error.clone());
        }
        let Some(pool) = &mut desk.pool else {
            self.shared.hop.dropped("nobody is watching");
            return Err(Error::Starved {
                slots: 0,
                busy: 0,
                held: 0,
            });
        };
        let found = pool.accept(frame);
        if !pool.has_free() {
            self.shared.freed.clear();
        }
        if matches!(found, Ok(Accepted::NotYet)) {
            desk.asked = Some(Instant::now());
            self.shared.commands.set();
        }
        found
    }

    fn push_copy(&self, frame: Frame, deadline: Deadline) -> Result<Pushed, Box<Rejected<Frame>>> {
        let copy = self.acquire(deadline).and_then(|mut copy| {
            copy::into_slot(&frame, &mut copy, deadline)?;
            Ok(copy)
        });
        let copy = match copy {
            Ok(copy) => copy,
            Err(error) => {
                if matches!(error, Error::Starved { .. }) {
                    self.shared.hop.dropped("consumers hold all buffers");
                }
                return Err(Rejected::new(frame, error));
            }
        };
        let bytes = copy.layout().tight_len();
        let mut desk = self.shared.desk();
        if let Some(pool) = &mut desk.pool {
            // A renegotiation since then makes it stale, which is found when it is published.
            let _ = pool.accept(&copy);
        }
        desk.pushed.push_back(copy);
        desk.stats.copied += 1;
        drop(desk);
        self.shared.commands.set();
        let reason = "the frame's memory is none of the buffers that consumers have";
        self.shared.hop.cpu_copy(bytes, reason);
        Ok(Pushed::Copied(bytes))
    }

    /// The next event, or `None` at the deadline.
    ///
    /// # Errors
    /// Whatever ended the camera; the same again at each call, after everything that came before it.
    pub fn next(&self, deadline: impl Into<Deadline>) -> Result<Option<CameraEvent>, Error> {
        self.shared.ready.until(deadline.into(), || self.try_next())
    }

    /// The next event if there is one. Does not block.
    ///
    /// # Errors
    /// As [`VirtualCamera::next`].
    pub fn try_next(&self) -> Result<Option<CameraEvent>, Error> {
        let mut desk = self.shared.desk();
        let event = desk.events.pop_front();
        if desk.events.is_empty() && desk.failed.is_none() {
            self.shared.ready.clear();
        }
        match (event, &desk.failed) {
            (Some(event), _) => Ok(Some(event)),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Ok(None),
        }
    }

    /// Changes to other formats or another size: consumers renegotiate. Frames that are out stay valid; buffers of the
    /// old picture that are pushed afterwards are dropped and counted. Imported buffers are let go. Does not block.
    ///
    /// # Errors
    /// [`Error::NoFormat`] where nothing would be offered; the picture stays as it was.
    pub fn set_picture(&self, formats: FormatSet, size: Size) -> Result<(), Error> {
        self.offered.check(&formats)?;
        self.shared.desk().picture = Some((formats, size));
        self.shared.commands.set();
        Ok(())
    }

    /// The format now; `None` while nobody is watching.
    #[must_use]
    pub fn format(&self) -> Option<VideoFormat> {
        self.shared.desk().format.clone()
    }

    /// The layout of the buffers now; `None` while nobody is watching.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.shared.desk().pool.as_ref().map(|pool| pool.layout().clone())
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> CameraStats {
        self.shared.desk().stats
    }

    /// What the hop to the consumers costs, for a [`PathReport`](dmaframe_core::report::PathReport).
    #[must_use]
    pub fn hop(&self) -> &Arc<Hop> {
        &self.shared.hop
    }

    /// Readable while [`VirtualCamera::acquire`] has a buffer, once it has been asked in vain.
    #[must_use]
    pub fn free_fd(&self) -> BorrowedFd<'_> {
        self.shared.freed.as_fd()
    }
}

impl AsFd for VirtualCamera {
    /// Readable while [`VirtualCamera::try_next`] has something to tell.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.ready.as_fd()
    }
}
