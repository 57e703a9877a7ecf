//! What is true of a picture and stands beside it in the stream, told in the sink's own queue.
//!
//! An appsink that drops its oldest picture drops the events in front of it too, and remembers of them caps and segment
//! alone. So orientation and flushes are followed in front of the queue, and from the first on that there is to tell a mark
//! goes into it right before each picture: who is dropped takes no other's mark along. It is one event, made anew only
//! when it says something else.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use dmaframe_core::Orientation;
use gst::prelude::*;

use crate::{sys, tags};

const NAME: &str = "dmaframe-mark";

/// What a mark says of the picture behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) orientation: Orientation,
    /// Flushes before it.
    pub(super) flushes: u64,
}

/// In front of one sink's queue.
#[derive(Debug)]
pub(super) struct Marks {
    /// Whose marks they are: an element may have another sink's in its queue, who had it before.
    owner: u64,
    state: Mutex<State>,
    marking: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    now: Said,
    /// `None` while there was nothing to tell.
    mark: Option<gst::Event>,
}

impl Marks {
    pub(super) fn new() -> Self {
        Self {
            owner: dmaframe_core::next_generation(),
            state: Mutex::default(),
            marking: AtomicBool::new(false),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Said)) {
        let state = &mut *sys::lock(&self.state);
        let mut said = state.now;
        change(&mut said);
        if said == state.now {
            return;
        }
        let index = Orientation::all()
            .iter()
            .position(|known| *known == said.orientation);
        let structure = gst::Structure::builder(NAME)
            .field("owner", self.owner)
            .field(
                "orientation",
                index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0),
            )
            .field("flushes", said.flushes)
            .build();
        state.now = said;
        state.mark = Some(gst::event::CustomDownstream::new(structure));
    }

    /// What was said before anybody listened, on a pad that others have used. Comes after the probe, and takes nothing back.
    pub(super) fn begin(&self, pad: &gst::Pad) -> Said {
        let mut before = None;
        pad.sticky_events_foreach(|event| {
            if let gst::EventView::Tag(tag) = event.view() {
                before = tags::orientation(tag.tag()).or(before);
            }
            ControlFlow::Continue(gst::EventForeachAction::Keep)
        });
        let untold = sys::lock(&self.state).mark.is_none();
        if let Some(orientation) = before.filter(|_| untold) {
            self.change(|said| said.orientation = orientation);
        }
        sys::lock(&self.state).now
    }

    /// An event on its way into the queue.
    pub(super) fn follow(&self, pad: &gst::Pad, event: &gst::EventRef) {
        match event.view() {
            // Tags are a stream's, and end with it: when another begins, or the pad has forgotten this one (a stop).
            gst::EventView::StreamStart(start) => {
                let last = pad.sticky_event::<gst::event::StreamStart>(0);
                if last.is_none_or(|last| last.stream_id() != start.stream_id()) {
                    self.change(|said| said.orientation = Orientation::IDENTITY);
                }
            }
            gst::EventView::Tag(tag) => {
                if let Some(orientation) = tags::orientation(tag.tag()) {
                    self.change(|said| said.orientation = orientation);
                }
            }
            gst::EventView::FlushStop(_) => self.change(|said| said.flushes += 1),
            _ => {}
        }
    }

    /// A picture on its way into the queue: its mark goes ahead. No lock is held, since the event comes by the probes too;
    /// the stream's own lock keeps everything else from getting between.
    pub(super) fn mark(&self, pad: &gst::Pad) {
        let mark = sys::lock(&self.state).mark.clone();
        if let Some(mark) = mark {
            self.marking.store(true, Ordering::Relaxed);
            pad.send_event(mark);
            self.marking.store(false, Ordering::Relaxed);
        }
    }

    /// Whether what comes into the queue is a mark, asked on the pipeline's own thread: nobody has to wake for it.
    pub(super) fn is_marking(&self) -> bool {
        self.marking.load(Ordering::Relaxed)
    }

    /// What an event out of the queue says, if it is a mark.
    pub(super) fn read(&self, event: &gst::EventRef) -> Option<Said> {
        if event.type_() != gst::EventType::CustomDownstream {
            return None;
        }
        let structure = event.structure().filter(|structure| structure.has_name(NAME))?;
        if structure.get::<u64>("owner").ok()? != self.owner {
            return None;
        }
        let index = structure.get::<u32>("orientation").ok()?;
        Some(Said {
            orientation: *Orientation::all().get(usize::try_from(index).ok()?)?,
            flushes: structure.get("flushes").ok()?,
        })
    }
}
