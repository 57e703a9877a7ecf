//! Building a virtual camera.

use std::sync::Arc;

use dmaframe_alloc::{Allocator, Chain};
use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Buffer, ColorInfo, Fourcc, Layout, Modifier, Size, TimelineDevice};

use super::worker::{Config, Worker};
use super::{Shared, VirtualCamera};
use crate::error::Error;
use crate::negotiate::Taken;
use crate::thread::{Connection, LoopThread, connection_setters};

/// What a virtual camera is to be like; made by [`VirtualCamera::builder`].
#[derive(Debug)]
#[must_use = "nothing is published before CameraBuilder::start"]
pub struct CameraBuilder {
    connection: Connection,
    formats: FormatSet,
    shared_memory: bool,
    size: Size,
    framerate: (u32, u32),
    color: ColorInfo,
    buffers: u32,
    allocator: Box<dyn Allocator>,
    import: Option<Vec<Arc<Buffer>>>,
    timelines: Option<TimelineDevice>,
}

impl CameraBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            connection: Connection::new(name),
            formats: FormatSet::new("camera").with(Fourcc::XRGB8888, Modifier::LINEAR),
            shared_memory: true,
            size: Size::new(1280, 720),
            framerate: (30, 1),
            color: ColorInfo::UNSPECIFIED,
            buffers: 8,
            allocator: Box::new(Chain::dmabuf()),
            import: None,
            timelines: None,
        }
    }

    connection_setters!();

    /// What is offered, best liked first; `XRGB8888 LINEAR` unless said otherwise. Which of a consumer's modifiers is
    /// taken, the allocator decides by making one buffer.
    pub fn formats(mut self, formats: FormatSet) -> Self {
        self.formats = formats;
        self
    }

    /// Whether consumers without modifiers get shared memory (pairs with `LINEAR` only). Yes unless said otherwise.
    pub fn shared_memory(mut self, offer: bool) -> Self {
        self.shared_memory = offer;
        self
    }

    /// Size of the pictures. 1280 x 720 unless said otherwise.
    pub fn size(mut self, size: Size) -> Self {
        self.size = size;
        self
    }

    /// Frames a second, as a fraction: what consumers are told. The camera's pace is that of
    /// [`VirtualCamera::push`].
    pub fn framerate(mut self, frames: u32, seconds: u32) -> Self {
        self.framerate = (frames, seconds.max(1));
        self
    }

    /// Colour of the pictures: what consumers are told.
    pub fn color(mut self, color: ColorInfo) -> Self {
        self.color = color;
        self
    }

    /// How many buffers, 2 to 32. 8 unless said otherwise: consumers hold some, the graph one or two.
    pub fn buffers(mut self, count: u32) -> Self {
        self.buffers = count.clamp(2, 32);
        self
    }

    /// Where dma-bufs come from. [`Chain::dmabuf`] unless said otherwise; shared memory always is sealed memfds. It is asked
    /// on the camera's thread, and may ask the camera what does not wait.
    pub fn allocator(mut self, allocator: impl Allocator + 'static) -> Self {
        self.allocator = Box::new(allocator);
        self
    }

    /// Buffers that are there already (a capture's, a GPU's export pool's): frames in them go to consumers without a copy.
    /// Their layout becomes the one that is offered, and nothing is allocated for dma-bufs. The descriptors stay the
    /// buffers'; consumers get duplicates. A frame's lease runs within 20 ms of the moment at which the last consumer has let
    /// go of it, whether or not anything is pushed meanwhile.
    ///
    /// 2 to 32, all dma-bufs, all of one layout: anything else is [`Error::Import`] in [`CameraBuilder::start`].
    pub fn import(mut self, buffers: impl IntoIterator<Item = Arc<Buffer>>) -> Self {
        self.import = Some(buffers.into_iter().collect());
        self
    }

    /// Offers explicit sync: frames whose acquire fence is still pending then go out at once, and consumers' release
    /// points hold buffers back. Any DRM device with timelines will do. PipeWire 1.2 on both sides; consumers without it
    /// get frames when they are ready.
    pub fn explicit_sync(mut self, device: TimelineDevice) -> Self {
        self.timelines = Some(device);
        self
    }

    /// Publishes the camera, on a thread of its own. Waits for the daemon's answer, not for a consumer.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::NoFormat`], [`Error::Import`], [`Error::Name`], [`Error::Property`],
    /// [`Error::Os`].
    pub fn start(mut self) -> Result<VirtualCamera, Error> {
        let (mut formats, mut size, mut buffers) = (self.formats, self.size, self.buffers);
        let imported = self.import.is_some();
        let import = self.import.unwrap_or_default();
        if let Some(layout) = imported.then(|| check_import(&import)).transpose()? {
            size = layout.size();
            formats = FormatSet::new(formats.name()).with(layout.fourcc(), layout.modifier());
            buffers = u32::try_from(import.len()).unwrap_or(u32::MAX);
        }
        let offered = Taken {
            plain: self.shared_memory,
            modifiers: true,
        };
        offered.check(&formats)?;
        let name = self.connection.name.clone();
        self.connection.say([
            ("media.class", "Video/Source".into()),
            ("media.role", "Camera".into()),
            ("node.name", name.clone()),
            ("node.description", name.clone()),
        ]);
        let shared = Arc::new(Shared::new(&name)?);
        let config = Config {
            formats,
            shared_memory: self.shared_memory,
            size,
            framerate: self.framerate,
            color: self.color,
            buffers,
            allocator: self.allocator,
            import,
            timelines: self.timelines,
        };
        let thread = LoopThread::spawn(self.connection, Arc::clone(&shared.commands), {
            let shared = Arc::clone(&shared);
            move || Worker::new(config, shared)
        })?;
        Ok(VirtualCamera {
            shared,
            offered,
            thread,
        })
    }
}

/// The one layout of buffers that can be a camera's.
fn check_import(buffers: &[Arc<Buffer>]) -> Result<Layout, Error> {
    let refused = |reason: String| Error::Import { reason };
    if !(2..=32).contains(&buffers.len()) {
        return Err(refused(format!(
            "there are {}, and a stream has 2 to 32",
            buffers.len()
        )));
    }
    let layout = buffers[0].layout();
    for (index, buffer) in buffers.iter().enumerate() {
        if !buffer.is_dmabuf() {
            return Err(refused(format!("buffer {index} is no dma-buf")));
        }
        if buffer.layout() != layout {
            return Err(refused(format!(
                "buffer {index} has another layout than the first"
            )));
        }
        let twice = |other: &Arc<Buffer>| other.identities().eq(buffer.identities());
        if buffers[..index].iter().any(twice) {
            return Err(refused(format!("buffer {index} is there twice")));
        }
    }
    Ok(layout.clone())
}
