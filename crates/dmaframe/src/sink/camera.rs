//! Virtual cameras, in PipeWire's graph.

use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::Frame;
use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::report::Hop;
use dmaframe_pipewire::{Error as PipewireError, Pushed, VirtualCamera};

use super::ready::{LATE, is_pending, unready};
use super::{Error, Opening, Sink, Summary, Taken};

const BUSY: &str = "consumers hold all buffers";

struct Published {
    camera: VirtualCamera,
    name: String,
    patience: Duration,
    unready: Duration,
    dropped: u64,
}

pub(super) fn start(name: &str, opening: &Opening<'_>) -> Result<Box<dyn Sink>, Error> {
    let (first, (frames, seconds)) = (opening.first, opening.framerate);
    let mut builder = VirtualCamera::builder(name)
        .formats(FormatSet::new(name).with(first.fourcc(), first.modifier()))
        .size(first.layout().size())
        .color(first.meta().color)
        .framerate(frames, seconds);
    // Into others' processes as it is; what is not in a dma-buf is copied into memory that they share.
    if !opening.buffers.is_empty() && opening.buffers.iter().all(|buffer| buffer.is_dmabuf()) {
        builder = builder.import(opening.buffers.iter().cloned());
    }
    Ok(Box::new(Published {
        camera: builder.start()?,
        name: name.to_owned(),
        patience: opening.patience,
        unready: opening.unready(),
        dropped: 0,
    }))
}

fn pending(error: &PipewireError) -> bool {
    matches!(error, PipewireError::Core(error) if is_pending(error))
}

impl Published {
    fn miss(&mut self, why: &'static str) -> Taken {
        self.dropped += 1;
        self.hop().dropped(why);
        Taken::Dropped(why)
    }
}

impl Sink for Published {
    fn take(&mut self, frame: &Frame) -> Result<Taken, Error> {
        let mut pushed = self.camera.push(frame.clone(), self.patience);
        // What others have goes to them with its fence; what has to be copied has to be finished.
        if pushed.as_ref().is_err_and(|rejected| pending(&rejected.error)) {
            if let Some(why) = unready(frame, self.unready)? {
                return Ok(self.miss(why));
            }
            pushed = self.camera.push(frame.clone(), self.patience.max(self.unready));
        }
        match pushed.map_err(|rejected| rejected.error) {
            Ok(Pushed::ZeroCopy) => Ok(Taken::Shared),
            Ok(Pushed::Copied(bytes)) => Ok(Taken::Copied(bytes)),
            Err(PipewireError::Starved { slots: 0, .. }) => Ok(Taken::Dropped("nobody is watching")),
            // That one its hop has counted.
            Err(PipewireError::Starved { .. }) => {
                self.dropped += 1;
                Ok(Taken::Dropped(BUSY))
            }
            Err(PipewireError::Imported) => Ok(self.miss(BUSY)),
            Err(PipewireError::Picture { .. }) => {
                let formats = FormatSet::new(&self.name).with(frame.fourcc(), frame.modifier());
                self.camera.set_picture(formats, frame.layout().size())?;
                Ok(self.miss("the picture changed: consumers negotiate again"))
            }
            Err(error) if pending(&error) => Ok(self.miss(LATE)),
            Err(error) => Err(error.into()),
        }
    }

    fn hop(&self) -> &Arc<Hop> {
        self.camera.hop()
    }

    fn finish(self: Box<Self>) -> Result<Summary, Error> {
        let stats = self.camera.stats();
        Ok(Summary {
            kind: "virtual camera",
            name: self.name,
            by: None,
            frames: stats.published,
            copied: Some(stats.copied),
            dropped: self.dropped,
            bytes: None,
        })
    }
}
