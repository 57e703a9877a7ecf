//! Where pictures go besides the screen: each output drops what it has no time for, and holds up no other.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use dmaframe::report::Hop;
use dmaframe::{Buffer, Frame};

use crate::stream::Stream;

/// Something that takes pictures.
pub(crate) trait Output: Send {
    fn take(&mut self, frame: &Frame) -> Result<()>;
    fn hop(&self) -> Arc<Hop>;
    /// Ends it, and says what has come of it.
    fn finish(self: Box<Self>) -> Result<String>;
}

/// What every output is opened with: the first picture, the memory that all of them will be in if that is known, and
/// how many come in a second.
pub(crate) struct Opening<'a> {
    pub(crate) first: &'a Frame,
    #[cfg_attr(not(feature = "pipewire"), expect(dead_code, reason = "for virtual cameras"))]
    pub(crate) buffers: Vec<Arc<Buffer>>,
    pub(crate) fps: u32,
    /// Whether there are other outputs, which must not wait for this one.
    #[cfg_attr(not(feature = "record"), expect(dead_code, reason = "for recordings"))]
    pub(crate) shared: bool,
}

impl Output for Stream {
    fn take(&mut self, frame: &Frame) -> Result<()> {
        self.write(frame)
    }

    fn hop(&self) -> Arc<Hop> {
        Self::hop(self)
    }

    fn finish(self: Box<Self>) -> Result<String> {
        let file = self.hop().counts().name;
        Self::finish(*self).map(|()| file)
    }
}

#[cfg(not(feature = "record"))]
pub(crate) fn record(_: &Path, _: &Opening<'_>, _: &mut Vec<String>) -> Result<Box<dyn Output>> {
    anyhow::bail!(
        "built without GStreamer: run `cargo run --release -p camera --features record -- record FILE` (it needs \
         libgstreamer-plugins-base1.0-dev), or `camera --stream FILE.y4m`, which needs nothing"
    )
}

#[cfg(not(feature = "pipewire"))]
pub(crate) fn virtual_camera(_: &str, _: &Opening<'_>) -> Result<Box<dyn Output>> {
    anyhow::bail!(
        "built without PipeWire: run `cargo run --release -p camera --features pipewire -- virtual-camera` (it needs \
         libpipewire-0.3-dev and libclang-dev)"
    )
}

#[cfg(feature = "record")]
pub(crate) use recording::record;
#[cfg(feature = "record")]
mod recording {
    use std::time::Duration;

    use dmaframe::Deadline;
    use dmaframe::gstreamer::{Error, Recorder};

    use super::*;

    /// How long a recording may keep the camera waiting when it is the only output, and take for its end.
    const PATIENCE: Duration = Duration::from_secs(10);

    struct Recording {
        recorder: Recorder,
        shared: bool,
        dropped: u64,
    }

    pub(crate) fn record(
        file: &Path,
        opening: &Opening<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Box<dyn Output>> {
        let recorder = Recorder::builder(file)
            .framerate(opening.fps, 1)
            .start(opening.first)?;
        notes.extend(recorder.passed_over().iter().map(ToString::to_string));
        notes.push(format!("recording {}", recorder.encoder()));
        Ok(Box::new(Recording {
            recorder,
            shared: opening.shared,
            dropped: 0,
        }))
    }

    impl Output for Recording {
        fn take(&mut self, frame: &Frame) -> Result<()> {
            let deadline = match self.shared {
                true => Deadline::now(),
                false => PATIENCE.into(),
            };
            match self
                .recorder
                .push(frame.clone(), deadline)
                .map_err(|rejected| rejected.error)
            {
                Err(Error::Full { .. }) if self.shared => {
                    self.dropped += 1;
                    self.recorder
                        .hop()
                        .dropped("the encoder is slower than the camera");
                    Ok(())
                }
                done => Ok(done?),
            }
        }

        fn hop(&self) -> Arc<Hop> {
            Arc::clone(self.recorder.hop())
        }

        fn finish(self: Box<Self>) -> Result<String> {
            let done = self.recorder.finish(PATIENCE)?;
            let (file, dropped) = (done.file.display(), self.dropped);
            Ok(format!(
                "recording: {file} ({} frames, {} bytes, {}, {dropped} dropped)",
                done.encoded, done.bytes, done.encoder
            ))
        }
    }
}

#[cfg(feature = "pipewire")]
pub(crate) use published::virtual_camera;
#[cfg(feature = "pipewire")]
mod published {
    use dmaframe::Deadline;
    use dmaframe::negotiate::FormatSet;
    use dmaframe::pipewire::{Error, VirtualCamera};

    use super::*;

    struct Published {
        camera: VirtualCamera,
        name: String,
        dropped: u64,
    }

    pub(crate) fn virtual_camera(name: &str, opening: &Opening<'_>) -> Result<Box<dyn Output>> {
        let first = opening.first;
        let formats = FormatSet::new(name).with(first.fourcc(), first.modifier());
        let mut builder = VirtualCamera::builder(name)
            .formats(formats)
            .size(first.layout().size())
            .color(first.meta().color)
            .framerate(opening.fps, 1);
        // Into others' processes as it is; what is not in a dma-buf is copied into memory that they share.
        if !opening.buffers.is_empty() && opening.buffers.iter().all(|buffer| buffer.is_dmabuf()) {
            builder = builder.import(opening.buffers.iter().cloned());
        }
        Ok(Box::new(Published {
            camera: builder.start()?,
            name: name.to_owned(),
            dropped: 0,
        }))
    }

    impl Output for Published {
        fn take(&mut self, frame: &Frame) -> Result<()> {
            let pushed = self.camera.push(frame.clone(), Deadline::now());
            match pushed.map_err(|rejected| rejected.error) {
                // Nobody is watching, or everybody holds what he has.
                Err(Error::Starved { slots: 0, .. }) => Ok(()),
                Err(Error::Starved { .. } | Error::Imported) => {
                    self.dropped += 1;
                    Ok(())
                }
                Err(Error::Picture { .. }) => {
                    let formats = FormatSet::new(&self.name).with(frame.fourcc(), frame.modifier());
                    self.camera.set_picture(formats, frame.layout().size());
                    Ok(())
                }
                done => Ok(done.map(drop)?),
            }
        }

        fn hop(&self) -> Arc<Hop> {
            Arc::clone(self.camera.hop())
        }

        fn finish(self: Box<Self>) -> Result<String> {
            let stats = self.camera.stats();
            Ok(format!(
                "virtual camera: {} ({} frames published, {} of them copied, {} dropped)",
                self.name, stats.published, stats.copied, self.dropped
            ))
        }
    }
}
