//! Choices before a stream starts.

use std::sync::Arc;

use dmaframe_core::{Budget, Buffer, FrameMeta, Orientation, Starvation};
use libcamera::camera::CameraConfigurationStatus;
use libcamera::control::Control;
use libcamera::control_value::ControlValue;
use libcamera::framebuffer_allocator::FrameBufferAllocator;
use libcamera::stream::StreamRole;
use rustix::event::epoll;

use super::import::import_one;
use super::stream::Stream;
use super::{Capture, ReleaseFences};
use crate::camera::Camera;
use crate::color;
use crate::error::Error;
use crate::format::{PixelFormat, Role, StreamFormat, StreamRequest};
use crate::sys::FrameMemory;

/// Which streams to capture; made by [`Capture::builder`].
#[derive(Debug)]
#[must_use = "nothing is captured before `start`"]
pub struct CaptureBuilder {
    camera: Camera,
    requests: Vec<StreamRequest>,
}

/// Buffers by default: two for the camera to fill, four for consumers.
const BUFFERS: u32 = 6;

impl CaptureBuilder {
    pub(super) fn new(camera: Camera) -> Self {
        Self {
            camera,
            requests: Vec::new(),
        }
    }

    /// Adds a stream. All streams are filled together, from one exposure where the camera can: the order of the calls is
    /// the order of the streams' indices.
    pub fn stream(mut self, request: StreamRequest) -> Self {
        self.requests.push(request);
        self
    }

    /// Configures the camera, without buffers yet: for callers who want to see the formats first, or to bring buffers.
    ///
    /// # Errors
    /// [`Error::Roles`], [`Error::FormatRefused`], [`Error::UnmappedFormat`], [`Error::Unplugged`], [`Error::Call`]. The
    /// camera is released with the error.
    pub fn configure(self) -> Result<Configured, Error> {
        let Self { mut camera, requests } = self;
        let id = camera.id().to_owned();
        let asked: Vec<Role> = requests.iter().map(|request| request.role).collect();
        let refused = |reason| Error::Roles {
            camera: id.clone(),
            asked: asked.clone(),
            reason,
        };
        if requests.is_empty() {
            return Err(refused("none was asked for"));
        }
        let roles: Vec<StreamRole> = asked.iter().map(|role| (*role).into()).collect();
        let config = camera.active.generate_configuration(&roles);
        let mut config = config.ok_or_else(|| refused("it has none for these roles, or not together"))?;
        if config.len() != requests.len() {
            return Err(refused("libcamera proposed fewer streams"));
        }
        for (index, request) in requests.iter().enumerate() {
            let Some(mut stream) = config.get_mut(index) else {
                continue;
            };
            if let Some(size) = request.size {
                stream.set_size(libcamera::geometry::Size::new(size.width, size.height));
            }
            if let Some(format) = request.format {
                stream.set_pixel_format(format.to_libcamera());
            }
            stream.set_buffer_count(request.buffers.unwrap_or(BUFFERS));
        }
        if matches!(config.validate(), CameraConfigurationStatus::Invalid) {
            return Err(refused("libcamera found no valid configuration near it"));
        }
        if config.len() != requests.len() {
            return Err(refused("it has fewer streams"));
        }
        let mut formats = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            formats.push(format_of(&id, &config, index, request)?);
        }
        camera
            .active
            .configure(&mut config)
            .map_err(Error::call(&id, "Camera::configure"))?;
        let streams: Vec<_> = (0..config.len())
            .filter_map(|index| config.get(index).and_then(|stream| stream.stream()))
            .collect();
        if streams.len() != requests.len() {
            return Err(refused("libcamera configured a stream without a handle"));
        }
        let orientation = Camera::orientation_of(&config);
        Ok(Configured {
            camera,
            streams: streams.into_iter().zip(formats).collect(),
            imports: requests.iter().map(|_| None).collect(),
            orientation,
            budget: Budget::default(),
            fences: ReleaseFences::default(),
            implicit: false,
            controls: Vec::new(),
        })
    }

    /// [`CaptureBuilder::configure`] and [`Configured::start`] with all defaults.
    ///
    /// # Errors
    /// As those.
    pub fn start(self) -> Result<Capture, Error> {
        self.configure()?.start()
    }
}

fn format_of(
    camera: &str,
    config: &libcamera::camera::CameraConfiguration,
    index: usize,
    request: &StreamRequest,
) -> Result<StreamFormat, Error> {
    let Some(stream) = config.get(index) else {
        return Err(Error::OutOfRange {
            camera: camera.to_owned(),
            what: "stream",
            found: index,
            limit: config.len(),
        });
    };
    let format = PixelFormat::from_libcamera(stream.get_pixel_format());
    if let Some(asked) = request.format.filter(|asked| *asked != format) {
        return Err(Error::FormatRefused {
            camera: camera.to_owned(),
            stream: index,
            asked,
            offered: format,
        });
    }
    let frame = format.frame().map(|(fourcc, _)| fourcc);
    if frame.is_none() && format.codec().is_none() {
        return Err(Error::UnmappedFormat {
            camera: camera.to_owned(),
            stream: index,
            format,
        });
    }
    let size = stream.get_size();
    Ok(StreamFormat {
        role: request.role,
        format,
        size: dmaframe_core::Size::new(size.width, size.height),
        stride: stream.get_stride(),
        frame_size: stream.get_frame_size(),
        buffers: stream.get_buffer_count(),
        color: color::resolve(stream.get_color_space(), frame),
    })
}

/// A configured camera, to be given buffers and started.
#[derive(Debug)]
#[must_use = "nothing is captured before `start`"]
pub struct Configured {
    camera: Camera,
    streams: Vec<(libcamera::stream::Stream, StreamFormat)>,
    imports: Vec<Option<Vec<Arc<Buffer>>>>,
    orientation: Orientation,
    budget: Budget,
    fences: ReleaseFences,
    implicit: bool,
    controls: Vec<(u32, ControlValue)>,
}

impl Configured {
    /// The streams' formats, in the order they were asked for.
    pub fn formats(&self) -> impl ExactSizeIterator<Item = &StreamFormat> {
        self.streams.iter().map(|(_, format)| format)
    }

    /// The camera.
    #[must_use]
    pub fn camera(&self) -> &Camera {
        &self.camera
    }

    /// The caller's dma-bufs for the camera to write stream `stream` into, instead of libcamera's own.
    ///
    /// Each must have the stream's layout ([`StreamFormat::layout`]) in one object. The capture keeps a handle of each
    /// for as long as it lives, and claims it while the camera has it; one that is in somebody's frame is not queued.
    /// CPU views of the frames are slices for private buffers, as pools make them; any other buffer counts as lent
    /// ([`Object::lend`](dmaframe_core::Object::lend)) and its views copy rows out. As many as the stream was configured
    /// for are used at most.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a stream there is not or no buffers; [`Error::BufferLayout`]; [`Error::Layout`] for a
    /// stream of no pictures. The camera is released with the error.
    pub fn import(
        mut self,
        stream: usize,
        buffers: impl IntoIterator<Item = Arc<Buffer>>,
    ) -> Result<Self, Error> {
        let out_of_range = |what, found, limit| Error::OutOfRange {
            camera: self.camera.id().to_owned(),
            what,
            found,
            limit,
        };
        let Some((_, format)) = self.streams.get(stream) else {
            return Err(out_of_range("stream", stream, self.streams.len()));
        };
        let limit = usize::try_from(format.buffers).unwrap_or(usize::MAX);
        let buffers: Vec<_> = buffers.into_iter().take(limit).collect();
        if buffers.is_empty() {
            return Err(out_of_range("buffers to import", 0, limit));
        }
        let layout = format.layout().map_err(|error| Error::Layout {
            camera: self.camera.id().to_owned(),
            stream,
            error,
        })?;
        for (index, buffer) in buffers.iter().enumerate() {
            buffer
                .check_for_device(&layout, &[format.frame_size.into()])
                .map_err(|error| Error::BufferLayout {
                    camera: self.camera.id().to_owned(),
                    stream,
                    buffer: index,
                    error,
                })?;
        }
        self.imports[stream] = Some(buffers);
        Ok(self)
    }

    /// How many buffers of each stream stay with the camera, and what consumers get when they hold all others. By default
    /// two, and copies.
    pub fn budget(mut self, min_free: usize, policy: Starvation) -> Self {
        self.budget = Budget { min_free, policy };
        self
    }

    /// Who waits for consumers' release fences. By default this crate.
    pub fn release_fences(mut self, fences: ReleaseFences) -> Self {
        self.fences = fences;
        self
    }

    /// Also waits for the fences that consumers put on the dma-bufs themselves (implicit sync: OpenGL, older compositors)
    /// before a buffer is filled again; by default not. Costs a `poll` per object of each frame that comes back, and an
    /// `EXPORT_SYNC_FILE` (Linux 6.0) where a fence is pending. Nothing blocks on them.
    ///
    /// Without it neither libcamera nor V4L2 looks at a dma-buf's fences: whoever drops a frame while a GPU still reads it
    /// must have said so with [`Frame::release_after`](dmaframe_core::Frame::release_after), or the picture is overwritten
    /// meanwhile.
    pub fn implicit_fences(mut self, wait: bool) -> Self {
        self.implicit = wait;
        self
    }

    /// Asks for so many frames a second (`FrameDurationLimits`); a camera that cannot be asked runs as it does.
    pub fn fps(self, frames: u32) -> Self {
        use libcamera::control::ControlEntry;
        use libcamera::controls::FrameDurationLimits;
        if !self.camera.has_control::<FrameDurationLimits>() {
            return self;
        }
        let micros = i64::from(1_000_000 / frames.max(1));
        let mut this = self;
        this.controls.retain(|(id, _)| *id != FrameDurationLimits::ID);
        this.controls.push((
            FrameDurationLimits::ID,
            FrameDurationLimits([micros, micros]).into(),
        ));
        this
    }

    /// Sets a control from the first picture on.
    ///
    /// # Errors
    /// [`Error::NoControl`]; the camera is released with the error.
    pub fn control<C: Control>(mut self, control: C) -> Result<Self, Error> {
        super::check_control::<C>(&self.camera)?;
        self.controls.retain(|(id, _)| *id != C::ID);
        self.controls.push((C::ID, control.into()));
        Ok(self)
    }

    /// Gets the buffers and starts the streams.
    ///
    /// # Errors
    /// [`Error::Layout`], [`Error::Core`], [`Error::Call`], [`Error::Unplugged`]. The camera is released with the error.
    pub fn start(self) -> Result<Capture, Error> {
        let Self {
            camera,
            streams,
            imports,
            orientation,
            budget,
            fences,
            implicit,
            controls,
        } = self;
        let id = camera.id().to_owned();
        let watcher = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| Error::from_errno(&id, "epoll_create1", errno))?;
        let mut allocator = FrameBufferAllocator::new(&camera.active);
        let mut made = Vec::new();
        for (index, ((handle, format), import)) in streams.into_iter().zip(imports).enumerate() {
            let memories: Vec<FrameMemory> = match &import {
                None => allocator
                    .alloc(&handle)
                    .map_err(Error::call(&id, "FrameBufferAllocator::allocate"))?
                    .into_iter()
                    .map(|buffer| FrameMemory::Allocated(buffer, camera.active.manager()))
                    .collect(),
                Some(buffers) => buffers
                    .iter()
                    .map(|buffer| import_one(&id, &format, buffer))
                    .collect::<Result<_, _>>()?,
            };
            if memories.is_empty() {
                return Err(Error::OutOfRange {
                    camera: id,
                    what: "buffers of a stream",
                    found: 0,
                    limit: usize::try_from(format.buffers).unwrap_or(usize::MAX),
                });
            }
            made.push(Stream::new(
                &id,
                index,
                handle,
                format,
                memories,
                import.as_deref(),
                (budget, fences, implicit),
                &watcher,
            )?);
        }
        let mut meta = FrameMeta::default();
        meta.orientation = orientation;
        let mut capture = Capture::new(camera, made, watcher, meta)?;
        capture.controls = controls;
        capture.start()?;
        Ok(capture)
    }
}
