//! The buffers of one negotiation, and where each of them is.

use std::sync::Arc;
use std::time::Instant;

use dmaframe_core::{Buffer, Fence, Frame, FrameMeta, Layout, ReturnQueue, Timeline};

use crate::error::Error;
use crate::sys::{MAX_BUFFERS, Slot};

/// Buffers that were added since the last time they were all removed.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) queue: Arc<ReturnQueue>,
    pub(super) entries: Vec<Option<Entry>>,
    layout: Layout,
    /// The buffers are somebody else's: nothing of ours is written into them.
    imported: bool,
    /// Slots in [`Place::Free`], the one longest at home first.
    free: std::collections::VecDeque<usize>,
}

/// One buffer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) slot: Slot,
    pub(super) buffer: Arc<Buffer>,
    pub(super) place: Place,
    pub(super) sync: Option<Sync>,
    /// The frame that is in it is not of our queue: when it is gone, the buffer is free.
    pub(super) foreign: bool,
}

/// The two timelines of explicit sync.
#[derive(Debug)]
pub(super) struct Sync {
    pub(super) acquire: Timeline,
    pub(super) release: Timeline,
    pub(super) point: u64,
}

impl Sync {
    /// The next point, for a picture that is finished.
    pub(super) fn advance(&mut self) -> Result<(), Error> {
        let point = self.point + 1;
        self.acquire.signal(point)?;
        self.point = point;
        Ok(())
    }
}

/// Where a buffer is.
#[derive(Debug)]
pub(super) enum Place {
    /// In the stream's hands from the start: no frame was in it yet.
    Fresh,
    /// To be had.
    Free,
    /// In a frame of the producer's.
    Out,
    /// Pushed, not published yet.
    Pushed,
    /// With the graph; the frame is kept until it comes back.
    Published(Frame),
    /// Back from the graph, but a consumer has come upon it again.
    Late(Option<Frame>),
    /// Back from the graph; the consumer's release point is not signalled yet.
    Unreleased(Option<Frame>, Instant),
    /// Back from the graph; the producer's own clones are not gone yet.
    Held,
    /// All frames are gone; a fence is not signalled yet.
    Fenced(Fence),
}

/// Where a pushed frame's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    /// In a buffer of the stream: it goes out as it is.
    Here,
    /// In an imported buffer that will be the stream's in a moment.
    NotYet,
    /// It has to be copied.
    Elsewhere,
}

impl Pool {
    pub(super) fn new(layout: Layout, imported: bool) -> Result<Self, Error> {
        Ok(Self {
            queue: ReturnQueue::new(MAX_BUFFERS)?,
            entries: (0..MAX_BUFFERS).map(|_| None).collect(),
            layout,
            imported,
            free: std::collections::VecDeque::with_capacity(MAX_BUFFERS),
        })
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn len(&self) -> usize {
        self.entries.iter().flatten().count()
    }

    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) fn set_free(&mut self, index: usize) {
        if let Some(Some(entry)) = self.entries.get_mut(index) {
            entry.place = Place::Free;
            self.free.push_back(index);
        }
    }

    /// A free buffer as a frame.
    pub(super) fn take_free(&mut self) -> Result<Frame, Error> {
        if self.imported {
            return Err(Error::Imported);
        }
        while let Some(index) = self.free.pop_front() {
            let Some(Some(entry)) = self.entries.get_mut(index) else {
                continue;
            };
            let frame = self
                .queue
                .frame(index, &entry.buffer, FrameMeta::default(), Fence::Signaled)?;
            entry.place = Place::Out;
            entry.foreign = false;
            return Ok(frame);
        }
        let places = || self.entries.iter().flatten().map(|entry| &entry.place);
        Err(Error::Starved {
            slots: self.len(),
            busy: places()
                .filter(|p| matches!(p, Place::Published(_) | Place::Late(_) | Place::Unreleased(..)))
                .count(),
            held: places().filter(|p| matches!(p, Place::Out | Place::Held)).count(),
        })
    }

    /// Where the frame is: in one of these buffers, ready to be published; then it counts as pushed. An imported buffer
    /// does not come from [`Pool::take_free`]: it is one that was free here, and its frame is somebody else's.
    pub(super) fn accept(&mut self, frame: &Frame) -> Result<Accepted, Error> {
        let (found, wanted) = (frame.layout(), &self.layout);
        if (found.fourcc(), found.size()) != (wanted.fourcc(), wanted.size()) {
            return Err(Error::Picture {
                found: found.fourcc(),
                found_size: found.size(),
                wanted: wanted.fourcc(),
                wanted_size: wanted.size(),
            });
        }
        let index = self.index_of(frame);
        let Some((index, entry)) = index.and_then(|index| Some((index, self.entries[index].as_mut()?)))
        else {
            return Ok(Accepted::Elsewhere);
        };
        match entry.place {
            Place::Out => {}
            Place::Free => {
                self.free.retain(|free| *free != index);
                entry.foreign = true;
            }
            // The stream has not given it out yet.
            Place::Fresh if self.imported => return Ok(Accepted::NotYet),
            // The same memory is out already, under an older picture.
            _ => return Ok(Accepted::Elsewhere),
        }
        entry.place = Place::Pushed;
        Ok(Accepted::Here)
    }

    /// A pushed frame will not be published: its buffer is free when it is gone.
    pub(super) fn unpush(&mut self, frame: &Frame) {
        let entry = self
            .index_of(frame)
            .and_then(|index| Some((index, self.entries[index].as_mut()?)));
        let Some((index, entry)) = entry.filter(|(_, entry)| matches!(entry.place, Place::Pushed)) else {
            return;
        };
        if entry.foreign {
            self.set_free(index);
        } else {
            entry.place = Place::Held;
        }
    }

    /// Which buffer the frame is in: by the buffer itself, or by the kernel's identity of the memory under it.
    pub(super) fn index_of(&self, frame: &Frame) -> Option<usize> {
        let buffer = frame.buffer();
        let same = |entry: &Entry| {
            Arc::ptr_eq(&entry.buffer, buffer)
                || (entry.buffer.is_dmabuf()
                    && entry.buffer.layout() == buffer.layout()
                    && entry.buffer.identities().eq(buffer.identities()))
        };
        self.entries
            .iter()
            .position(|entry| entry.as_ref().is_some_and(same))
    }
}
