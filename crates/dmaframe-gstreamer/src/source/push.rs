//! One frame into the queue.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use gst::prelude::*;

use dmaframe_core::{Clock, Deadline, Frame, Rejected, Waited};

use super::FrameSrc;
use super::builder::{Pacing, Timing};
use super::caps_choice::Stream;
use super::leaving::moment;
use crate::error::Error;
use crate::{later, sys, tags};

impl FrameSrc {
    /// `None` when the frame was taken (or dropped by policy), the frame when there is no room.
    pub(super) fn try_push(
        &self,
        frame: Frame,
        deadline: Deadline,
    ) -> Result<Option<Frame>, Box<Rejected<Frame, Error>>> {
        // First: it forgets what failed before the pipeline was started again.
        let stopped = self.watch.is_stopped();
        if let Some(failure) = self.signals.failure() {
            return Err(Rejected::new(frame, failure));
        }
        if stopped {
            let stopped = self.flow(gst::FlowError::Flushing);
            return Err(Rejected::new(frame, stopped));
        }
        // Whoever has to wait for the fence lets others at the stream meanwhile; whom there is no room for does not wait.
        let full = self.full_by_policy(&mut sys::lock(&self.stream));
        if let Some(full) = full {
            return Ok(full.then_some(frame));
        }
        if let Err(error) = self.finished(&frame, deadline) {
            return Err(Rejected::new(frame, error));
        }
        // The pipeline takes the buffer whether or not it takes the frame. Dropped when the lock is let go: it may be the
        // last handle by then, and its lease is somebody else's code.
        let back = frame.clone();
        let pushed = later::after(|| self.enqueue(frame));
        match pushed {
            Ok(full) => Ok(full),
            Err(Failure::Back(rejected)) => Err(rejected),
            Err(Failure::Flow(flow)) => Err(Rejected::new(back, self.flow(flow))),
        }
    }

    /// Whether there is no room, and the frame has to wait (`Some(true)`) or is dropped (`Some(false)`).
    fn full_by_policy(&self, stream: &mut Stream) -> Option<bool> {
        if self.queued() < self.options.queue || self.options.pacing == Pacing::DropOldest {
            return None;
        }
        if self.options.pacing == Pacing::Wait {
            return Some(true);
        }
        self.count_dropped(stream);
        Some(false)
    }

    fn count_dropped(&self, stream: &mut Stream) {
        stream.dropped += 1;
        self.leaving
            .hop
            .dropped("the pipeline is slower than the frames come");
    }

    /// A finished frame into the queue. It comes back where there is no room any more.
    fn enqueue(&self, frame: Frame) -> Result<Option<Frame>, Failure> {
        let stream = &mut *sys::lock(&self.stream);
        if let Some(full) = self.full_by_policy(stream) {
            return Ok(full.then_some(frame));
        }
        if let Err(error) = self.prepare(stream, &frame) {
            return Err(Failure::Back(Rejected::new(frame, error)));
        }
        let pts = self.time(stream, &frame);
        let mut buffer = self.exporter.buffer(frame).map_err(Failure::Back)?;
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
            let (rate, per) = self.options.framerate;
            buffer.set_duration(
                u64::try_from(i64::from(per) * 1_000_000_000)
                    .ok()
                    .and_then(|span| span.checked_div(u64::try_from(rate).unwrap_or(0)))
                    .map(gst::ClockTime::from_nseconds),
            );
        }
        if self.queued() >= self.options.queue {
            // The oldest has to go: the appsrc drops it under its lock, and its frame ends after ours is let go too.
            self.count_dropped(stream);
        }
        self.appsrc.push_buffer(buffer).map_err(Failure::Flow)?;
        stream.pushed += 1;
        Ok(None)
    }

    /// Waits for what is still writing the picture, unless the memory takes the fence along.
    fn finished(&self, frame: &Frame, deadline: Deadline) -> Result<(), Error> {
        if self.options.attach || frame.acquire().is_trivial() {
            return Ok(());
        }
        match frame.wait(deadline)? {
            Waited::TimedOut => Err(Error::FencePending),
            Waited::Signaled => Ok(()),
            Waited::Failed(errno) => Err(dmaframe_core::Error::FenceFailed { errno }.into()),
        }
    }

    /// Caps and tags.
    fn prepare(&self, stream: &mut Stream, frame: &Frame) -> Result<(), Error> {
        if let Some(caps) = stream.renegotiate(&self.appsrc, frame, self.options.framerate)? {
            self.appsrc.set_caps(Some(&caps));
            self.exporter.keep_only(frame.buffer_id().generation());
        }
        self.signals.with(|state| stream.follow(state));
        if let Some(orientation) = stream.turn(frame) {
            // Queued like a buffer, so that it comes before this frame's and behind those of the frames before.
            self.appsrc
                .send_event(gst::event::Tag::new(tags::tag_list(orientation)));
        }
        Ok(())
    }

    /// What goes into the buffer's PTS: a marked moment of `CLOCK_MONOTONIC`, which the way out of the queue turns into running
    /// time (the pipeline's clock may not be known yet), or running time already.
    fn time(&self, stream: &mut Stream, frame: &Frame) -> Option<gst::ClockTime> {
        let at = frame.meta().timestamp;
        match self.options.timing {
            Timing::Arrival => None,
            Timing::FromFirst => {
                let at = at?;
                let first = *stream.first.get_or_insert(at.ns);
                Some(gst::ClockTime::from_nseconds(at.ns.saturating_sub(first)))
            }
            Timing::Clock => {
                let now = || dmaframe_core::Timestamp::now(Clock::Monotonic).ns;
                let at = match at {
                    Some(at) => match at.to_clock(Clock::Monotonic) {
                        Some(at) => at.ns,
                        // A clock nobody knows: the first such frame is taken to be of now.
                        None => {
                            let distance = *stream.first.get_or_insert_with(|| now().wrapping_sub(at.ns));
                            at.ns.wrapping_add(distance)
                        }
                    },
                    None => now(),
                };
                Some(moment(at))
            }
        }
    }
}

/// Why a frame was not queued.
enum Failure {
    Back(Box<Rejected<Frame, Error>>),
    /// The frame's buffer is gone with the attempt.
    Flow(gst::FlowError),
}

/// Completes when a frame can be pushed; made by [`FrameSrc::ready`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Ready<'a> {
    source: &'a FrameSrc,
}

impl<'a> Ready<'a> {
    pub(super) fn new(source: &'a FrameSrc) -> Self {
        Self { source }
    }
}

impl Future for Ready<'_> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let source = self.source;
        source.watch.listen();
        loop {
            let ticket = source.signals.ticket();
            if let Some(failure) = source.signals.failure() {
                return Poll::Ready(Err(failure));
            }
            if source.watch.is_stopped() {
                return Poll::Ready(Err(source.flow(gst::FlowError::Flushing)));
            }
            if source.queued() < source.options.queue || source.options.pacing != Pacing::Wait {
                return Poll::Ready(Ok(()));
            }
            if source.signals.wake(ticket, cx.waker()) {
                return Poll::Pending;
            }
        }
    }
}
