//! Where frames come from.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use dmaframe::Frame;
use dmaframe::source::{self, Next, Which, Wish};

use crate::args::Args;

/// A camera longer without a picture than this is reported as stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was asked for; without a wish the first camera that works, else the test picture.
pub(crate) struct Source {
    pub(crate) camera: source::Source,
    /// Why the camera is gone, while it is: placeholders come instead.
    pub(crate) gone: Option<String>,
}

impl Source {
    /// `notes` gets a line for each thing that was tried and did not work.
    pub(crate) fn open(args: &Args, notes: &mut Vec<String>) -> Result<Self> {
        let wish = Wish::new(args.device.as_deref().unwrap_or("any").parse()?)
            .size(args.size)
            .fps(args.fps)
            .format(args.format)
            .memory(args.memory)
            .placeholder(true);
        let camera = source::Source::open(&wish, notes).map_err(|error| {
            anyhow!("{error}\n  `camera list` shows what there is; `--device test` needs no camera")
        })?;
        Ok(Self { camera, gone: None })
    }

    /// The next picture; `None` at a file's end, and when `stop` is set. A file that breaks off before its end is an error.
    /// `say` gets a line when the camera goes or comes back.
    pub(crate) fn next(&mut self, stop: &AtomicBool, say: impl Fn(String)) -> Result<Option<Frame>> {
        let start = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            match self.camera.next(Duration::from_millis(200)) {
                Next::Frame(frame) => return Ok(Some(frame)),
                Next::Gone(reason) => {
                    // A file has no plug.
                    match self.camera.wish().which {
                        Which::File(_) => say(reason.clone()),
                        _ => say(format!("{reason}; plug it in again, or end with Ctrl-C")),
                    }
                    self.gone = Some(reason);
                }
                Next::Back => {
                    say(format!("back: {}", self.camera.describe()));
                    self.gone = None;
                }
                Next::End => return self.gone.take().map_or(Ok(None), |reason| Err(anyhow!(reason))),
                _ if start.elapsed() > PATIENCE && self.camera.is_there() => {
                    bail!("{} gave no picture for {PATIENCE:?}", self.camera.describe())
                }
                _ => {}
            }
        }
        Ok(None)
    }
}
