//! Frames into a file.

mod builder;
mod choice;
mod trial;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, Fourcc, Frame, Rejected, Size};
use gst::prelude::*;

pub use builder::{EncoderChoice, RecorderBuilder};

use crate::error::Error;
use crate::signals::failure;
use crate::source::FrameSrc;

/// What encodes a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoder {
    /// GStreamer's element.
    pub element: &'static str,
    /// The codec: `H.264`, `VP8`.
    pub codec: &'static str,
    /// Whether it is a device.
    pub hardware: bool,
    /// Whether it takes the frames' dma-bufs as they are. Software reads them with the CPU, which is what encoding by
    /// the CPU costs; hardware that does not import gets a copy.
    pub imports: bool,
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match (self.hardware, self.imports) {
            (true, true) => "hardware, dma-bufs imported",
            (true, false) => "hardware, frames copied",
            (false, _) => "software",
        };
        write!(f, "{} by {} ({how})", self.codec, self.element)
    }
}

/// An encoder that would have been liked better.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOver {
    /// GStreamer's element.
    pub element: &'static str,
    /// Why it was not taken.
    pub reason: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} not used: {}", self.element, self.reason)
    }
}

/// A recording that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recording {
    /// The file.
    pub file: PathBuf,
    /// Frames given to the encoder.
    pub frames: u64,
    /// Frames the encoder has written: the same, unless it drops some itself.
    pub encoded: u64,
    /// Bytes the encoder has written; the file is a little longer.
    pub bytes: u64,
    /// What encoded it.
    pub encoder: Encoder,
}

/// Records frames into a file: the container is the file's extension, the encoder the best that is there and takes the
/// frames.
///
/// Hardware comes first: each such encoder is tried with the first frame, for a moment and without a file, and one that
/// fails, or does not import dma-bufs as it should, is passed over with its reason ([`Recorder::passed_over`]). Frames
/// go to the encoder in their own memory ([`FrameSrc`]); what that costs is [`Recorder::hop`].
///
/// Times are those of the frames, counted from the first; frames without times get those of their arrival. Nothing here
/// blocks for longer than the deadline it is given. Dropping a recorder ends the file too, within five seconds.
///
/// ```no_run
/// use std::time::Duration;
/// use dmaframe_gstreamer::Recorder;
/// # fn frames() -> Vec<dmaframe_core::Frame> { Vec::new() }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut frames = frames().into_iter();
/// let first = frames.next().ok_or("no frame")?;
/// let recorder = Recorder::builder("out.mkv").framerate(30, 1).start(&first)?;
/// println!("{}", recorder.encoder()); // H.264 by v4l2h264enc (hardware, dma-bufs imported)
/// for frame in std::iter::once(first).chain(frames) {
///     recorder.push(frame, Duration::from_secs(1))?;
/// }
/// let recording = recorder.finish(Duration::from_secs(10))?;
/// println!("{} frames in {}", recording.encoded, recording.file.display());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Recorder {
    source: FrameSrc,
    pipeline: Pipeline,
    file: PathBuf,
    encoder: Encoder,
    passed_over: Vec<PassedOver>,
    picture: (Fourcc, Size),
    encoded: Arc<Encoded>,
    finished: bool,
}

/// What came out of the encoder.
#[derive(Debug, Default)]
struct Encoded {
    units: AtomicU64,
    bytes: AtomicU64,
}

/// A pipeline that is stopped when it is let go of.
#[derive(Debug)]
struct Pipeline(gst::Pipeline);

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Stopping does not fail; elements that complain are stopped all the same.
        let _ = self.0.set_state(gst::State::Null);
    }
}

impl Pipeline {
    /// Waits for the end of the stream.
    fn end(&self, deadline: Deadline) -> Result<(), Error> {
        let Some(bus) = self.0.bus() else { return Ok(()) };
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let left = deadline.remaining().unwrap_or(Duration::MAX);
        let nanoseconds = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX - 1);
        let wait = gst::ClockTime::from_nseconds(nanoseconds.min(u64::MAX - 1));
        let Some(message) = bus.timed_pop_filtered(wait, &kinds) else {
            return Err(Error::Unfinished { waited: left });
        };
        match message.view() {
            gst::MessageView::Error(error) => Err(Error::Pipeline(failure(&message, error))),
            _ => Ok(()),
        }
    }
}

impl Recorder {
    /// A recording to be begun. The extension says what the file is: `mkv`, `mp4`, `mov`, `webm`, or `h264` for the bare
    /// stream. An existing file is replaced.
    pub fn builder(file: impl Into<PathBuf>) -> RecorderBuilder {
        RecorderBuilder::new(file.into())
    }

    /// Whether a file of this name can be recorded into, by its extension.
    #[must_use]
    pub fn knows(file: &Path) -> bool {
        choice::Container::of(file).is_some()
    }

    /// Gives a frame to the encoder, waiting until `deadline` for room in its queue and for the frame's acquire fence. For
    /// a live source that may not wait: [`Deadline::now`], and drop what comes back with [`Error::Full`].
    ///
    /// # Errors
    /// [`Error::Full`] at the deadline; [`Error::PictureChanged`] for another format, size or visible size, colour or layout
    /// than the first frame's, since encoders and containers do not follow; those of [`FrameSrc::push`]. The frame comes
    /// back with each.
    pub fn push(
        &self,
        frame: Frame,
        deadline: impl Into<Deadline>,
    ) -> Result<(), Box<Rejected<Frame, Error>>> {
        let found = (frame.fourcc(), frame.layout().size());
        let what = if found.0 != self.picture.0 {
            Some("format")
        } else if found.1 != self.picture.1 {
            Some("size")
        } else {
            self.source.would_change_caps(&frame)
        };
        if let Some(what) = what {
            let (was, now) = (self.picture, found);
            return Err(Rejected::new(frame, Error::PictureChanged { what, was, now }));
        }
        self.source.push(frame, deadline)
    }

    /// Ends the file: the encoder writes what it still has, the container its index. Waits until `deadline`.
    ///
    /// # Errors
    /// [`Error::Unfinished`] at the deadline, [`Error::Pipeline`] when something failed; the file may not play then.
    pub fn finish(mut self, deadline: impl Into<Deadline>) -> Result<Recording, Error> {
        self.end(deadline.into())?;
        Ok(Recording {
            file: self.file.clone(),
            frames: self.source.stats().pushed,
            encoded: self.encoded(),
            bytes: self.encoded.bytes.load(Ordering::Relaxed),
            encoder: self.encoder.clone(),
        })
    }

    fn end(&mut self, deadline: Deadline) -> Result<(), Error> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        self.source.end_of_stream()?;
        self.pipeline.end(deadline)
    }

    /// What encodes.
    #[must_use]
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The better liked encoders, and why they are not used.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// The source of its pipeline: queue, counters, caps.
    #[must_use]
    pub fn source(&self) -> &FrameSrc {
        &self.source
    }

    /// Frames the encoder has written so far.
    #[must_use]
    pub fn encoded(&self) -> u64 {
        self.encoded.units.load(Ordering::Relaxed)
    }

    /// The hop from the producer to the encoder, for a [`PathReport`](dmaframe_core::report::PathReport). What an encoder
    /// does with the frames is its own affair: one in software reads them.
    #[must_use]
    pub fn hop(&self) -> &Arc<Hop> {
        self.source.hop()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Nobody to tell.
        let _ = self.end(Duration::from_secs(5).into());
    }
}
