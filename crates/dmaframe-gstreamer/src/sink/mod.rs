//! Frames out of a pipeline.

mod builder;
mod marks;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use dmaframe_core::report::Hop;
use dmaframe_core::{Budget, Deadline, Delivery, Frame, Starvation};
use gst::prelude::*;

pub use builder::{Backpressure, FrameSinkBuilder};
pub use stream::FrameStream;

use crate::clock::PipelineClock;
use crate::error::Error;
use crate::fences;
use crate::import::{Context, How, Importer, running};
use crate::signals::{Signals, Watch};
use crate::sys;
use marks::{Marks, Said};

/// What came out of the pipeline.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Received {
    /// A picture.
    Frame(Frame),
    /// The stream has ended; nothing more comes until the pipeline is sought or started again.
    EndOfStream,
    /// The stream was flushed (a seek): what comes next does not follow what came before.
    Flushed,
    /// Nothing before the deadline.
    TimedOut,
}

impl Received {
    /// The frame, if it is one.
    #[must_use]
    pub fn into_frame(self) -> Option<Frame> {
        match self {
            Self::Frame(frame) => Some(frame),
            _ => None,
        }
    }
}

/// What a sink has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkStats {
    /// Frames given out, copies included.
    pub delivered: u64,
    /// Of those, copies made because consumers held too many buffers.
    pub detached: u64,
    /// Pictures dropped because of that, or because they could not be copied then.
    pub dropped: u64,
    /// Allocation queries answered with a pool of dma-bufs.
    pub pools_offered: u64,
}

/// The end of a pipeline (an `appsink`) that gives frames.
///
/// Put [`FrameSink::element`] into a pipeline, link it, set the pipeline to PLAYING, and take frames with
/// [`FrameSink::next`] or as a stream. Frames are the upstream element's own memory; a frame holds its buffer until the
/// last clone drops, on whichever thread.
///
/// **Holding frames does not stop the pipeline.** Upstream is asked for as many buffers more as consumers may hold
/// ([`FrameSinkBuilder::hold`]); when they hold that many, or nearly all that upstream's pool has, they get copies or
/// nothing, as [`FrameSinkBuilder::starvation`] says.
#[derive(Debug)]
pub struct FrameSink {
    appsink: gst_app::AppSink,
    signals: Arc<Signals>,
    watch: Arc<Watch>,
    importer: Importer,
    hold: usize,
    starvation: Starvation,
    marks: Arc<Marks>,
    /// What the last mark said: it is true of the next picture in the queue.
    said: Said,
    /// Flushes told.
    flushes: u64,
    clock: Option<PipelineClock>,
    /// A buffer's pool and its size, looked up once.
    pool: Option<(gst::BufferPool, usize)>,
    stats: SinkStats,
    offered: Arc<std::sync::atomic::AtomicU64>,
    probes: Vec<(gst::Pad, gst::PadProbeId)>,
}

impl FrameSink {
    /// A sink to be set up.
    pub fn builder() -> FrameSinkBuilder {
        FrameSinkBuilder::default()
    }

    /// The element to put into a pipeline.
    #[must_use]
    pub fn element(&self) -> &gst::Element {
        self.appsink.upcast_ref()
    }

    /// Listens on the bus of the pipeline that the element is in. Linking the element and [`FrameSink::next`] do the same,
    /// and what fails before that goes unheard: call this before the pipeline is started if the element is linked later,
    /// when a decoder has found its streams.
    pub fn listen(&self) {
        self.watch.listen();
    }

    /// The next frame, waiting for it until `deadline`. Blocks no longer than that, and wakes at once when the pipeline
    /// fails, ends, is flushed or is stopped.
    ///
    /// # Errors
    /// [`Error::Pipeline`] when an element has failed; [`Error::NotRunning`] when the sink was stopped; those of
    /// [`Importer::frame`] for one buffer, after which the next call goes on with the next.
    pub fn next(&mut self, deadline: impl Into<Deadline>) -> Result<Received, Error> {
        let deadline = deadline.into();
        self.watch.listen();
        loop {
            let ticket = self.signals.ticket();
            if let Some(received) = self.poll_now(deadline)? {
                return Ok(received);
            }
            // Upstream may wait for buffers that nobody else looks after.
            let nap = fences::tend();
            let left = deadline.remaining();
            let woken = self
                .signals
                .wait(ticket, Deadline::after(left.map_or(nap, |left| left.min(nap))));
            if !woken && left.is_some_and(|left| left <= nap) {
                return Ok(Received::TimedOut);
            }
        }
    }

    /// What is there now; `None` when there is nothing and it is worth waiting.
    fn poll_now(&mut self, deadline: Deadline) -> Result<Option<Received>, Error> {
        self.poll_with(deadline, |appsink| appsink.try_pull_object(gst::ClockTime::ZERO))
    }

    /// As [`FrameSink::poll_now`], with the way of taking from the queue.
    fn poll_with(
        &mut self,
        deadline: Deadline,
        mut pull: impl FnMut(&gst_app::AppSink) -> Option<gst::MiniObject>,
    ) -> Result<Option<Received>, Error> {
        loop {
            // Before looking for a picture: what was said before the queue was found empty came after all pictures.
            let stopped = self.watch.is_stopped();
            let (flushes, failure, eos) = self
                .signals
                .with(|state| (state.flushes, state.failure.is_some(), state.eos));
            if flushes != self.flushes {
                self.flushes = flushes;
                return Ok(Some(Received::Flushed));
            }
            let Some(object) = pull(&self.appsink) else {
                // An element that fails says so before it ends the stream.
                if failure && let Some(failure) = self.signals.failure() {
                    return Err(failure);
                }
                if eos {
                    return Ok(Some(Received::EndOfStream));
                }
                if stopped {
                    return Err(Error::NotRunning {
                        element: self.appsink.name().to_string(),
                        state: "stopped",
                    });
                }
                return Ok(None);
            };
            let sample = match object.downcast::<gst::Sample>() {
                Ok(sample) => sample,
                Err(object) => {
                    // A mark comes right before its picture, so that a flush before both is told before the picture is
                    // even taken, if it came only after the look above.
                    let event = object.downcast_ref::<gst::Event>();
                    if let Some(said) = event.and_then(|event| self.marks.read(event)) {
                        self.said = said;
                    }
                    continue;
                }
            };
            // The flush was told when it had not emptied the queue yet.
            if self.said.flushes != self.flushes {
                continue;
            }
            if let Some(frame) = self.deliver(&sample, deadline)? {
                return Ok(Some(Received::Frame(frame)));
            }
        }
    }

    fn deliver(&mut self, sample: &gst::Sample, deadline: Deadline) -> Result<Option<Frame>, Error> {
        let buffer = sample
            .buffer_owned()
            .ok_or(Error::Incomplete { what: "buffer" })?;
        let caps = sample.caps().ok_or(Error::Incomplete { what: "caps" })?;
        self.clock = PipelineClock::of(self.element(), self.clock.as_ref());
        let context = Context {
            running: running(sample),
            clock: self.clock.clone(),
            orientation: self.said.orientation,
        };
        let delivery = self.decide(&buffer);
        if delivery == Delivery::Drop {
            self.stats.dropped += 1;
            self.importer
                .hop
                .dropped("consumers hold as many buffers as upstream can spare");
            return Ok(None);
        }
        let (frame, how) = self.importer.import(buffer, caps, &context)?;
        // What had to be copied already is nobody's buffer.
        if delivery == Delivery::Share || how == How::Copied {
            self.stats.delivered += 1;
            self.importer.count(&frame, how);
            return Ok(Some(frame));
        }
        let copy = match frame.detach(deadline) {
            Ok(copy) => copy,
            Err(error) => {
                self.stats.dropped += 1;
                self.importer.hop.dropped(
                    "consumers hold as many buffers as upstream can spare, and the picture cannot be copied",
                );
                return Err(error.into());
            }
        };
        self.stats.delivered += 1;
        self.stats.detached += 1;
        let bytes = frame.layout().tight_len();
        self.importer
            .hop
            .cpu_copy(bytes, "consumers hold as many buffers as upstream can spare");
        Ok(Some(copy))
    }

    fn decide(&mut self, buffer: &gst::BufferRef) -> Delivery {
        let outstanding = self.importer.outstanding();
        let slots = self.pool_size(buffer);
        let (min_free, policy) = (2, self.starvation);
        let own = Budget { min_free: 0, policy }.decide(self.hold, outstanding);
        if slots == 0 || own != Delivery::Share {
            return own;
        }
        Budget { min_free, policy }.decide(slots, outstanding)
    }

    /// How many buffers upstream's pool has; 0 for one that grows as needed, or none.
    fn pool_size(&mut self, buffer: &gst::BufferRef) -> usize {
        let Some(pool) = sys::pool(buffer) else { return 0 };
        match &self.pool {
            Some((known, size)) if *known == pool => *size,
            _ => {
                let most = pool.config().params().map_or(0, |(_, _, _, most)| most);
                let size = usize::try_from(most).unwrap_or(0);
                self.pool = Some((pool, size));
                size
            }
        }
    }

    /// The frames as an asynchronous stream. It ends with the end of the pipeline's stream, and after an error.
    #[must_use]
    pub fn stream(&mut self) -> FrameStream<'_> {
        FrameStream::new(self)
    }

    /// Counters since the sink was built.
    #[must_use]
    pub fn stats(&self) -> SinkStats {
        SinkStats {
            pools_offered: self.offered.load(std::sync::atomic::Ordering::Relaxed),
            ..self.stats
        }
    }

    /// How many of upstream's buffers consumers hold now.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.importer.outstanding()
    }

    /// The hop from the pipeline to the consumer, for a [`PathReport`](dmaframe_core::report::PathReport).
    #[must_use]
    pub fn hop(&self) -> &Arc<Hop> {
        self.importer.hop()
    }

    /// Whether the pipeline is live, and the least and most latency it needs, in running time. `None` before it is
    /// PAUSED.
    #[must_use]
    pub fn latency(&self) -> Option<(bool, gst::ClockTime, Option<gst::ClockTime>)> {
        let mut query = gst::query::Latency::new();
        self.appsink
            .static_pad("sink")?
            .peer_query(&mut query)
            .then(|| query.result())
    }
}

impl Drop for FrameSink {
    /// The element stays in its pipeline, and nobody takes what comes: it drops it.
    fn drop(&mut self) {
        for (pad, probe) in self.probes.drain(..) {
            pad.remove_probe(probe);
        }
        self.appsink
            .set_callbacks(gst_app::AppSinkCallbacks::builder().build());
        self.appsink.set_drop(true);
        self.appsink.set_max_buffers(1);
        self.appsink.set_wait_on_eos(false);
    }
}
