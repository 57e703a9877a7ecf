//! The GPU's half of the window: a frame is imported and converted into a texture, and that drawn onto the screen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use dmaframe::report::{Hop, PathReport};
use dmaframe::{Fourcc, Frame, Orientation, Size, convert};
use dmaframe_wgpu::v30::{
    Converter, Gpu, Importer, PassTarget, Picture, PlaneTexture, Source, Submission, Target, open_device,
    wgpu,
};
use dmaframe_wgpu::{Area, Assume, Conversion, ImportOptions, Route};
use winit::dpi::PhysicalSize;
use winit::window::Window;

use super::overlay::{Info, Overlay};
use crate::gpu::now;

/// What a window needs of a GPU.
pub(super) struct Screen {
    pub(super) window: Arc<Window>,
    instance: wgpu::Instance,
    surface: wgpu::Surface<'static>,
    config: wgpu::SurfaceConfiguration,
    gpu: Gpu,
    name: String,
    importer: Importer,
    converter: Converter,
    overlay: Overlay,
    /// The last picture, upright: shown again when the window changes and no new one is there.
    picture: Option<Shown>,
    path: PathReport,
    hops: Option<(Route, Arc<Hop>)>,
    last: Option<Submission>,
}

struct Shown {
    size: Size,
    view: wgpu::TextureView,
    source: Source,
}

/// A picture of the screen to draw into, and how long the screen made us wait for it.
pub(super) struct Turn {
    texture: wgpu::SurfaceTexture,
    pub(super) waited: Duration,
}

impl Screen {
    pub(super) fn open(window: Arc<Window>, path: &PathReport) -> Result<Self> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN;
        let instance = wgpu::Instance::new(descriptor);
        let surface = instance.create_surface(Arc::clone(&window))?;
        let options = wgpu::RequestAdapterOptions {
            compatible_surface: Some(&surface),
            ..Default::default()
        };
        let adapter = now(instance.request_adapter(&options)).context(
            "no GPU with Vulkan can draw into a window here: install its driver (on Debian: mesa-vulkan-drivers, \
             which also brings one that needs no GPU), or run `camera` without `preview`",
        )?;
        let limits = wgpu::Limits::downlevel_defaults().using_resolution(adapter.limits());
        let gpu = open_device(
            &adapter,
            &wgpu::DeviceDescriptor {
                required_limits: limits,
                ..Default::default()
            },
        )?;
        let PhysicalSize { width, height } = window.inner_size();
        let mut config = surface
            .get_default_config(&adapter, width.max(1), height.max(1))
            .context("the window takes no pictures of this GPU")?;
        // Bytes go to the screen as they are: the converter's and egui's are encoded already.
        let formats = surface.get_capabilities(&adapter).formats;
        let plain = [wgpu::TextureFormat::Bgra8Unorm, wgpu::TextureFormat::Rgba8Unorm];
        config.format = *plain
            .iter()
            .find(|format| formats.contains(format))
            .ok_or_else(|| anyhow!("the window takes {formats:?}, and none of {plain:?}"))?;
        config.present_mode = wgpu::PresentMode::Fifo;
        surface.configure(gpu.device(), &config);
        Ok(Self {
            name: format!("{}, {}", adapter.get_info().name, gpu.level()),
            overlay: Overlay::new(gpu.device(), config.format),
            importer: Importer::with_options(&gpu, ImportOptions::from_env()?),
            converter: Converter::new(&gpu),
            picture: None,
            path: path.clone(),
            hops: None,
            last: None,
            window,
            instance,
            surface,
            config,
            gpu,
        })
    }

    /// The GPU, and how frames get in and out of it.
    pub(super) fn describe(&self) -> &str {
        &self.name
    }

    /// Whether the GPU still draws the picture before.
    pub(super) fn is_behind(&self) -> bool {
        self.last.as_ref().is_some_and(|last| !last.is_done())
    }

    pub(super) fn resize(&mut self, size: PhysicalSize<u32>) {
        (self.config.width, self.config.height) = (size.width, size.height);
        self.configure();
    }

    fn configure(&self) {
        // A window may be that small while it is moved about.
        if self.config.width != 0 && self.config.height != 0 {
            self.surface.configure(self.gpu.device(), &self.config);
        }
    }

    /// The next picture of the screen. `None` where there is none to be had now: hidden, or it has just changed.
    pub(super) fn turn(&mut self) -> Result<Option<Turn>> {
        use wgpu::CurrentSurfaceTexture as Current;
        if self.config.width == 0 || self.config.height == 0 {
            return Ok(None);
        }
        let begin = Instant::now();
        let found = self.surface.get_current_texture();
        let waited = begin.elapsed();
        match found {
            Current::Success(texture) | Current::Suboptimal(texture) => Ok(Some(Turn { texture, waited })),
            Current::Timeout | Current::Occluded => Ok(None),
            Current::Outdated => {
                self.configure();
                self.window.request_redraw();
                Ok(None)
            }
            Current::Lost => {
                self.surface = self.instance.create_surface(Arc::clone(&self.window))?;
                self.configure();
                self.window.request_redraw();
                Ok(None)
            }
            Current::Validation => bail!("the window's surface cannot be drawn into"),
        }
    }

    /// Draws the frame, or the last one again, turned as told, with the info above it, and shows it.
    pub(super) fn show(
        &mut self,
        turn: Turn,
        frame: Option<&Frame>,
        turned: Orientation,
        info: &Info,
    ) -> Result<()> {
        let device = self.gpu.device();
        let mut encoder = device.create_command_encoder(&Default::default());
        let imported = match frame {
            Some(frame) => Some(self.importer.import(frame).context("importing the frame")?),
            None => None,
        };
        if let Some(imported) = &imported {
            self.count(imported.frame(), imported.route());
            let view = self
                .picture(convert::Converter::size(imported.frame()))
                .view
                .clone();
            let conversion = Conversion::assuming(Assume::Auto);
            self.converter
                .encode(&mut encoder, imported, &Target::new(&view), &conversion)?;
        }
        let size = [self.config.width, self.config.height];
        let written = !info.lines.is_empty() || info.message.is_some();
        let mut painted = written.then(|| {
            let scale = self.window.scale_factor() as f32;
            self.overlay.prepare(&self.gpu, &mut encoder, (size, scale), info)
        });
        let view = turn.texture.texture.create_view(&Default::default());
        let mut pass = encoder
            .begin_render_pass(&wgpu::RenderPassDescriptor {
                label: Some("window"),
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: &view,
                    depth_slice: None,
                    resolve_target: None,
                    ops: wgpu::Operations {
                        load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                        store: wgpu::StoreOp::Store,
                    },
                })],
                ..Default::default()
            })
            .forget_lifetime();
        if let Some(Shown { size, source, .. }) = &self.picture {
            let mut picture = Picture::new(source, Fourcc::ABGR8888, *size);
            picture.orientation = turned;
            let area = letterbox(*size, turned, &self.config);
            let target = PassTarget::new(self.config.format, area);
            let conversion = Conversion::assuming(Assume::Auto);
            self.converter
                .encode_into(&mut pass, picture, &target, &conversion)?;
        }
        if let Some(painted) = &painted {
            self.overlay.paint(&mut pass, painted);
        }
        drop(pass);
        let commands = painted.take().map(|painted| painted.commands).unwrap_or_default();
        let imports: Vec<_> = imported.iter().collect();
        let all = commands.into_iter().chain([encoder.finish()]);
        self.last = Some(self.gpu.submit(&imports, all)?);
        // The camera has its buffer back as soon as the GPU has read it.
        drop(imported);
        self.window.pre_present_notify();
        self.gpu.queue().present(turn.texture);
        Ok(())
    }

    /// The texture for pictures of this size.
    fn picture(&mut self, size: Size) -> &Shown {
        let shown = match self.picture.take().filter(|shown| shown.size == size) {
            Some(shown) => shown,
            None => Shown::new(self.gpu.device(), size),
        };
        self.picture.insert(shown)
    }

    /// What the import cost.
    fn count(&mut self, frame: &Frame, route: Route) {
        let (_, hop) = match self.hops.take() {
            Some(known) if known.0 == route => self.hops.insert(known),
            _ => self.hops.insert((route, self.path.hop(format!("wgpu:{route}")))),
        };
        let bytes = frame.layout().tight_len();
        match route {
            Route::HostPointer => hop.gpu_copy(bytes, "the GPU copies the CPU's pages"),
            Route::Upload => hop.cpu_copy(bytes, "no better route took the frame: the notes say why"),
            _ => hop.zero_copy(),
        }
    }

    /// Why things are not better than they are.
    pub(super) fn reasons(&self) -> Vec<String> {
        let verdicts = self.importer.verdicts().into_iter();
        verdicts
            .filter(|verdict| verdict.refusal.is_some())
            .map(|verdict| format!("import of {verdict}"))
            .collect()
    }
}

impl Shown {
    fn new(device: &wgpu::Device, size: Size) -> Self {
        let Size { width, height } = size;
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("picture"),
            size: wgpu::Extent3d {
                width,
                height,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT
                | wgpu::TextureUsages::STORAGE_BINDING
                | wgpu::TextureUsages::TEXTURE_BINDING,
            view_formats: &[],
        });
        let view = texture.create_view(&Default::default());
        let plane = PlaneTexture {
            texture,
            width,
            height,
        };
        let source = Source::Textures([plane].into_iter().collect());
        Self { size, view, source }
    }
}

/// As large as fits, in the middle, on whole pixels.
fn letterbox(size: Size, turned: Orientation, to: &wgpu::SurfaceConfiguration) -> Area {
    let (width, height) = match turned.swaps_axes() {
        true => (size.height as f32, size.width as f32),
        false => (size.width as f32, size.height as f32),
    };
    let (full_width, full_height) = (to.width as f32, to.height as f32);
    let scale = (full_width / width).min(full_height / height);
    let width = (width * scale).round().clamp(1.0, full_width);
    let height = (height * scale).round().clamp(1.0, full_height);
    Area {
        x: ((full_width - width) / 2.0).floor(),
        y: ((full_height - height) / 2.0).floor(),
        width,
        height,
    }
}
