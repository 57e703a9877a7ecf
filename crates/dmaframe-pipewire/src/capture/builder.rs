//! Building a capture.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Budget, Fourcc, Modifier, Size, Starvation, TimelineDevice};

use super::worker::{Config, Worker};
use super::{CaptureStream, Shared};
use crate::error::Error;
use crate::negotiate::Taken;
use crate::thread::{Connection, LoopThread, connection_setters};

/// Which node to read from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Whatever the session manager thinks best: the default camera.
    Default,
    /// A node by its `node.name` or `object.serial`.
    Name(String),
    /// A node by its id, as portals give it.
    Node(u32),
    /// None: somebody else makes the link (`pw-link`, a patch bay).
    Unlinked,
}

/// What consumers get of a node that takes its buffers back by itself ([`Stats::unguarded`](super::Stats::unguarded)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unguarded {
    /// The node's own memory. A frame shows its picture until the node has filled all its other buffers, and the next
    /// pictures from then on: at 30 pictures a second and with 8 buffers after about a fifth of a second. For consumers
    /// that are done with a picture when the next ones come; more [`CaptureBuilder::buffers`] give them more time.
    #[default]
    InPlace,
    /// A copy of each picture, made as it comes: for consumers that keep pictures.
    Copy,
}

/// What a capture is to be like; made by [`CaptureStream::builder`].
#[derive(Debug)]
#[must_use = "nothing is connected before CaptureBuilder::start"]
pub struct CaptureBuilder {
    target: Target,
    connection: Connection,
    role: &'static str,
    formats: FormatSet,
    shared_memory: bool,
    dmabuf: bool,
    size: Size,
    framerate: (u32, u32),
    buffers: u32,
    queue: usize,
    budget: Budget,
    unguarded: Unguarded,
    timelines: Option<TimelineDevice>,
}

impl CaptureBuilder {
    pub(super) fn new() -> Self {
        let linear = [
            Fourcc::NV12,
            Fourcc::YUYV,
            Fourcc::XRGB8888,
            Fourcc::XBGR8888,
            Fourcc::ARGB8888,
            Fourcc::ABGR8888,
            Fourcc::YUV420,
            Fourcc::UYVY,
        ];
        let formats = linear.into_iter().fold(FormatSet::new("capture"), |set, fourcc| {
            set.with(fourcc, Modifier::LINEAR)
        });
        Self {
            target: Target::Default,
            connection: Connection::new("dmaframe capture".into()),
            role: "Camera",
            formats,
            shared_memory: true,
            dmabuf: true,
            size: Size::new(1280, 720),
            framerate: (30, 1),
            buffers: 8,
            queue: 2,
            budget: Budget::default(),
            unguarded: Unguarded::default(),
            timelines: None,
        }
    }

    /// The node to read from. The default camera unless said otherwise.
    pub fn target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// A portal's remote and the node in it (`OpenPipeWireRemote` of the Camera and ScreenCast portals, which the module
    /// `portal` asks with the feature of that name). Takes the descriptor; the role becomes "Screen" and no session manager chooses another node.
    pub fn remote_fd(mut self, remote: OwnedFd, node: u32) -> Self {
        self.connection.remote = Some(remote);
        self.target = Target::Node(node);
        self.role = "Screen";
        self
    }

    connection_setters!();

    /// How the stream is called in `pw-top` and the like.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.connection.name = name.into();
        self
    }

    /// What is taken, best liked first. Pairs with `LINEAR` also take shared memory and the dma-bufs of cameras, which
    /// come without a modifier (unless [`CaptureBuilder::shared_memory`] says no). The usual formats, `LINEAR`, unless
    /// said otherwise: give the importer's own set (a GPU's) instead.
    pub fn formats(mut self, formats: FormatSet) -> Self {
        self.formats = formats;
        self
    }

    /// Whether formats without a modifier are offered too. Yes unless said otherwise.
    pub fn shared_memory(mut self, offer: bool) -> Self {
        self.shared_memory = offer;
        self
    }

    /// Whether dma-bufs with modifiers are offered. Yes unless said otherwise; the dma-bufs of cameras, which come without
    /// a modifier, belong to [`CaptureBuilder::shared_memory`].
    pub fn dmabuf(mut self, offer: bool) -> Self {
        self.dmabuf = offer;
        self
    }

    /// The size liked best; the node decides. 1280 x 720 unless said otherwise.
    pub fn size(mut self, size: Size) -> Self {
        self.size = size;
        self
    }

    /// Frames a second liked best, as a fraction. 30 unless said otherwise.
    pub fn framerate(mut self, frames: u32, seconds: u32) -> Self {
        self.framerate = (frames, seconds.max(1));
        self
    }

    /// How many buffers to ask for; the node decides. 8 unless said otherwise.
    pub fn buffers(mut self, count: u32) -> Self {
        self.buffers = count.clamp(2, 32);
        self
    }

    /// How many frames may wait for [`CaptureStream::next`]; with more, the oldest is dropped and counted. 2 unless said
    /// otherwise, at least 1.
    pub fn queue(mut self, frames: usize) -> Self {
        self.queue = frames.max(1);
        self
    }

    /// How many buffers stay with the node whatever consumers hold, and what they get beyond that.
    pub fn budget(mut self, min_free: usize, policy: Starvation) -> Self {
        self.budget = Budget { min_free, policy };
        self
    }

    /// What consumers get of nodes that take their buffers back whoever holds them, as PipeWire's own nodes for V4L2 and
    /// libcamera cameras do. [`Unguarded::InPlace`] unless said otherwise.
    pub fn unguarded(mut self, policy: Unguarded) -> Self {
        self.unguarded = policy;
        self
    }

    /// Takes explicit sync: frames then come with a timeline point as their acquire fence, and release fences are given
    /// to the node instead of being waited for here. Any DRM device with timelines will do; the syncobjs of the node are
    /// imported into it. PipeWire 1.2 on both sides; with an older one this does nothing.
    pub fn explicit_sync(mut self, device: TimelineDevice) -> Self {
        self.timelines = Some(device);
        self
    }

    /// Connects to the daemon, on a thread of the stream's own. Waits for the daemon's answer, not for a picture.
    ///
    /// # Errors
    /// [`Error::NoFormat`] where nothing would be offered, also because of [`CaptureBuilder::shared_memory`] and
    /// [`CaptureBuilder::dmabuf`]; [`Error::Connect`], [`Error::Name`], [`Error::Property`],
    /// [`Error::Os`].
    pub fn start(mut self) -> Result<CaptureStream, Error> {
        let taken = Taken {
            plain: self.shared_memory,
            modifiers: self.dmabuf,
        };
        taken.check(&self.formats)?;
        let name = self.connection.name.clone();
        let mut properties = vec![
            ("media.type", "Video".into()),
            ("media.category", "Capture".into()),
            ("media.role", self.role.into()),
        ];
        let (id, autoconnect) = match self.target {
            Target::Default => (None, true),
            Target::Node(id) => (Some(id), true),
            Target::Unlinked => (None, false),
            Target::Name(name) => {
                properties.push(("target.object", name));
                (None, true)
            }
        };
        properties.push(("node.name", name.clone()));
        self.connection.say(properties);
        let shared = Arc::new(Shared::new(&name, self.queue)?);
        let config = Config {
            formats: self.formats,
            taken,
            size: self.size,
            framerate: self.framerate,
            buffers: self.buffers,
            budget: self.budget,
            unguarded: self.unguarded,
            timelines: self.timelines,
            target: id,
            autoconnect,
        };
        let thread = LoopThread::spawn(self.connection, Arc::clone(&shared.commands), {
            let shared = Arc::clone(&shared);
            move || Worker::new(config, shared)
        })?;
        Ok(CaptureStream {
            shared,
            taken,
            thread,
        })
    }
}
