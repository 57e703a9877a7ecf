//! Frames into a pipeline.

mod builder;
mod caps_choice;
mod leaving;
mod push;
mod straighten;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use dmaframe_alloc::{Chain, FramePool, Request};
use dmaframe_core::negotiate::{FormatSet, Usage, negotiate};
use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, Fourcc, Frame, Modifier, Orientation, Rejected, Size};
use gst::prelude::*;

pub use builder::{FrameSrcBuilder, Pacing, Timing};
pub use push::Ready;

use crate::describe;
use crate::error::Error;
use crate::export::Exporter;
use crate::signals::{Signals, Watch};
use crate::sys;
use caps_choice::Stream;
use leaving::Leaving;

/// What a source has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SrcStats {
    /// Frames taken.
    pub pushed: u64,
    /// Frames not taken because the queue was full, or taken and pushed out of it.
    pub dropped: u64,
    /// Frames from before the pipeline began to play, dropped on the way out.
    pub early: u64,
    /// Frames copied because the next element understands no strides, offsets or crops.
    pub copied: u64,
    /// Frames dropped on the way out because they had to be copied for that and could not be.
    pub failed: u64,
}

/// The start of a pipeline (an `appsrc`) that takes frames.
///
/// Put [`FrameSrc::element`] into a pipeline, link it, set the pipeline to PLAYING, and [`FrameSrc::push`] frames. What
/// they are decides the caps, again whenever that changes. A frame's memory goes down the pipeline as it is; its lease
/// runs when the pipeline has dropped it.
///
/// Nothing here blocks for longer than the deadline it is given, also when the pipeline fails meanwhile.
///
/// Threads may share it; pushes come one after another.
#[derive(Debug)]
pub struct FrameSrc {
    appsrc: gst_app::AppSrc,
    signals: Arc<Signals>,
    watch: Arc<Watch>,
    exporter: Exporter,
    leaving: Arc<Leaving>,
    stream: Mutex<Stream>,
    options: builder::Options,
}

impl FrameSrc {
    /// A source to be set up.
    pub fn builder() -> FrameSrcBuilder {
        FrameSrcBuilder::default()
    }

    /// The element to put into a pipeline.
    #[must_use]
    pub fn element(&self) -> &gst::Element {
        self.appsrc.upcast_ref()
    }

    /// Gives a frame to the pipeline, waiting until `deadline` for room in the queue and for the frame's acquire fence.
    ///
    /// Where the queue is full at the deadline, [`Pacing`] says what happens.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::FencePending`] at the deadline; [`Error::Negotiation`] and [`Error::NoCaps`] for a format
    /// the next element does not take; [`Error::Pipeline`] when an element has failed; [`Error::NotRunning`],
    /// [`Error::EndOfStream`]; those of [`Exporter::buffer`]. The frame comes back with each.
    pub fn push(
        &self,
        frame: Frame,
        deadline: impl Into<Deadline>,
    ) -> Result<(), Box<Rejected<Frame, Error>>> {
        let deadline = deadline.into();
        self.watch.listen();
        let mut frame = frame;
        loop {
            let ticket = self.signals.ticket();
            match self.try_push(frame, deadline)? {
                None => return Ok(()),
                Some(back) => frame = back,
            }
            if !self.signals.wait(ticket, deadline) {
                let full = self.full();
                return Err(Rejected::new(frame, full));
            }
        }
    }

    /// Completes when there is room for a frame, or the pipeline has failed: then [`FrameSrc::push`] with no time to wait
    /// does not have to. Woken by the pipeline's own threads.
    #[must_use = "futures do nothing unless polled"]
    pub fn ready(&self) -> Ready<'_> {
        Ready::new(self)
    }

    /// Says that no more frames come. Elements write what they still have, and the pipeline posts an EOS message when all
    /// is done. Does not block.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Pipeline`]. Saying it again changes nothing.
    pub fn end_of_stream(&self) -> Result<(), Error> {
        if let Some(failure) = self.signals.failure() {
            return Err(failure);
        }
        self.appsrc
            .end_of_stream()
            .map(drop)
            .map_err(|flow| self.flow(flow))
    }

    /// Tells the pipeline how frames are to be turned, from the next one on: encoders and muxers write it into the file. It
    /// holds until frames come whose own orientation is another than that of those before.
    pub fn set_orientation(&self, orientation: Orientation) {
        sys::lock(&self.stream).orientation = orientation;
    }

    /// A pool of frames in a format the next element takes and dma-bufs can be made in: the first of `formats` that will
    /// do. For producers that have no memory of their own yet.
    ///
    /// # Errors
    /// [`Error::Negotiation`] explains why there is none; [`Error::Pool`] when there is no memory.
    pub fn pool(&self, formats: &[Fourcc], size: Size, slots: usize) -> Result<FramePool, Error> {
        let mut ours = FormatSet::new("dma-buf allocators").with_usage(Usage::Encode);
        for fourcc in formats {
            ours.insert(*fourcc, Modifier::LINEAR);
        }
        let theirs = caps_choice::downstream(&self.appsrc, &ours);
        // The caller's order of liking.
        let mut liked = FormatSet::new(theirs.name());
        for pair in formats
            .iter()
            .flat_map(|fourcc| theirs.iter().filter(move |pair| pair.fourcc == *fourcc))
        {
            liked.insert(pair.fourcc, pair.modifier);
        }
        let liked = if liked.is_empty() { theirs } else { liked };
        let offers = negotiate(&ours, &liked)?;
        let Some(pair) = offers.current() else {
            return Err(Error::Pool {
                reason: "no format left".to_owned(),
            });
        };
        let request = match self.leaving.understands_strides() {
            Some(false) => default_request(pair.fourcc, size)?,
            _ => Request::new(pair.fourcc, size).usage(Usage::Encode),
        };
        let builder = FramePool::builder(request)
            .slots(slots)
            .allocator(Chain::dmabuf());
        builder.build().map_err(|rejected| Error::Pool {
            reason: rejected.error.to_string(),
        })
    }

    /// Frames taken and not yet passed on to the next element.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.appsrc.current_level_buffers()
    }

    /// The caps frames have now; `None` before the first.
    #[must_use]
    pub fn caps(&self) -> Option<gst::Caps> {
        sys::lock(&self.stream).caps.clone()
    }

    /// Forgets the buffers kept for the memory of earlier frames. They are forgotten by themselves when the frames' format
    /// changes.
    pub fn forget_buffers(&self) {
        self.exporter.clear();
    }

    /// Counters since the source was built.
    #[must_use]
    pub fn stats(&self) -> SrcStats {
        let stream = sys::lock(&self.stream);
        SrcStats {
            pushed: stream.pushed,
            dropped: stream.dropped,
            early: self.leaving.early.load(Ordering::Relaxed),
            copied: self.leaving.copied.load(Ordering::Relaxed),
            failed: self.leaving.failed.load(Ordering::Relaxed),
        }
    }

    /// The hop from the producer into the pipeline, for a [`PathReport`](dmaframe_core::report::PathReport).
    #[must_use]
    pub fn hop(&self) -> &Arc<Hop> {
        &self.leaving.hop
    }

    /// Whether the frame would make the caps others than they are. They are not yet before the first frame.
    pub(crate) fn would_change_caps(&self, frame: &Frame) -> Option<&'static str> {
        sys::lock(&self.stream).change(&self.appsrc, frame, self.options.framerate)
    }

    fn full(&self) -> Error {
        Error::Full {
            element: self.appsrc.name().to_string(),
            queued: self.queued(),
            limit: self.options.queue,
        }
    }

    fn flow(&self, flow: gst::FlowError) -> Error {
        if let Some(failure) = self.signals.failure() {
            return failure;
        }
        let element = self.appsrc.name().to_string();
        match flow {
            gst::FlowError::Eos => Error::EndOfStream { element },
            gst::FlowError::Flushing => Error::NotRunning {
                element,
                state: "stopped or flushing",
            },
            _ => Error::NotRunning {
                element,
                state: "not accepting frames",
            },
        }
    }
}

/// GStreamer's own layout, for elements that know no other.
fn default_request(fourcc: Fourcc, size: Size) -> Result<Request, Error> {
    let default = describe::default_planes(fourcc, size)?;
    let planes: Vec<_> = default
        .offsets
        .iter()
        .zip(&default.strides)
        .map(|(offset, stride)| dmaframe_core::Plane {
            object: 0,
            offset: *offset,
            stride: u32::try_from(*stride).unwrap_or(0),
        })
        .collect();
    let checked = dmaframe_core::Layout::check(fourcc, Modifier::LINEAR, size, &planes, &[default.size]);
    Ok(Request::exact(checked.map_err(describe::DescribeError::from)?))
}

impl Drop for FrameSrc {
    /// The element stays in its pipeline; frames queued in it go on, with their times and in a layout that is understood.
    fn drop(&mut self) {
        self.leaving.orphan();
    }
}
