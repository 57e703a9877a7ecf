//! Recordings, by GStreamer's encoders.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::Frame;
use dmaframe_core::report::Hop;
use dmaframe_gstreamer::{Error as GstError, Recorder};

use super::ready::unready;
use super::{Error, FINISH, Opening, Sink, Summary, Taken};

const SLOW: &str = "the encoder is slower than the camera";

struct Recording {
    recorder: Recorder,
    patience: Duration,
    unready: Duration,
    dropped: u64,
}

pub(super) fn start(
    file: &Path,
    opening: &Opening<'_>,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Sink>, Error> {
    let (frames, seconds) = opening.framerate;
    let recorder = Recorder::builder(file)
        .framerate(frames, seconds)
        .start(opening.first)?;
    notes.extend(recorder.passed_over().iter().map(ToString::to_string));
    notes.push(format!("recording {}", recorder.encoder()));
    Ok(Box::new(Recording {
        recorder,
        patience: opening.patience,
        unready: opening.unready(),
        dropped: 0,
    }))
}

impl Recording {
    fn miss(&mut self, why: &'static str) -> Taken {
        self.dropped += 1;
        self.hop().dropped(why);
        Taken::Dropped(why)
    }
}

impl Sink for Recording {
    fn take(&mut self, frame: &Frame) -> Result<Taken, Error> {
        if let Some(why) = unready(frame, self.unready)? {
            return Ok(self.miss(why));
        }
        let before = self.recorder.source().stats().copied;
        match self.recorder.push(frame.clone(), self.patience) {
            Ok(()) if self.recorder.source().stats().copied == before => Ok(Taken::Shared),
            Ok(()) => Ok(Taken::Copied(frame.layout().tight_len())),
            // A file without a picture is better than a camera that waits.
            Err(rejected) => match rejected.error {
                GstError::Full { .. } => Ok(self.miss(SLOW)),
                error => Err(error.into()),
            },
        }
    }

    fn hop(&self) -> &Arc<Hop> {
        self.recorder.hop()
    }

    fn finish(self: Box<Self>) -> Result<Summary, Error> {
        let done = self.recorder.finish(FINISH)?;
        Ok(Summary {
            kind: "recording",
            name: done.file.display().to_string(),
            by: Some(done.encoder.to_string()),
            frames: done.encoded,
            copied: None,
            dropped: self.dropped,
            bytes: Some(done.bytes),
        })
    }
}
