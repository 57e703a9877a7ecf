//! Frames in a window, with the window's surface.

use std::fmt;
use std::time::Duration;

use dmaframe_core::report::PathReport;
use dmaframe_core::{Fourcc, Frame, Orientation, Size};

use super::scope::scoped;
use super::{ExportPool, Gpu, Submission, Target, Viewer, open_for, version, wgpu};
use crate::timing::{Clocks, Moment};
use crate::{Area, Error, ImportOptions, Timing};

/// How long frames may be on their way home before a surface changes.
const SETTLE: Duration = Duration::from_secs(2);

/// A [`Viewer`] and the surface of a window to show it in: opened, configured anew as the window changes, made anew when it
/// is lost, and waited for as the screen refreshes.
///
/// The window itself and its events are the application's (winit's, SDL's, a toolkit's); an application that owns the
/// surface too, as toolkits do, takes a [`Viewer`] alone.
///
/// For each redraw: [`Presenter::turn`], then take the newest frame, then [`Presenter::show`].
pub struct Presenter {
    viewer: Viewer,
    gpu: Gpu,
    instance: wgpu::Instance,
    /// The window again, should the surface be lost.
    window: Box<dyn Fn() -> wgpu::SurfaceTarget<'static>>,
    surface: wgpu::Surface<'static>,
    config: wgpu::SurfaceConfiguration,
    describe: String,
    refresh: Duration,
    timing: Timing,
    clocks: Clocks,
    /// Whether the GPU is made of software.
    software: bool,
    last: Option<Submission>,
}

/// A picture of the screen to draw into.
#[derive(Debug)]
pub struct Turn {
    texture: wgpu::SurfaceTexture,
    begun: Moment,
    behind: bool,
}

/// What is drawn over the picture: a user interface.
pub trait Overlay {
    /// Before the pass: uploads, recorded into the encoder or as commands of their own.
    fn prepare(
        &mut self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        size: Size,
    ) -> Vec<wgpu::CommandBuffer>;

    /// Into the pass, above the picture.
    fn paint(&mut self, pass: &mut wgpu::RenderPass<'static>);
}

impl Presenter {
    /// Opens a device of our own that can draw into this window, `size` pixels large. `path` gets a hop for the route that
    /// frames take.
    ///
    /// # Errors
    /// [`Error::Wgpu`] when no Vulkan device can draw into it, or none of the surface's formats takes bytes as they are.
    pub fn open(
        window: impl Into<wgpu::SurfaceTarget<'static>> + Clone + 'static,
        size: Size,
        options: ImportOptions,
        path: &PathReport,
    ) -> Result<Self, Error> {
        let window = Box::new(move || window.clone().into());
        let instance = version::instance();
        let surface = create(&instance, window())?;
        let (gpu, adapter) = open_for(&instance, &surface)?;
        let refused = |text: String| Error::Wgpu {
            call: "get_default_config",
            text,
        };
        let mut config = surface
            .get_default_config(&adapter, size.width.max(1), size.height.max(1))
            .ok_or_else(|| refused("the window takes no pictures of this GPU".into()))?;
        // The viewer's values are encoded already.
        let plain = [wgpu::TextureFormat::Bgra8Unorm, wgpu::TextureFormat::Rgba8Unorm];
        let formats = surface.get_capabilities(&adapter).formats;
        let found = plain.into_iter().find(|format| formats.contains(format));
        config.format =
            found.ok_or_else(|| refused(format!("the window takes {formats:?}, none of {plain:?}")))?;
        config.present_mode = wgpu::PresentMode::Fifo;
        surface.configure(gpu.device(), &config);
        Ok(Self {
            describe: format!("{}, {}", adapter.get_info().name, gpu.level()),
            viewer: Viewer::new(&gpu, options, path),
            refresh: Duration::from_secs(1) / 60,
            timing: Timing::default(),
            clocks: Clocks::open(),
            software: adapter.get_info().device_type == wgpu::DeviceType::Cpu,
            last: None,
            gpu,
            instance,
            window,
            surface,
            config,
        })
    }

    /// The device.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The GPU's name, and how frames get in and out of it.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.describe
    }

    /// The surface's format, for pipelines of an [`Overlay`].
    #[must_use]
    pub fn format(&self) -> wgpu::TextureFormat {
        self.config.format
    }

    /// What is shown.
    #[must_use]
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// What is shown, to give it an effect.
    pub fn viewer_mut(&mut self) -> &mut Viewer {
        &mut self.viewer
    }

    /// Lets go of imports whose buffers nobody else has any more ([`Viewer::trim`]): when a camera is gone.
    pub fn trim(&self) -> usize {
        self.viewer.trim()
    }

    /// How regular it went.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// How long the screen shows a picture: what [`Timing::missed`] and [`Timing::starved`] are counted in. 1/60 s unless said otherwise.
    pub fn set_refresh(&mut self, refresh: Duration) {
        self.refresh = refresh.max(Duration::from_micros(1));
    }

    /// The window's size in pixels has changed. Of none, while it is minimised, nothing is drawn.
    ///
    /// # Errors
    /// [`Error::Wgpu`] when the surface does not take that size.
    pub fn resize(&mut self, size: Size) -> Result<(), Error> {
        (self.config.width, self.config.height) = (size.width, size.height);
        self.configure()
    }

    fn configure(&self) -> Result<(), Error> {
        if self.config.width == 0 || self.config.height == 0 {
            return Ok(());
        }
        let configure = || {
            // wgpu waits until the queue is empty, and refuses when something is submitted meanwhile: as the thread does that
            // takes fences out of drivers that block in it.
            self.gpu.settle(SETTLE);
            let configure = || self.surface.configure(self.gpu.device(), &self.config);
            scoped(self.gpu.device(), "configure", configure)
        };
        configure().or_else(|_| configure())
    }

    /// The screen's next picture; blocks until the screen takes one. `None`: there is none to be had now, for the window is
    /// hidden or has just changed; ask again when it is to be redrawn.
    ///
    /// # Errors
    /// [`Error::Wgpu`] when the surface was lost and cannot be made anew, or wgpu refuses it.
    pub fn turn(&mut self) -> Result<Option<Turn>, Error> {
        if self.config.width == 0 || self.config.height == 0 {
            return Ok(None);
        }
        let behind = self.last.as_ref().is_some_and(|last| !last.is_done());
        let found = version::next_texture(&self.surface);
        match found {
            Next::Texture(texture) => {
                return Ok(Some(Turn {
                    texture,
                    begun: self.clocks.now(),
                    behind,
                }));
            }
            Next::Later => {}
            Next::Outdated => self.configure()?,
            Next::Lost => {
                self.surface = create(&self.instance, (self.window)())?;
                self.configure()?;
            }
            Next::Refused => {
                return Err(Error::Wgpu {
                    call: "get_current_texture",
                    text: "the window's surface cannot be drawn into".into(),
                });
            }
        }
        Ok(None)
    }

    /// Draws the frame, or without one the last one again, turned like that, in proportion and centred on black, the
    /// overlay above, and gives it to the screen.
    ///
    /// # Errors
    /// Those of [`Viewer::update`], [`Viewer::draw`] and [`Viewer::submit`].
    pub fn show(
        &mut self,
        turn: Turn,
        frame: Option<&Frame>,
        turned: Orientation,
        mut overlay: Option<&mut dyn Overlay>,
    ) -> Result<(), Error> {
        let size = Size::new(self.config.width, self.config.height);
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        self.viewer.update(&mut encoder, frame)?;
        let before = overlay
            .as_mut()
            .map_or_else(Vec::new, |overlay| overlay.prepare(&self.gpu, &mut encoder, size));
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
        if let Some(picture) = self.viewer.size(turned) {
            let area = Area::fitting(picture, size);
            self.viewer.draw(&mut pass, self.config.format, area, turned)?;
        }
        if let Some(overlay) = overlay {
            overlay.paint(&mut pass);
        }
        drop(pass);
        let commands = before.into_iter().chain([encoder.finish()]);
        self.last = Some(self.viewer.submit(commands)?);
        version::present(&self.gpu, turn.texture);
        let making = (turn.begun, self.clocks.now());
        self.timing
            .count(making, self.refresh, turn.behind, self.software);
        Ok(())
    }

    /// What is shown, in the picture's own size, as an RGBA frame in memory that others can take. `None` before the first.
    /// Blocks until the GPU has drawn it, at most two seconds.
    ///
    /// # Errors
    /// Those of [`ExportPool`].
    pub fn snapshot(&self, turned: Orientation) -> Result<Option<Frame>, Error> {
        let Some(size) = self.viewer.size(turned) else {
            return Ok(None);
        };
        let pool = ExportPool::builder(&self.gpu, Fourcc::ABGR8888, size)
            .slots(1)
            .build()?;
        let target = pool.try_acquire()?;
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        self.viewer
            .draw_to(&mut encoder, &Target::new(&target.view()), turned)?;
        let exporting = target.submit([encoder.finish()], &Default::default())?;
        let frame = exporting.frame(Duration::from_secs(2));
        Ok(Some(frame.map_err(|rejected| rejected.error)?))
    }
}

/// A surface's next texture, in every version's words.
pub(crate) enum Next {
    Texture(wgpu::SurfaceTexture),
    /// Hidden, or slow.
    Later,
    /// To be configured anew.
    Outdated,
    /// To be made anew.
    Lost,
    Refused,
}

fn create(
    instance: &wgpu::Instance,
    target: wgpu::SurfaceTarget<'static>,
) -> Result<wgpu::Surface<'static>, Error> {
    instance.create_surface(target).map_err(|error| Error::Wgpu {
        call: "create_surface",
        text: error.to_string(),
    })
}

impl fmt::Debug for Presenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presenter")
            .field("on", &self.describe)
            .field("viewer", &self.viewer)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}
