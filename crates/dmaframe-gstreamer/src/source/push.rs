//! One frame into the queue.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use gst::prelude::*;

use dmaframe_core::{Clock, Deadline, Frame, Rejected, Waited};

use super::FrameSrc;
use super::builder::{Pacing, Timing};
use super::caps_choice::Stream;
use crate::error::Error;
use crate::{sys, tags};

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
        let stream = &mut *sys::lock(&self.stream);
        if self.queued() >= self.options.queue {
            match self.options.pacing {
                Pacing::Wait => return Ok(Some(frame)),
                Pacing::DropNewest => {
                    stream.dropped += 1;
                    self.leaving
                        .hop
                        .dropped("the pipeline is slower than the frames come");
                    return Ok(None);
                }
                Pacing::DropOldest => {
                    stream.dropped += 1;
                    self.leaving
                        .hop
                        .dropped("the pipeline is slower than the frames come");
                }
            }
        }
        match self.prepare(stream, &frame, deadline) {
            Ok(()) => {}
            Err(error) => return Err(Rejected::new(frame, error)),
        }
        let pts = self.time(stream, &frame);
        // The pipeline takes the buffer whether or not it takes the frame.
        let back = frame.clone();
        let mut buffer = self.exporter.buffer(frame)?;
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
        match self.appsrc.push_buffer(buffer) {
            Ok(_) => {
                stream.pushed += 1;
                Ok(None)
            }
            Err(flow) => Err(Rejected::new(back, self.flow(flow))),
        }
    }

    /// Caps, tags and fences.
    fn prepare(&self, stream: &mut Stream, frame: &Frame, deadline: Deadline) -> Result<(), Error> {
        if let Some(caps) = stream.renegotiate(&self.appsrc, frame, self.options.framerate)? {
            self.appsrc.set_caps(Some(&caps));
            self.exporter.keep_only(frame.buffer_id().generation());
        }
        let orientation = frame.meta().orientation;
        if orientation != stream.said {
            stream.orientation = Some(orientation);
        }
        if let Some(orientation) = stream.orientation.take() {
            stream.said = orientation;
            // Queued like a buffer, so that it comes before this frame's and behind those of the frames before.
            self.appsrc
                .send_event(gst::event::Tag::new(tags::tag_list(orientation)));
        }
        if !self.options.attach && !frame.acquire().is_trivial() {
            match frame.wait(deadline)? {
                Waited::TimedOut => return Err(Error::FencePending),
                Waited::Signaled => {}
                Waited::Failed(errno) => return Err(dmaframe_core::Error::FenceFailed { errno }.into()),
            }
        }
        Ok(())
    }

    /// What goes into the buffer's PTS: a moment of `CLOCK_MONOTONIC`, which the way out of the queue turns into running
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
                Some(gst::ClockTime::from_nseconds(at.min(u64::MAX - 1)))
            }
        }
    }
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
