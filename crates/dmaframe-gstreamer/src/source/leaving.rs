//! What happens to a buffer on its way out of the queue, on the pipeline's own thread.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use dmaframe_core::report::Hop;
use dmaframe_core::{Clock, Timestamp};
use gst::prelude::*;

use super::builder::Timing;
use crate::clock::PipelineClock;
use crate::signals::Signals;
use crate::sys;

const UNKNOWN: u8 = 0;
const STRIDES: u8 = 1;
const NO_STRIDES: u8 = 2;

/// Times, and strides for elements that know none.
#[derive(Debug)]
pub(super) struct Leaving {
    element: gst::glib::WeakRef<gst_app::AppSrc>,
    timing: Timing,
    signals: Arc<Signals>,
    clock: Mutex<Option<PipelineClock>>,
    /// What the next element said to the allocation query.
    strides: AtomicU8,
    pub(super) hop: Arc<Hop>,
    pub(super) early: AtomicU64,
    pub(super) copied: AtomicU64,
}

impl Leaving {
    pub(super) fn new(appsrc: &gst_app::AppSrc, timing: Timing, signals: Arc<Signals>) -> Self {
        Self {
            element: appsrc.downgrade(),
            timing,
            signals,
            clock: Mutex::new(None),
            strides: AtomicU8::new(UNKNOWN),
            hop: Hop::new(format!("{}(GStreamer)", appsrc.name())),
            early: AtomicU64::new(0),
            copied: AtomicU64::new(0),
        }
    }

    /// Whether the next element said that it understands strides and offsets; `None` before it was asked.
    pub(super) fn understands_strides(&self) -> Option<bool> {
        match self.strides.load(Ordering::Relaxed) {
            STRIDES => Some(true),
            NO_STRIDES => Some(false),
            _ => None,
        }
    }

    pub(super) fn watch(self: &Arc<Self>, pad: &gst::Pad) -> Vec<(gst::Pad, gst::PadProbeId)> {
        let mut probes = Vec::new();
        let mut add = |probe: Option<gst::PadProbeId>| probes.extend(probe.map(|probe| (pad.clone(), probe)));
        let this = Arc::clone(self);
        // New caps: asked again.
        add(
            pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                match info.event().map(|event| event.type_()) {
                    Some(gst::EventType::Caps) => this.strides.store(UNKNOWN, Ordering::Relaxed),
                    Some(gst::EventType::StreamStart) => this.signals.started(),
                    _ => {}
                }
                gst::PadProbeReturn::Ok
            }),
        );
        let this = Arc::clone(self);
        add(pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| this.leave(pad, info)));
        let this = Arc::clone(self);
        add(pad.add_probe(gst::PadProbeType::EVENT_FLUSH, move |_, info| {
            let kind = info.event().map(|event| event.type_());
            this.signals.change(|state| match kind {
                Some(gst::EventType::FlushStart) => state.flushing = true,
                Some(gst::EventType::FlushStop) => {
                    state.flushing = false;
                    state.flushes += 1;
                }
                _ => {}
            });
            gst::PadProbeReturn::Ok
        }));
        probes
    }

    fn leave(&self, pad: &gst::Pad, info: &mut gst::PadProbeInfo<'_>) -> gst::PadProbeReturn {
        let Some(buffer) = info.buffer_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        let keep = self.timing != Timing::Clock || self.on_time(buffer);
        if keep {
            match self.straighten(pad, buffer) {
                Ok(None) => self.hop.zero_copy(),
                Ok(Some(copy)) => {
                    self.copied.fetch_add(1, Ordering::Relaxed);
                    self.hop.cpu_copy(
                        copy.size() as u64,
                        "the next element understands no strides and offsets",
                    );
                    *buffer = copy;
                }
                Err(()) => self
                    .hop
                    .dropped("the next element understands no strides, and the copy failed"),
            }
        }
        // There is room in the queue now.
        self.signals.change(|_| {});
        if keep {
            gst::PadProbeReturn::Ok
        } else {
            gst::PadProbeReturn::Drop
        }
    }

    /// Turns a moment of `CLOCK_MONOTONIC` into running time. `false` for one from before the pipeline began to play.
    fn on_time(&self, buffer: &mut gst::Buffer) -> bool {
        let (Some(at), Some(element)) = (buffer.pts(), self.element.upgrade()) else {
            return true;
        };
        let mut clock = sys::lock(&self.clock);
        *clock = PipelineClock::of(element.upcast_ref(), clock.as_ref());
        let at = Timestamp {
            ns: at.nseconds(),
            clock: Clock::Monotonic,
        };
        let running = clock.as_ref().and_then(|clock| clock.running_time(at));
        drop(clock);
        let pts = match running.map(u64::try_from) {
            Some(Ok(running)) => Some(gst::ClockTime::from_nseconds(running)),
            Some(Err(_)) => {
                self.early.fetch_add(1, Ordering::Relaxed);
                self.hop.dropped("captured before the pipeline began to play");
                return false;
            }
            // Not playing yet, so this is what the pipeline starts with.
            None => Some(gst::ClockTime::ZERO),
        };
        buffer.make_mut().set_pts(pts);
        true
    }

    /// Asks the next element whether it looks at strides; one that does not answer does not.
    ///
    /// `appsrc` asks before it knows the caps and never again, so this is ours to do: on the thread that pushes the
    /// buffers, as elements expect it of such a question.
    fn ask(&self, pad: &gst::Pad, caps: &gst::Caps) -> bool {
        let mut query = gst::query::Allocation::new(Some(caps), false);
        let answered = pad.peer_query(&mut query);
        let found = answered && query.find_allocation_meta::<gst_video::VideoMeta>().is_some();
        self.strides
            .store(if found { STRIDES } else { NO_STRIDES }, Ordering::Relaxed);
        found
    }

    /// A copy in GStreamer's own layout for an element that knows no other; `None` where the buffer is that already, or
    /// will be understood.
    fn straighten(&self, pad: &gst::Pad, buffer: &gst::Buffer) -> Result<Option<gst::Buffer>, ()> {
        let strides = self.strides.load(Ordering::Relaxed);
        if strides == STRIDES {
            return Ok(None);
        }
        let Some(caps) = pad.current_caps() else {
            return Ok(None);
        };
        if strides == UNKNOWN && self.ask(pad, &caps) {
            return Ok(None);
        }
        // Whoever takes dma-bufs has to look at their layout.
        let dmabuf = caps
            .features(0)
            .is_some_and(|features| features.contains("memory:DMABuf"));
        let Some(info) = gst_video::VideoInfo::from_caps(&caps).ok().filter(|_| !dmabuf) else {
            return Ok(None);
        };
        let Some(meta) = buffer.meta::<gst_video::VideoMeta>() else {
            return Ok(None);
        };
        // With several memories too, the offsets tell.
        if meta.offset() == info.offset() && meta.stride() == info.stride() {
            return Ok(None);
        }
        let from = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(drop)?;
        let mut new = gst::Buffer::with_size(info.size()).map_err(drop)?;
        {
            let new = new.get_mut().ok_or(())?;
            let _ = buffer.copy_into(
                new,
                gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS,
                ..,
            );
            let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(new, &info).map_err(drop)?;
            from.copy(&mut to).map_err(drop)?;
        }
        Ok(Some(new))
    }
}
