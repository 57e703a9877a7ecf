//! Which caps frames get: the most telling the next element takes.

use dmaframe_core::negotiate::{FormatSet, Pair, negotiate};
use dmaframe_core::{ColorInfo, Frame, Orientation, Size};
use gst::prelude::*;

use crate::caps::{self, Style};
use crate::error::Error;
use crate::signals::State;

/// What the frames of a stream have in common.
#[derive(Debug, Default)]
pub(super) struct Stream {
    key: Option<Key>,
    pub(super) caps: Option<gst::Caps>,
    /// How frames are to be turned, as the last one that had another orientation or whoever set it said.
    pub(super) orientation: Orientation,
    /// The last frame's own.
    own: Orientation,
    /// The last one said.
    said: Orientation,
    /// What was said last may have been thrown away on its way.
    unsure: bool,
    stops: u64,
    flushes: u64,
    pub(super) pushed: u64,
    pub(super) dropped: u64,
    /// Timestamp of the first frame since the start, for times that count from it.
    pub(super) first: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    pair: Pair,
    shown: Size,
    color: ColorInfo,
    dmabuf: bool,
}

impl Key {
    fn of(frame: &Frame) -> Self {
        let layout = frame.layout();
        Self {
            pair: Pair {
                fourcc: layout.fourcc(),
                modifier: layout.modifier(),
            },
            shown: caps::shown(layout, frame.meta()),
            color: frame.meta().color,
            dmabuf: frame.as_dmabuf().is_some(),
        }
    }
}

impl Key {
    /// What a frame of another kind has that is different, in a word.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let (this, that) = (self, other);
        [
            (this.pair.fourcc != that.pair.fourcc, "format"),
            (this.pair.modifier != that.pair.modifier, "modifier"),
            (this.shown != that.shown, "size to be shown"),
            (this.color != that.color, "colour"),
            (this.dmabuf != that.dmabuf, "kind of memory"),
        ]
        .into_iter()
        .find_map(|(differs, what)| differs.then_some(what))
    }
}

impl Stream {
    /// What has happened to the stream since the last frame: what was said before may have to be said again.
    pub(super) fn follow(&mut self, state: &State) {
        // A flush empties the queue, tags and all, some time between its two events.
        if self.flushes != state.flushes || state.flushing {
            self.flushes = state.flushes;
            self.unsure = true;
        }
        // The next stream has no tags, and times of its own.
        if self.stops != state.stops {
            self.stops = state.stops;
            (self.said, self.unsure, self.first) = (Orientation::IDENTITY, false, None);
        }
    }

    /// The orientation to be said before a frame.
    pub(super) fn turn(&mut self, frame: &Frame) -> Option<Orientation> {
        let own = frame.meta().orientation;
        if std::mem::replace(&mut self.own, own) != own {
            self.orientation = own;
        }
        if !std::mem::take(&mut self.unsure) && self.said == self.orientation {
            return None;
        }
        self.said = self.orientation;
        Some(self.said)
    }

    /// What would make the frame's caps others than the last one's.
    pub(super) fn change(
        &self,
        appsrc: &gst_app::AppSrc,
        frame: &Frame,
        framerate: (i32, i32),
    ) -> Option<&'static str> {
        let what = self.key?.difference(&Key::of(frame))?;
        // A copy in other memory, say, has the same caps where no dma-bufs were asked for.
        match choose(appsrc, frame, framerate) {
            Ok(caps) if Some(&caps) == self.caps.as_ref() => None,
            _ => Some(what),
        }
    }

    /// The caps for a frame, if they are others than the last one's.
    pub(super) fn renegotiate(
        &mut self,
        appsrc: &gst_app::AppSrc,
        frame: &Frame,
        framerate: (i32, i32),
    ) -> Result<Option<gst::Caps>, Error> {
        let key = Key::of(frame);
        if self.key == Some(key) {
            return Ok(None);
        }
        let caps = choose(appsrc, frame, framerate)?;
        self.key = Some(key);
        self.caps = Some(caps.clone());
        Ok(Some(caps))
    }
}

/// What the element behind `appsrc` takes. Asked of its caps, which no element has to stop for.
pub(super) fn downstream(appsrc: &gst_app::AppSrc, any: &FormatSet) -> FormatSet {
    let pad = appsrc.static_pad("src");
    let peer = pad.as_ref().and_then(|pad| pad.peer());
    let name = peer.as_ref().and_then(|peer| peer.parent_element()).map_or_else(
        || "nothing (the source is not linked)".to_owned(),
        |element| element.name().to_string(),
    );
    match peer {
        Some(peer) => caps::to_formats(&name, &peer.query_caps(None), any),
        None => caps::to_formats(&name, &gst::Caps::new_any(), any),
    }
}

fn choose(appsrc: &gst_app::AppSrc, frame: &Frame, framerate: (i32, i32)) -> Result<gst::Caps, Error> {
    let pair = Key::of(frame).pair;
    let peer = appsrc.static_pad("src").and_then(|pad| pad.peer());
    let takes = peer.map_or_else(gst::Caps::new_any, |peer| peer.query_caps(None));
    let mut refused = None;
    for style in Style::ALL {
        if style != Style::Plain && frame.as_dmabuf().is_none() {
            continue;
        }
        match caps::from_layout(frame.layout(), frame.meta(), framerate, style) {
            Ok(caps) if style == Style::Plain || !takes.is_any() => {
                if caps.can_intersect(&takes) {
                    return Ok(caps);
                }
            }
            // Whoever takes anything (a sink that looks at nothing, an element not linked yet) most likely means memory
            // that can be mapped.
            Ok(_) if pair.modifier.is_linear() => {}
            Ok(caps) => return Ok(caps),
            Err(error) => refused = Some(error),
        }
    }
    let ours = FormatSet::new(appsrc.name().as_str()).with(pair.fourcc, pair.modifier);
    let theirs = downstream(appsrc, &FormatSet::new("any"));
    match negotiate(&ours, &theirs) {
        Err(why) => Err(Error::Negotiation(why)),
        // The format is shared, so it is something else: size, frame rate, colour.
        Ok(_) => Err(refused.unwrap_or(Error::Incomplete {
            what: "size, frame rate or colour that the next element takes",
        })),
    }
}
