//! Virtual cameras, in PipeWire's graph.

use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::report::Hop;
use dmaframe_core::{Error as CoreError, Frame};
use dmaframe_pipewire::{Error as PipewireError, Pushed, VirtualCamera};

use super::ready::unready;
use super::{Error, Opening, Sink, Summary, Taken};

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

/// Of a picture that is still worked on, or whose work failed; the next one may do.
fn is_pending(error: &PipewireError) -> bool {
    matches!(
        error,
        PipewireError::Core(CoreError::Timeout { .. } | CoreError::FenceFailed { .. })
    )
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
        if pushed.as_ref().is_err_and(|rejected| is_pending(&rejected.error)) {
            if let Some(why) = unready(frame, self.unready)? {
                return Ok(self.miss(why));
            }
            pushed = self.camera.push(frame.clone(), self.patience.max(self.unready));
        }
        match pushed.map_err(|rejected| rejected.error) {
            Ok(Pushed::ZeroCopy) => Ok(Taken::Shared),
            Ok(Pushed::Copied(bytes)) => Ok(Taken::Copied(bytes)),
            Err(PipewireError::Starved { slots: 0, .. }) => Ok(Taken::Dropped("nobody is watching")),
            Err(PipewireError::Starved { .. } | PipewireError::Imported) => {
                self.dropped += 1;
                Ok(Taken::Dropped("consumers hold all buffers"))
            }
            Err(PipewireError::Picture { .. }) => {
                let formats = FormatSet::new(&self.name).with(frame.fourcc(), frame.modifier());
                self.camera.set_picture(formats, frame.layout().size())?;
                self.dropped += 1;
                Ok(Taken::Dropped("the picture changed: consumers negotiate again"))
            }
            Err(error) if is_pending(&error) => Ok(self.miss("the picture was not finished in time")),
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
