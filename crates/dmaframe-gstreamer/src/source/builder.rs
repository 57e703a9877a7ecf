//! Choices before frames go.

use std::sync::{Arc, Mutex};

use gst::prelude::*;

use super::FrameSrc;
use super::caps_choice::Stream;
use super::leaving::Leaving;
use crate::error::Error;
use crate::export::Exporter;
use crate::signals::{Signals, Watch};

/// What happens to a frame when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pacing {
    /// [`FrameSrc::push`] waits until its deadline, then gives the frame back: nothing is lost unseen.
    Wait,
    /// The frame is dropped and counted: what is queued goes on.
    DropNewest,
    /// The oldest frame queued is dropped and counted.
    DropOldest,
}

/// Where buffers' times come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timing {
    /// The frame's own timestamp, on the pipeline's clock: the sensor's time, which stays in step with the pipeline's
    /// sound. Frames from before the pipeline began to play are dropped and counted. A timestamp on no known clock counts
    /// from the first frame that has one.
    Clock,
    /// The frame's own timestamp, counted from the first frame since the pipeline was started: for pipelines that are not live.
    FromFirst,
    /// The moment of the push.
    Arrival,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) queue: u64,
    pub(super) pacing: Pacing,
    pub(super) timing: Timing,
    pub(super) framerate: (i32, i32),
    pub(super) attach: bool,
}

/// How frames are to go; made by [`FrameSrc::builder`].
#[derive(Debug)]
#[must_use = "there is no element before `build`"]
pub struct FrameSrcBuilder {
    name: Option<String>,
    options: Options,
    live: bool,
    implicit: bool,
    latency: (Option<gst::ClockTime>, Option<gst::ClockTime>),
}

impl Default for FrameSrcBuilder {
    fn default() -> Self {
        Self {
            name: None,
            options: Options {
                queue: 3,
                pacing: Pacing::Wait,
                timing: Timing::Clock,
                framerate: (0, 1),
                attach: false,
            },
            live: true,
            implicit: true,
            latency: (None, None),
        }
    }
}

impl FrameSrcBuilder {
    /// The element's name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many frames wait for the pipeline (3), and what happens to more.
    pub fn queue(mut self, frames: u32, pacing: Pacing) -> Self {
        self.options.queue = u64::from(frames.max(1));
        self.options.pacing = pacing;
        self
    }

    /// Where times come from: the frames' own, on the pipeline's clock, unless said otherwise.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.options.timing = timing;
        self
    }

    /// Whether frames come in real time. They do, unless switched off: then the pipeline waits for the first frame before
    /// it plays.
    pub fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// Frames a second, as a fraction, for the caps; 0/1, "varies", unless said. Encoders want it.
    pub fn framerate(mut self, numerator: i32, denominator: i32) -> Self {
        self.options.framerate = (numerator.max(0), denominator.max(1));
        self
    }

    /// How old frames are at least and at most when they are pushed, in a live pipeline.
    pub fn latency(mut self, least: gst::ClockTime, most: Option<gst::ClockTime>) -> Self {
        self.latency = (Some(least), most);
        self
    }

    /// Does not wait for a frame's acquire fence, but puts it on the dma-buf and goes on. Only for elements that know
    /// implicit sync (OpenGL, VA, displays): V4L2's drivers do not, and would read an unfinished picture.
    pub fn attach_fences(mut self) -> Self {
        self.options.attach = true;
        self
    }

    /// As [`Exporter::implicit_fences`].
    pub fn implicit_fences(mut self, look: bool) -> Self {
        self.implicit = look;
        self
    }

    /// Makes the element. Initialises GStreamer if nobody has.
    ///
    /// # Errors
    /// [`Error::Init`], [`Error::NoElement`].
    pub fn build(self) -> Result<FrameSrc, Error> {
        gst::init().map_err(|error| Error::Init {
            reason: error.to_string(),
        })?;
        let element = gst::ElementFactory::make("appsrc")
            .build()
            .map_err(|error| Error::NoElement {
                name: "appsrc",
                reason: error.to_string(),
            })?;
        let appsrc = element
            .downcast::<gst_app::AppSrc>()
            .map_err(|_| Error::NoElement {
                name: "appsrc",
                reason: "it is something else".to_owned(),
            })?;
        if let Some(name) = &self.name {
            appsrc.set_property("name", name);
        }
        self.wrap(appsrc)
    }

    /// Takes an `appsrc` that is there already, in a pipeline made from a description. Its callbacks and properties
    /// become this source's.
    ///
    /// # Errors
    /// [`Error::NoElement`] for an element without a source pad.
    pub fn wrap(self, appsrc: gst_app::AppSrc) -> Result<FrameSrc, Error> {
        let options = self.options;
        appsrc.set_format(gst::Format::Time);
        appsrc.set_stream_type(gst_app::AppStreamType::Stream);
        appsrc.set_is_live(self.live);
        // A failed pipeline would keep a blocking push for ever: waiting is ours.
        appsrc.set_block(false);
        appsrc.set_max_bytes(0);
        appsrc.set_max_time(gst::ClockTime::ZERO);
        appsrc.set_max_buffers(options.queue);
        appsrc.set_leaky_type(match options.pacing {
            Pacing::DropOldest => gst_app::AppLeakyType::Downstream,
            _ => gst_app::AppLeakyType::None,
        });
        appsrc.set_do_timestamp(options.timing == Timing::Arrival);
        if let (Some(least), most) = self.latency {
            appsrc.set_latency(Some(least), most);
        }
        let signals = Arc::new(Signals::default());
        let pad = appsrc.static_pad("src").ok_or(Error::NoElement {
            name: "appsrc",
            reason: "it has no source pad".to_owned(),
        })?;
        let leaving = Arc::new(Leaving::new(&appsrc, Arc::clone(&signals)));
        leaving.watch(&pad);
        let watch = Watch::new(appsrc.upcast_ref(), &pad, &signals);
        Ok(FrameSrc {
            appsrc,
            signals,
            watch,
            exporter: Exporter::new().implicit_fences(self.implicit),
            leaving,
            stream: Mutex::new(Stream::default()),
            options,
        })
    }
}
