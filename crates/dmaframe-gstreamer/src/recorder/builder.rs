//! Choosing an encoder.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dmaframe_core::{Deadline, Frame};
use gst::prelude::*;

use super::choice::{Candidate, Container, Kind, Rates};
use super::{Encoded, Encoder, PassedOver, Pipeline, Recorder, trial};
use crate::error::Error;
use crate::source::{FrameSrc, Pacing, Timing};

/// Which encoders may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncoderChoice {
    /// Hardware, or software where there is none that works.
    #[default]
    Best,
    /// Software only.
    Software,
    /// One of them by GStreamer's name: `x264enc`.
    Element(String),
}

/// How a recording is to be; made by [`Recorder::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is written before RecorderBuilder::start"]
pub struct RecorderBuilder {
    file: PathBuf,
    framerate: (u32, u32),
    choice: EncoderChoice,
    bits: Option<u64>,
    queue: u32,
    pacing: Pacing,
}

impl RecorderBuilder {
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            file,
            framerate: (30, 1),
            choice: EncoderChoice::Best,
            bits: None,
            queue: 3,
            pacing: Pacing::Wait,
        }
    }

    /// Frames a second, as a fraction: what the file says and the encoder plans with. 30/1 unless said otherwise. Frames
    /// keep their own times.
    pub fn framerate(mut self, numerator: u32, denominator: u32) -> Self {
        self.framerate = (numerator.max(1), denominator.max(1));
        self
    }

    /// Which encoder.
    pub fn encoder(mut self, choice: EncoderChoice) -> Self {
        self.choice = choice;
        self
    }

    /// Bits a second. Unless said otherwise a tenth of a bit for each pixel: 2.8 Mbit/s at 720p30, 6.2 at 1080p30.
    pub fn bitrate(mut self, bits: u64) -> Self {
        self.bits = Some(bits);
        self
    }

    /// How many frames wait for the encoder (3), and what happens to more: [`Recorder::push`] waits, unless said
    /// otherwise.
    pub fn queue(mut self, frames: u32, pacing: Pacing) -> Self {
        (self.queue, self.pacing) = (frames, pacing);
        self
    }

    /// Chooses the encoder, opens the file and starts. `first` shows what frames are like, and is what hardware is tried
    /// with; it is not recorded. Initialises GStreamer if nobody has.
    ///
    /// Blocks while hardware is tried: 3 s for an encoder that does not answer.
    ///
    /// # Errors
    /// [`Error::Container`] for an extension that says nothing, [`Error::NoElement`] for a muxer that is not installed,
    /// [`Error::NoEncoder`] with the reason of each, [`Error::Pipeline`] for a file that cannot be written,
    /// [`Error::Init`].
    pub fn start(self, first: &Frame) -> Result<Recorder, Error> {
        gst::init().map_err(|error| Error::Init {
            reason: error.to_string(),
        })?;
        let container = Container::of(&self.file).ok_or_else(|| Error::Container {
            file: self.file.clone(),
            known: Container::extensions(),
        })?;
        for name in container.elements() {
            installed(name).map_err(|reason| Error::NoElement { name, reason })?;
        }
        let rates = self.rates(first);
        let mut passed_over = Vec::new();
        for candidate in container.candidates().filter(|c| self.wants(c)) {
            match self.try_one(&candidate, rates, first) {
                Ok(encoder) => {
                    return self.open(&container, &candidate, encoder, (rates, passed_over, first));
                }
                Err(reason) => passed_over.push(PassedOver {
                    element: candidate.element,
                    reason,
                }),
            }
        }
        Err(Error::NoEncoder {
            extension: container.extension,
            tried: passed_over,
        })
    }

    fn wants(&self, candidate: &Candidate) -> bool {
        match &self.choice {
            EncoderChoice::Best => true,
            EncoderChoice::Software => candidate.kind == Kind::Software,
            EncoderChoice::Element(name) => candidate.element == name,
        }
    }

    fn rates(&self, first: &Frame) -> Rates {
        let size = first.layout().size();
        let (frames, seconds) = self.framerate;
        let pixels = u64::from(size.width) * u64::from(size.height);
        let usual = pixels * u64::from(frames) / u64::from(seconds) / 10;
        Rates {
            bits: self.bits.unwrap_or(usual).clamp(10_000, u64::from(u32::MAX / 2)),
            // Two seconds: what players jump by.
            gop: (2 * u64::from(frames) / u64::from(seconds)).clamp(1, 600),
        }
    }

    /// What the encoder would be, or why not.
    fn try_one(&self, candidate: &Candidate, rates: Rates, first: &Frame) -> Result<Encoder, String> {
        installed(candidate.element)?;
        let encoder = |imports| Encoder {
            element: candidate.element,
            codec: candidate.codec(),
            hardware: candidate.kind != Kind::Software,
            imports,
        };
        let dmabuf = first.as_dmabuf().is_some();
        match candidate.kind {
            Kind::Software => Ok(encoder(false)),
            Kind::V4l2 if dmabuf => match trial::run(candidate, (true, rates), first, self.framerate) {
                Ok(_) => Ok(encoder(true)),
                Err(importing) => match trial::run(candidate, (false, rates), first, self.framerate) {
                    Ok(_) => Ok(encoder(false)),
                    Err(copying) => Err(format!("with import: {importing}; with a copy: {copying}")),
                },
            },
            Kind::V4l2 | Kind::Other => {
                trial::run(candidate, (false, rates), first, self.framerate).map(encoder)
            }
        }
    }

    fn open(
        self,
        container: &Container,
        candidate: &Candidate,
        encoder: Encoder,
        (rates, passed_over, first): (Rates, Vec<PassedOver>, &Frame),
    ) -> Result<Recorder, Error> {
        let timing = match first.meta().timestamp {
            Some(_) => Timing::FromFirst,
            None => Timing::Arrival,
        };
        let import = encoder.imports && candidate.kind == Kind::V4l2;
        let (source, pipeline) = pipeline(
            FrameSrc::builder()
                .name(format!("to-{}", candidate.element))
                .queue(self.queue, self.pacing)
                .timing(timing)
                // A pipeline that is not live has no use for the clock's time before it runs.
                .live(timing == Timing::Arrival),
            self.framerate,
            &container.description(candidate, import, rates),
        )?;
        if let Some(sink) = pipeline.0.by_name("file") {
            sink.set_property("location", &self.file);
        }
        let encoded = Arc::new(Encoded::default());
        if let Some(pad) = pipeline.0.by_name("encoder").and_then(|e| e.static_pad("src")) {
            let counts = Arc::clone(&encoded);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if let Some(buffer) = info.buffer() {
                    counts.units.fetch_add(1, Ordering::Relaxed);
                    counts.bytes.fetch_add(buffer.size() as u64, Ordering::Relaxed);
                }
                gst::PadProbeReturn::Ok
            });
        }
        play(&pipeline)?;
        Ok(Recorder {
            source,
            pipeline,
            file: self.file,
            encoder,
            passed_over,
            picture: (first.fourcc(), first.layout().size()),
            encoded,
            finished: false,
        })
    }
}

/// Why an element cannot be had.
fn installed(name: &'static str) -> Result<(), String> {
    match gst::ElementFactory::find(name) {
        Some(_) => Ok(()),
        None => Err("GStreamer has no such element here: no plugin, or no device for it".to_owned()),
    }
}

/// A source and what comes behind it.
pub(super) fn pipeline(
    source: crate::source::FrameSrcBuilder,
    (frames, seconds): (u32, u32),
    description: &str,
) -> Result<(FrameSrc, Pipeline), Error> {
    let rate = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let source = source.framerate(rate(frames), rate(seconds)).build()?;
    let failed = |reason: String| Error::NoElement { name: "bin", reason };
    let rest = gst::parse::bin_from_description(description, true).map_err(|e| failed(e.to_string()))?;
    let pipeline = Pipeline(gst::Pipeline::new());
    let added = pipeline.0.add_many([source.element(), rest.upcast_ref()]);
    added.map_err(|e| failed(e.to_string()))?;
    source.element().link(&rest).map_err(|e| failed(e.to_string()))?;
    Ok((source, pipeline))
}

/// Starts; what is wrong is on the bus.
pub(super) fn play(pipeline: &Pipeline) -> Result<(), Error> {
    if pipeline.0.set_state(gst::State::Playing).is_ok() {
        return Ok(());
    }
    match pipeline.end(Deadline::from(Duration::from_millis(100))) {
        Err(failure @ Error::Pipeline(_)) => Err(failure),
        _ => Err(Error::NotRunning {
            element: pipeline.0.name().to_string(),
            state: "not started",
        }),
    }
}
