//! Frames on a screen.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use dmaframe_core::report::{Hop, PathReport};
use dmaframe_core::{Fourcc, Frame, Orientation, Size};

use super::{
    Converter, Effect, Gpu, Imported, Importer, PassTarget, Picture, PlaneTexture, Source, Submission,
    Target, texture, wgpu,
};
use crate::convert::upright;
use crate::{Area, Assume, Conversion, Error, ImportOptions, Route};

/// What a window does with frames: imports and converts each, keeps the picture, applies an [`Effect`] to it, and draws
/// it as often as the window needs, turned and in proportion, whether or not there is a new frame.
///
/// The window is the application's: [`Viewer::draw`] records into its render pass. Nothing here waits for the screen. The
/// camera has its buffer back as soon as the GPU has read it, not when the picture is replaced.
///
#[cfg_attr(feature = "wgpu-30", doc = "```no_run")]
#[cfg_attr(not(feature = "wgpu-30"), doc = "```ignore")]
/// # use dmaframe_core::{Frame, Orientation, Size};
/// # use dmaframe_wgpu::{Area, Error};
/// # use dmaframe_wgpu::v30::{Gpu, Viewer, wgpu};
/// # struct Window { viewer: Viewer, gpu: Gpu, surface: wgpu::Surface<'static> }
/// # impl Window {
/// # fn pass<'e>(&self, encoder: &'e mut wgpu::CommandEncoder, to: &wgpu::Texture) -> wgpu::RenderPass<'e> { todo!() }
/// fn redraw(&mut self, newest: Option<Frame>, to: wgpu::SurfaceTexture) -> Result<(), Error> {
///     let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
///     let turned = Orientation::IDENTITY;
///     self.viewer.update(&mut encoder, newest.as_ref())?;
///     let mut pass = self.pass(&mut encoder, &to.texture);
///     if let Some(size) = self.viewer.size(turned) {
///         let area = Area::fitting(size, Size::new(to.texture.width(), to.texture.height()));
///         self.viewer.draw(&mut pass, to.texture.format(), area, turned)?;
///     }
///     drop(pass);
///     self.viewer.submit([encoder.finish()])?;
///     self.gpu.queue().present(to);
///     Ok(())
/// }
/// # }
/// ```
pub struct Viewer {
    gpu: Gpu,
    importer: Importer,
    converter: Converter,
    effect: Option<Effect>,
    /// The last frame's picture, and what the effect made of it.
    picture: Option<Kept>,
    affected: Option<Kept>,
    /// What the next submission reads.
    imported: Option<Imported>,
    path: PathReport,
    hops: Vec<(Route, Arc<Hop>)>,
    start: Instant,
    updates: u64,
}

/// How many updates go by before imports are looked through for those whose buffers are gone: cameras come and go.
const TIDY: u64 = 64;

/// A texture of ours.
#[derive(Clone)]
struct Kept {
    size: Size,
    view: wgpu::TextureView,
    source: Source,
}

impl Viewer {
    /// A viewer without a picture. `path` gets a hop for the route that frames take.
    #[must_use]
    pub fn new(gpu: &Gpu, options: ImportOptions, path: &PathReport) -> Self {
        Self {
            gpu: gpu.clone(),
            importer: Importer::with_options(gpu, options),
            converter: Converter::new(gpu),
            effect: None,
            picture: None,
            affected: None,
            imported: None,
            path: path.clone(),
            hops: Vec::new(),
            start: Instant::now(),
            updates: 0,
        }
    }

    /// An effect on what is drawn from the next [`Viewer::update`] on, also on the picture that is there already. It is
    /// compiled for `Rgba8Unorm`.
    pub fn set_effect(&mut self, effect: Option<Effect>) {
        self.effect = effect;
    }

    /// The effect, to [`Effect::replace`] it.
    pub fn effect_mut(&mut self) -> Option<&mut Effect> {
        self.effect.as_mut()
    }

    /// Records the conversion of a new frame; without one only the effect, whose time goes on. To be followed by
    /// [`Viewer::submit`] of this encoder.
    ///
    /// Colour that the frame does not state is assumed to be what its size suggests ([`Assume::Auto`]).
    ///
    /// # Errors
    /// Those of [`Importer::import`] and [`Converter::encode`], and [`Error::Vulkan`] with
    /// [`Refusal::TooLarge`](crate::Refusal::TooLarge) when the device has no textures of the picture's size; the picture stays
    /// as it was.
    pub fn update(&mut self, encoder: &mut wgpu::CommandEncoder, frame: Option<&Frame>) -> Result<(), Error> {
        self.updates += 1;
        if self.updates.is_multiple_of(TIDY) {
            self.trim();
        }
        if let Some(frame) = frame {
            let imported = self.importer.import(frame)?;
            let size = upright(frame.visible(), frame.meta().orientation);
            // What is there stays until the next is recorded.
            let picture = Kept::of(self.gpu.device(), self.picture.clone(), size)?;
            let (target, conversion) = (Target::new(&picture.view), Conversion::assuming(Assume::Auto));
            self.converter.encode(encoder, &imported, &target, &conversion)?;
            self.picture = Some(picture);
            self.count(frame, imported.route());
            self.imported = Some(imported);
        }
        if let (Some(effect), Some(picture)) = (&self.effect, &self.picture) {
            let affected = Kept::of(self.gpu.device(), self.affected.clone(), picture.size)?;
            let seconds = self.start.elapsed().as_secs_f32();
            effect.encode(encoder, &picture.view, &affected.view, seconds);
            self.affected = Some(affected);
        }
        Ok(())
    }

    /// Size of the picture, turned like that; `None` before the first frame.
    #[must_use]
    pub fn size(&self, turned: Orientation) -> Option<Size> {
        let Size { width, height } = self.shown()?.size;
        Some(match turned.swaps_axes() {
            true => Size::new(height, width),
            false => Size::new(width, height),
        })
    }

    /// Draws the picture over `area` of a pass with one attachment of `format`, turned. Nothing before the first frame.
    ///
    /// # Errors
    /// Those of [`Converter::encode_into`].
    pub fn draw(
        &self,
        pass: &mut wgpu::RenderPass<'_>,
        format: wgpu::TextureFormat,
        area: Area,
        turned: Orientation,
    ) -> Result<(), Error> {
        if let Some(shown) = self.shown() {
            let target = PassTarget::new(format, area);
            self.converter
                .encode_into(pass, shown.turned(turned), &target, &Conversion::default())?;
        }
        Ok(())
    }

    /// As [`Viewer::draw`], over all of a texture, in a pass of its own: for photos of what is shown.
    ///
    /// # Errors
    /// Those of [`Converter::encode`].
    pub fn draw_to(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        target: &Target<'_>,
        turned: Orientation,
    ) -> Result<(), Error> {
        if let Some(shown) = self.shown() {
            self.converter
                .encode(encoder, shown.turned(turned), target, &Conversion::default())?;
        }
        Ok(())
    }

    /// Submits commands, of which one holds what [`Viewer::update`] recorded: [`Gpu::submit`].
    ///
    /// # Errors
    /// As [`Gpu::submit`].
    pub fn submit(
        &mut self,
        commands: impl IntoIterator<Item = wgpu::CommandBuffer>,
    ) -> Result<Submission, Error> {
        let imported = self.imported.take();
        let imports: Vec<_> = imported.iter().collect();
        self.gpu.submit(&imports, commands)
    }

    /// Lets go of imports whose buffers nobody else has any more, and says how many. [`Viewer::update`] does so now and then,
    /// with a frame or without; this is for a camera that is gone, whose memory is not to wait for that.
    pub fn trim(&self) -> usize {
        let gone = self.importer.trim();
        if gone != 0 {
            // What is bound keeps them too.
            self.converter.trim();
        }
        gone
    }

    /// Why the frames' way is not better than it is.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let verdicts = self.importer.verdicts().into_iter();
        let refused = verdicts.filter(|verdict| verdict.refusal.is_some());
        refused.map(|verdict| format!("import of {verdict}")).collect()
    }

    fn shown(&self) -> Option<&Kept> {
        let affected = self.affected.as_ref().filter(|_| self.effect.is_some());
        affected.or(self.picture.as_ref())
    }

    fn count(&mut self, frame: &Frame, route: Route) {
        let known = self.hops.iter().find(|(known, _)| *known == route);
        let hop = match known {
            Some((_, hop)) => Arc::clone(hop),
            None => {
                let hop = self.path.hop(format!("wgpu:{route}"));
                self.hops.push((route, Arc::clone(&hop)));
                hop
            }
        };
        let bytes = frame.layout().tight_len();
        match route {
            Route::HostPointer => hop.gpu_copy(bytes, "the GPU copies the CPU's pages"),
            Route::Upload => hop.cpu_copy(bytes, "no better route took the frame"),
            _ => hop.zero_copy(),
        }
    }
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer")
            .field("effect", &self.effect)
            .field("picture", &self.picture.as_ref().map(|kept| kept.size))
            .finish_non_exhaustive()
    }
}

impl Kept {
    /// The one there is, if it is of this size.
    fn of(device: &wgpu::Device, known: Option<Self>, size: Size) -> Result<Self, Error> {
        if let Some(known) = known.filter(|known| known.size == size) {
            return Ok(known);
        }
        let Size { width, height } = size;
        let more = wgpu::TextureUsages::empty();
        let texture = texture::rgba(device, "dmaframe picture", size, more)?;
        let view = texture::view(device, &texture)?;
        let plane = PlaneTexture {
            texture,
            width,
            height,
        };
        let source = Source::Textures([plane].into_iter().collect());
        Ok(Self { size, view, source })
    }

    fn turned(&self, orientation: Orientation) -> Picture<'_> {
        let mut picture = Picture::new(&self.source, Fourcc::ABGR8888, self.size);
        picture.orientation = orientation;
        picture
    }
}
