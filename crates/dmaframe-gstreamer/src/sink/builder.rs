//! Choices before frames come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Modifier, Starvation};
use gst::prelude::*;

use super::marks::Marks;
use super::{FrameSink, SinkStats};
use crate::caps;
use crate::describe;
use crate::error::Error;
use crate::import::Importer;
use crate::pool;
use crate::signals::{Signals, Watch};

/// What happens to pictures that nobody takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backpressure {
    /// The pipeline waits (a file, a decoder): nothing is lost.
    Block,
    /// The oldest is dropped (a camera): what is taken is fresh.
    DropOldest,
}

/// How frames are to come; made by [`FrameSink::builder`].
#[derive(Debug)]
#[must_use = "there is no element before `build`"]
pub struct FrameSinkBuilder {
    name: Option<String>,
    formats: Option<FormatSet>,
    caps: Option<gst::Caps>,
    queue: u32,
    backpressure: Backpressure,
    hold: usize,
    starvation: Starvation,
    sync: bool,
    pool: bool,
    implicit: bool,
    unnamed: Option<Modifier>,
}

impl Default for FrameSinkBuilder {
    fn default() -> Self {
        Self {
            name: None,
            formats: None,
            caps: None,
            queue: 2,
            backpressure: Backpressure::DropOldest,
            hold: 4,
            starvation: Starvation::Detach,
            sync: false,
            pool: true,
            implicit: true,
            unnamed: None,
        }
    }
}

impl FrameSinkBuilder {
    /// The element's name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What the consumer takes, best liked first. Without it: every format GStreamer and the core both know, LINEAR.
    pub fn formats(mut self, formats: FormatSet) -> Self {
        self.formats = Some(formats);
        self
    }

    /// Exactly these caps, instead of [`FrameSinkBuilder::formats`].
    pub fn caps(mut self, caps: gst::Caps) -> Self {
        self.caps = Some(caps);
        self
    }

    /// How many pictures wait to be taken (2), and what happens to more (the oldest is dropped).
    pub fn queue(mut self, frames: u32, backpressure: Backpressure) -> Self {
        self.queue = frames.max(1);
        self.backpressure = backpressure;
        self
    }

    /// How many of upstream's buffers consumers may hold at once (4). Upstream is asked to have that many more.
    pub fn hold(mut self, buffers: usize) -> Self {
        self.hold = buffers.max(1);
        self
    }

    /// What consumers get who hold as many as they may, or all but two of upstream's pool: copies, unless said otherwise.
    pub fn starvation(mut self, policy: Starvation) -> Self {
        self.starvation = policy;
        self
    }

    /// Whether frames come at the time they are to be shown. Off: they come as soon as they are there, which is what
    /// everybody but a display wants.
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Whether upstream is offered a pool of dma-bufs for what would be system memory. It is, unless switched off.
    pub fn offer_pool(mut self, offer: bool) -> Self {
        self.pool = offer;
        self
    }

    /// As [`Importer::implicit_fences`].
    pub fn implicit_fences(mut self, look: bool) -> Self {
        self.implicit = look;
        self
    }

    /// As [`Importer::unnamed_modifier`].
    pub fn unnamed_modifier(mut self, modifier: Modifier) -> Self {
        self.unnamed = Some(modifier);
        self
    }

    /// Makes the element. Initialises GStreamer if nobody has.
    ///
    /// # Errors
    /// [`Error::Init`], [`Error::NoElement`].
    pub fn build(self) -> Result<FrameSink, Error> {
        gst::init().map_err(|error| Error::Init {
            reason: error.to_string(),
        })?;
        let element = gst::ElementFactory::make("appsink")
            .build()
            .map_err(|error| Error::NoElement {
                name: "appsink",
                reason: error.to_string(),
            })?;
        let appsink = element
            .downcast::<gst_app::AppSink>()
            .map_err(|_| Error::NoElement {
                name: "appsink",
                reason: "it is something else".to_owned(),
            })?;
        if let Some(name) = &self.name {
            appsink.set_property("name", name);
        }
        let caps = self.caps.clone().unwrap_or_else(|| {
            let formats = self.formats.clone().unwrap_or_else(everything);
            caps::from_formats(&formats)
        });
        appsink.set_caps(Some(&caps));
        self.wrap(appsink)
    }

    /// Takes an `appsink` that is there already, in a pipeline made from a description. Its callbacks and properties
    /// become this sink's; its caps stay.
    ///
    /// # Errors
    /// [`Error::NoElement`] for an element without a sink pad.
    pub fn wrap(self, appsink: gst_app::AppSink) -> Result<FrameSink, Error> {
        appsink.set_max_buffers(self.queue);
        appsink.set_drop(self.backpressure == Backpressure::DropOldest);
        appsink.set_sync(self.sync);
        // Or the last picture would never come back.
        appsink.set_enable_last_sample(false);
        appsink.set_buffer_list(false);
        let (signals, marks) = (Arc::new(Signals::default()), Arc::new(Marks::new()));
        let (sample, preroll, event, eos) =
            (signals.clone(), signals.clone(), signals.clone(), signals.clone());
        let marked = Arc::clone(&marks);
        let callbacks = gst_app::AppSinkCallbacks::builder()
            .new_sample(move |_| {
                sample.change(|_| {});
                Ok(gst::FlowSuccess::Ok)
            })
            .new_preroll(move |_| {
                preroll.change(|_| {});
                Ok(gst::FlowSuccess::Ok)
            })
            .new_event(move |_| {
                if !marked.is_marking() {
                    event.change(|_| {});
                }
                false
            })
            .eos(move |_| eos.change(|state| state.eos = true));
        appsink.set_callbacks(callbacks.build());

        let pad = appsink.static_pad("sink").ok_or(Error::NoElement {
            name: "appsink",
            reason: "it has no sink pad".to_owned(),
        })?;
        let mut probes = Vec::new();
        let (told, marked) = (Arc::clone(&signals), Arc::clone(&marks));
        let kinds = gst::PadProbeType::EVENT_FLUSH
            | gst::PadProbeType::EVENT_DOWNSTREAM
            | gst::PadProbeType::BUFFER
            | gst::PadProbeType::BUFFER_LIST;
        let probe = pad.add_probe(kinds, move |pad, info| {
            match &info.data {
                Some(gst::PadProbeData::Event(event)) => {
                    follow(&told, event);
                    marked.follow(pad, event);
                }
                Some(gst::PadProbeData::Buffer(_)) => marked.mark(pad),
                // The queue would take them apart too; each needs its mark.
                Some(gst::PadProbeData::BufferList(list)) => {
                    let mut pictures = list.iter_owned();
                    info.flow_res = pictures.try_fold(gst::FlowSuccess::Ok, |_, picture| pad.chain(picture));
                    return gst::PadProbeReturn::Handled;
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
        probes.extend(probe.map(|probe| (pad.clone(), probe)));

        let offered = Arc::new(AtomicU64::new(0));
        let (count, offer) = (Arc::clone(&offered), self.pool);
        // Beside the queue's and the one being delivered.
        let wanted = u32::try_from(self.hold)
            .unwrap_or(u32::MAX)
            .saturating_add(self.queue)
            .saturating_add(1);
        let kinds = gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PUSH;
        let probe = pad.add_probe(kinds, move |_, info| {
            let Some(query) = info.query_mut() else {
                return gst::PadProbeReturn::Ok;
            };
            let gst::QueryViewMut::Allocation(query) = query.view_mut() else {
                return gst::PadProbeReturn::Ok;
            };
            if answer(query, wanted, offer) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            // The appsink has no answer of its own before 1.24.
            gst::PadProbeReturn::Handled
        });
        probes.extend(probe.map(|probe| (pad.clone(), probe)));

        let mut importer = Importer::new().implicit_fences(self.implicit);
        if let Some(unnamed) = self.unnamed {
            importer = importer.unnamed_modifier(unnamed);
        }
        importer.hop = dmaframe_core::report::Hop::new(format!("{}(GStreamer)", appsink.name()));
        let watch = Watch::new(appsink.upcast_ref(), &pad, &signals);
        let said = marks.begin(&pad);
        Ok(FrameSink {
            appsink,
            signals,
            watch,
            importer,
            hold: self.hold,
            starvation: self.starvation,
            marks,
            said,
            flushes: 0,
            clock: None,
            pool: None,
            stats: SinkStats::default(),
            offered,
            probes,
        })
    }
}

/// An event on its way into the queue.
fn follow(signals: &Signals, event: &gst::EventRef) {
    match event.type_() {
        gst::EventType::StreamStart => signals.started(),
        gst::EventType::FlushStart => signals.change(|state| state.flushing = true),
        gst::EventType::FlushStop => signals.change(|state| {
            (state.flushing, state.eos) = (false, false);
            state.flushes += 1;
        }),
        _ => {}
    }
}

/// Says that strides, offsets and crops are understood, how many buffers are wanted, and where they can come from. `true`
/// when a pool was offered.
fn answer(query: &mut gst::query::Allocation, wanted: u32, offer: bool) -> bool {
    query.add_allocation_meta::<gst_video::VideoMeta>(None);
    query.add_allocation_meta::<gst_video::VideoCropMeta>(None);
    let (caps, need_pool) = query.get_owned();
    let pool = caps
        .as_ref()
        .filter(|_| offer && need_pool)
        .and_then(|caps| pool::offer(caps, wanted));
    match &pool {
        Some((pool, size)) => query.add_allocation_pool(Some(pool), *size, wanted, 0),
        // Without a size no entry: elements make a pool of their own for buffers of the size they find.
        None => {
            if let Some(size) = caps.and_then(|caps| buffer_size(&caps)) {
                query.add_allocation_pool(gst::BufferPool::NONE, size, wanted, 0);
            }
        }
    }
    pool.is_some()
}

/// The bytes of a buffer in GStreamer's own layout. For tiled pictures it is the least there can be: who makes those
/// knows the size better.
fn buffer_size(caps: &gst::CapsRef) -> Option<u32> {
    let size = match gst_video::VideoInfo::from_caps(caps) {
        Ok(info) if info.size() > 0 => info.size() as u64,
        _ => {
            let picture = caps::picture(caps, caps::unnamed()).ok()?;
            describe::default_planes(picture.fourcc, picture.size).ok()?.size
        }
    };
    u32::try_from(size).ok().filter(|size| *size > 0)
}

/// Every format both sides know. Caps of old style count as LINEAR.
fn everything() -> FormatSet {
    let mut set = FormatSet::new("frame sink");
    for (_, fourcc) in describe::formats() {
        set.insert(fourcc, Modifier::LINEAR);
    }
    set
}
