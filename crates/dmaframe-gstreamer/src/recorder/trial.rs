//! Whether an encoder that is there does its work: drivers list what they cannot do.

use std::time::Duration;

use dmaframe_core::{Deadline, Frame};

use super::builder::{pipeline, play};
use super::choice::{Candidate, Rates};
use crate::error::Error;
use crate::source::{FrameSrc, Timing};

/// For one picture, and the device's start.
const PATIENCE: Duration = Duration::from_secs(3);

/// Encodes the frame and throws the result away. Gives whether the caps were those of dma-bufs, or why it did not work.
pub(super) fn run(
    candidate: &Candidate,
    (import, rates): (bool, Rates),
    frame: &Frame,
    framerate: (u32, u32),
) -> Result<bool, String> {
    encode(candidate, (import, rates), frame, framerate).map_err(|error| error.to_string())
}

fn encode(
    candidate: &Candidate,
    (import, rates): (bool, Rates),
    frame: &Frame,
    framerate: (u32, u32),
) -> Result<bool, Error> {
    let description = format!("{} ! fakesink sync=false", candidate.description(import, rates));
    let source = FrameSrc::builder().live(false).timing(Timing::FromFirst);
    let (source, pipeline) = pipeline(source, framerate, &description)?;
    let deadline = Deadline::from(PATIENCE);
    play(&pipeline)?;
    source
        .push(frame.clone(), deadline)
        .map_err(|rejected| rejected.error)?;
    source.end_of_stream()?;
    pipeline.end(deadline)?;
    let dmabuf = source.caps().is_some_and(|caps| {
        caps.features(0)
            .is_some_and(|features| features.contains("memory:DMABuf"))
    });
    drop(pipeline);
    // The frame's memory is the caller's again.
    source.forget_buffers();
    Ok(dmabuf)
}
