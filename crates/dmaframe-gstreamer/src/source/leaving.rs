//! What happens to a buffer on its way out of the queue, on the pipeline's own thread.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dmaframe_core::report::Hop;
use dmaframe_core::{Clock, Timestamp};
use gst::prelude::*;

use super::straighten::{self, Understood};
use crate::clock::PipelineClock;
use crate::signals::Signals;
use crate::sys;

/// In a PTS: it is a moment of `CLOCK_MONOTONIC`, which has still to become running time. No clock gets that far, and
/// times that anybody else has put there are left alone.
const MOMENT: u64 = 1 << 63;

/// The PTS of a moment of `CLOCK_MONOTONIC`.
pub(super) fn moment(ns: u64) -> gst::ClockTime {
    // All bits set would be no time at all.
    gst::ClockTime::from_nseconds(ns.min(MOMENT - 2) | MOMENT)
}

/// Times, and strides for elements that know none.
#[derive(Debug)]
pub(super) struct Leaving {
    element: gst::glib::WeakRef<gst_app::AppSrc>,
    signals: Arc<Signals>,
    clock: Mutex<Option<PipelineClock>>,
    /// What the next element said to the allocation query; `None` before it was asked.
    understood: Mutex<Option<Understood>>,
    orphaned: AtomicBool,
    pub(super) hop: Arc<Hop>,
    pub(super) early: AtomicU64,
    pub(super) copied: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Leaving {
    pub(super) fn new(appsrc: &gst_app::AppSrc, signals: Arc<Signals>) -> Self {
        Self {
            element: appsrc.downgrade(),
            signals,
            clock: Mutex::new(None),
            understood: Mutex::new(None),
            orphaned: AtomicBool::new(false),
            hop: Hop::new(format!("{}(GStreamer)", appsrc.name())),
            early: AtomicU64::new(0),
            copied: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Whether the next element said that it understands strides and offsets; `None` before it was asked.
    pub(super) fn understands_strides(&self) -> Option<bool> {
        sys::lock(&self.understood).map(|understood| understood.strides)
    }

    /// Watches the pad. The probes keep only what they need themselves, so that they can outlive the source: frames that it
    /// has queued go through them.
    pub(super) fn watch(self: &Arc<Self>, pad: &gst::Pad) {
        let this = Arc::clone(self);
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            match info.event().map(|event| event.type_()) {
                // New caps: asked again.
                Some(gst::EventType::Caps) => *sys::lock(&this.understood) = None,
                Some(gst::EventType::StreamStart) => this.signals.started(),
                _ => {}
            }
            match this.is_over() {
                true => gst::PadProbeReturn::Remove,
                false => gst::PadProbeReturn::Ok,
            }
        });
        let this = Arc::clone(self);
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| this.leave(pad, info));
        let this = Arc::clone(self);
        pad.add_probe(gst::PadProbeType::EVENT_FLUSH, move |_, info| {
            let kind = info.event().map(|event| event.type_());
            this.signals.change(|state| match kind {
                Some(gst::EventType::FlushStart) => state.flushing = true,
                Some(gst::EventType::FlushStop) => {
                    state.flushing = false;
                    state.flushes += 1;
                }
                _ => {}
            });
            if this.orphaned.load(Ordering::Relaxed) {
                return gst::PadProbeReturn::Remove;
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn leave(&self, pad: &gst::Pad, info: &mut gst::PadProbeInfo<'_>) -> gst::PadProbeReturn {
        let Some(buffer) = info.buffer_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        let keep = self.on_time(buffer) && self.is_understood(pad, buffer);
        // There is room in the queue now.
        self.signals.change(|_| {});
        match (keep, self.is_over()) {
            (false, _) => gst::PadProbeReturn::Drop,
            (true, true) => gst::PadProbeReturn::Remove,
            (true, false) => gst::PadProbeReturn::Ok,
        }
    }

    /// Whether the next element will understand the buffer, which may be a copy then.
    fn is_understood(&self, pad: &gst::Pad, buffer: &mut gst::Buffer) -> bool {
        match self.straighten(pad, buffer) {
            Ok(None) => self.hop.zero_copy(),
            Ok(Some(copy)) => {
                self.copied.fetch_add(1, Ordering::Relaxed);
                self.hop.cpu_copy(
                    copy.size() as u64,
                    "the next element understands no strides, offsets or crops",
                );
                *buffer = copy;
            }
            Err(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.hop.dropped(
                    "the next element understands no strides, offsets or crops, and the copy failed",
                );
                return false;
            }
        }
        true
    }

    /// The source is gone: what it has queued still goes on as it should.
    pub(super) fn orphan(&self) {
        self.orphaned.store(true, Ordering::Relaxed);
    }

    /// Whether nothing of a source that is gone is queued any more.
    fn is_over(&self) -> bool {
        let queued = || {
            self.element
                .upgrade()
                .map_or(0, |appsrc| appsrc.current_level_buffers())
        };
        self.orphaned.load(Ordering::Relaxed) && queued() == 0
    }

    /// Turns a marked moment of `CLOCK_MONOTONIC` into running time. `false` for one from before the pipeline began to
    /// play.
    fn on_time(&self, buffer: &mut gst::Buffer) -> bool {
        let Some(at) = buffer.pts().filter(|pts| pts.nseconds() & MOMENT != 0) else {
            return true;
        };
        let Some(element) = self.element.upgrade() else {
            return true;
        };
        let mut clock = sys::lock(&self.clock);
        *clock = PipelineClock::of(element.upcast_ref(), clock.as_ref());
        let at = Timestamp {
            ns: at.nseconds() & !MOMENT,
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

    /// A copy in GStreamer's own layout where the next element will not understand the buffer as it is.
    fn straighten(
        &self,
        pad: &gst::Pad,
        buffer: &gst::Buffer,
    ) -> Result<Option<gst::Buffer>, gst::glib::BoolError> {
        let Some(caps) = pad.current_caps() else {
            return Ok(None);
        };
        let known = *sys::lock(&self.understood);
        let understood = known.unwrap_or_else(|| {
            // Not under the lock: elements answer with code of their own.
            let found = Understood::ask(pad, &caps);
            *sys::lock(&self.understood) = Some(found);
            found
        });
        straighten::straighten(&caps, buffer, understood)
    }
}
