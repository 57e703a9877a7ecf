//! Frames in, converted and filtered frames out.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_core::report::{Hop, PathReport};
use dmaframe_core::{Budget, ColorInfo, Fourcc, Frame, Size, Starvation};

use super::{Converter, Effect, ExportPool, Exporting, Gpu, Importer, Target, texture, wgpu};
use crate::convert::upright;
use crate::{Conversion, Error, ExportMemory, ImportOptions, Route};

/// How many frames go by before imports are looked through for those whose buffers are gone: cameras come and go.
const TIDY: u64 = 64;

/// What cameras, recorders and virtual cameras do with every frame, in one call: import, convert, apply an
/// [`Effect`], and export into memory that encoders, displays and other processes take. The CPU touches no pixel where
/// the device imports and exports dma-bufs; where it does not, the hops and [`Processor::reasons`] say so.
///
/// Textures and the [`ExportPool`] are made for the first frame, and anew when frames change their size or their colour: what
/// comes out says what it is.
///
#[cfg_attr(feature = "wgpu-30", doc = "```no_run")]
#[cfg_attr(not(feature = "wgpu-30"), doc = "```ignore")]
/// # use dmaframe_core::{Frame, Fourcc, report::PathReport};
/// # use dmaframe_wgpu::v30::{Effect, Processor, open_best, wgpu};
/// # fn frames() -> Vec<Frame> { Vec::new() }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gpu = open_best()?;
/// let grey = "fn effect(uv: vec2f) -> vec4f { return vec4f(vec3f(luma(sample(uv).rgb)), 1.0); }";
/// let effect = Effect::new(&gpu, "grey", grey, wgpu::TextureFormat::Rgba8Unorm)?;
/// let path = PathReport::new();
/// let mut processor = Processor::builder(&gpu).effect(effect).report(&path).build();
/// for frame in frames() {
///     let grey: Frame = processor.run(&frame)?; // NV12 in a dma-buf, with its completion fence
/// }
/// println!("{path}"); // wgpu:buffer -> effect(grey) -> export NV12 (exported dma-buf)   CPU bytes/frame: 0
/// # Ok(()) }
/// ```
pub struct Processor {
    gpu: Gpu,
    options: Options,
    importer: Importer,
    converter: Converter,
    effect: Option<Effect>,
    hops: Vec<(Route, Arc<Hop>)>,
    drawn: Option<Arc<Hop>>,
    /// Of every pool in such memory, one after the other.
    exported: Vec<(ExportMemory, Arc<Hop>)>,
    stage: Option<Stage>,
    start: Instant,
    frames: u64,
}

#[derive(Clone, Debug)]
struct Options {
    fourcc: Fourcc,
    size: Option<Size>,
    color: Option<ColorInfo>,
    slots: usize,
    budget: Option<Budget>,
    conversion: Conversion,
    import: ImportOptions,
    /// Whether `DMAFRAME_ROUTES` and `DMAFRAME_EXPORT` count.
    env: bool,
    patience: Duration,
    path: PathReport,
}

/// What belongs to one size and colour of pictures.
struct Stage {
    size: Size,
    /// What the pool was asked to say of its pictures.
    color: ColorInfo,
    /// What the effect reads; without an effect the converter writes into the pool's own texture.
    picture: Option<wgpu::TextureView>,
    pool: ExportPool,
}

/// What a processor is to do; made by [`Processor::builder`].
#[derive(Debug)]
#[must_use = "nothing is made before ProcessorBuilder::build"]
pub struct ProcessorBuilder {
    gpu: Gpu,
    options: Options,
    effect: Option<Effect>,
}

impl ProcessorBuilder {
    /// Applies an effect, compiled for `Rgba8Unorm`.
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = Some(effect);
        self
    }

    /// The format of what comes out, one of [`ExportPool::builder`]'s: NV12 unless said otherwise.
    pub fn fourcc(mut self, fourcc: Fourcc) -> Self {
        self.options.fourcc = fourcc;
        self
    }

    /// Scales every picture to this size, for consumers that cannot take another once they run. Unless said otherwise
    /// each is as large as the visible part of its frame, upright.
    pub fn size(mut self, size: Size) -> Self {
        self.options.size = Some(size);
        self
    }

    /// The colour of what comes out; that of the frames unless said otherwise.
    pub fn color(mut self, color: ColorInfo) -> Self {
        self.options.color = Some(color);
        self
    }

    /// How many pictures can be out at once ([`ExportBuilder::slots`](super::ExportBuilder::slots)).
    pub fn slots(mut self, slots: usize) -> Self {
        self.options.slots = slots;
        self
    }

    /// As [`ExportBuilder::budget`](super::ExportBuilder::budget).
    pub fn budget(mut self, budget: Budget) -> Self {
        self.options.budget = Some(budget);
        self
    }

    /// How frames are converted: cropped, turned, and what is assumed about colour that they do not state.
    pub fn conversion(mut self, conversion: Conversion) -> Self {
        self.options.conversion = conversion;
        self
    }

    /// How frames are imported.
    pub fn import(mut self, import: ImportOptions) -> Self {
        self.options.import = import;
        self
    }

    /// Switches routes and kinds of memory off that `DMAFRAME_ROUTES` ([`ImportOptions::from_env`]) and
    /// `DMAFRAME_EXPORT` ([`ExportBuilder::env`](super::ExportBuilder::env)) name: for finding out on a user's machine
    /// which of them is what is wrong.
    ///
    /// # Errors
    /// [`Error::Routes`].
    pub fn env(mut self) -> Result<Self, Error> {
        if std::env::var_os("DMAFRAME_ROUTES").is_some() {
            self.options.import = self.options.import.routes(ImportOptions::from_env()?.routes);
        }
        self.options.env = true;
        Ok(self)
    }

    /// How long [`Processor::run`] waits for a free slot, and for the GPU where the device has no fences: 2 s unless said
    /// otherwise.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.options.patience = patience;
        self
    }

    /// The path that the processor's hops are added to, when the first frame shows what they are.
    pub fn report(mut self, path: &PathReport) -> Self {
        self.options.path = path.clone();
        self
    }

    /// The processor. Memory is allocated at the first frame.
    #[must_use]
    pub fn build(self) -> Processor {
        Processor {
            importer: Importer::with_options(&self.gpu, self.options.import.clone()),
            converter: Converter::new(&self.gpu),
            gpu: self.gpu,
            options: self.options,
            effect: self.effect,
            hops: Vec::new(),
            drawn: None,
            exported: Vec::new(),
            stage: None,
            start: Instant::now(),
            frames: 0,
        }
    }
}

impl Processor {
    /// A processor on this device.
    pub fn builder(gpu: &Gpu) -> ProcessorBuilder {
        ProcessorBuilder {
            gpu: gpu.clone(),
            options: Options {
                fourcc: Fourcc::NV12,
                size: None,
                color: None,
                slots: 4,
                budget: None,
                conversion: Conversion::default(),
                import: ImportOptions::default(),
                env: false,
                patience: Duration::from_secs(2),
                path: PathReport::new(),
            },
            effect: None,
        }
    }

    /// The picture of `frame`, processed. Its time, sequence and extensions go along; the frame goes home when the GPU has
    /// read it.
    ///
    /// Waits, [`ProcessorBuilder::patience`] at most, for a slot to come home, and for the picture itself where the device
    /// exports no fences.
    ///
    /// # Errors
    /// [`Error::NoRoute`], [`Error::Convert`], [`Error::NoExportMemory`], [`Error::Starved`] when consumers hold all
    /// slots, [`Error::NotReady`], [`Error::DeviceLost`] and the others of [`Importer::import`], [`Gpu::submit`] and
    /// [`ExportBuilder::build`](super::ExportBuilder::build): [`Error::Vulkan`] for a picture larger than the device's textures.
    /// Nothing is left behind; the next frame may do.
    pub fn run(&mut self, frame: &Frame) -> Result<Frame, Error> {
        let patience = self.options.patience;
        self.start(frame)?
            .frame(patience)
            .map_err(|rejected| rejected.error)
    }

    /// [`Processor::run`] that does not wait for the GPU: for those who have several pictures on their way.
    ///
    /// # Errors
    /// As [`Processor::run`].
    pub fn start(&mut self, frame: &Frame) -> Result<Exporting, Error> {
        self.frames += 1;
        if self.frames.is_multiple_of(TIDY) {
            // What is bound keeps them too.
            if self.importer.trim() != 0 {
                self.converter.trim();
            }
        }
        let imported = self.importer.import(frame)?;
        self.count_import(frame, imported.route());
        let stage = self.stage(frame)?;
        let made = self.record(&stage, &imported, frame);
        if made.is_ok() {
            let bytes = 4 * u64::from(stage.size.width) * u64::from(stage.size.height);
            if let Some(hop) = &self.drawn {
                hop.gpu_copy(bytes, "rendered");
            }
        }
        self.stage = Some(stage);
        made
    }

    fn record(&self, stage: &Stage, imported: &super::Imported, frame: &Frame) -> Result<Exporting, Error> {
        let target = stage.pool.acquire(self.options.patience)?;
        let descriptor = wgpu::CommandEncoderDescriptor {
            label: Some("dmaframe process"),
        };
        let mut encoder = self.gpu.device().create_command_encoder(&descriptor);
        let output = target.try_view()?;
        let colors = stage.picture.as_ref().unwrap_or(&output);
        self.converter.record(
            &mut encoder,
            imported.into(),
            &Target::new(colors),
            &self.options.conversion,
        )?;
        if let (Some(effect), Some(picture)) = (&self.effect, &stage.picture) {
            effect.encode(&mut encoder, picture, &output, self.start.elapsed().as_secs_f32());
        }
        self.gpu.submit(&[imported], [encoder.finish()])?;
        target.submit([], frame.meta())
    }

    /// [`ProcessorBuilder::size`], from the next frame on: the size of the first one, say, once a recording has begun.
    pub fn set_size(&mut self, size: Option<Size>) {
        self.options.size = size;
    }

    /// The effect, to [`Effect::replace`] it.
    pub fn effect_mut(&mut self) -> Option<&mut Effect> {
        self.effect.as_mut()
    }

    /// Where pictures go; `None` before the first frame. A new one when the size or the colour changes.
    #[must_use]
    pub fn pool(&self) -> Option<&ExportPool> {
        self.stage.as_ref().map(|stage| &stage.pool)
    }

    /// The device.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Why things are not better than they are: routes that refused, memory that could not be had, and what the
    /// environment switched off. Empty when nothing is copied by the CPU and nothing was refused.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.options.env && std::env::var_os("DMAFRAME_ROUTES").is_some() {
            let routes = &self.options.import.routes;
            reasons.push(format!("DMAFRAME_ROUTES leaves the routes {routes}"));
        }
        let verdicts = self.importer.verdicts().into_iter();
        let refused = verdicts.filter(|verdict| verdict.refusal.is_some());
        reasons.extend(refused.map(|verdict| format!("import of {verdict}")));
        if let Some(stage) = &self.stage {
            reasons.extend(stage.pool.passed_over().iter().map(ToString::to_string));
            if stage.pool.memory() == ExportMemory::Readback {
                reasons.push("the processed pictures are CPU memory".into());
            }
        }
        reasons
    }

    /// The stage for this frame's upright part, or the size that all are to have.
    fn stage(&mut self, frame: &Frame) -> Result<Stage, Error> {
        let (meta, conversion) = (frame.meta(), &self.options.conversion);
        let size = self.options.size.unwrap_or_else(|| {
            let crop = conversion.crop.unwrap_or_else(|| frame.visible());
            upright(crop, conversion.orientation.unwrap_or(meta.orientation))
        });
        let color = self.options.color.unwrap_or(meta.color);
        match self.stage.take() {
            Some(stage) if (stage.size, stage.color) == (size, color) => Ok(stage),
            _ => self.new_stage(size, color),
        }
    }

    fn new_stage(&mut self, size: Size, color: ColorInfo) -> Result<Stage, Error> {
        let options = &self.options;
        let picture = match &self.effect {
            Some(_) => {
                let more = wgpu::TextureUsages::empty();
                let texture = texture::rgba(self.gpu.device(), "dmaframe picture", size, more)?;
                Some(texture::view(self.gpu.device(), &texture)?)
            }
            None => None,
        };
        let mut builder = ExportPool::builder(&self.gpu, options.fourcc, size)
            .color(color)
            .slots(options.slots)
            .budget(options.budget.unwrap_or(Budget {
                min_free: 0,
                policy: Starvation::Drop,
            }));
        if options.env {
            builder = builder.env()?;
        }
        let mut pool = builder.build()?;
        if let (Some(effect), None) = (&self.effect, &self.drawn) {
            self.drawn = Some(options.path.hop(format!("effect({})", effect.name())));
        }
        let memory = pool.memory();
        match self.exported.iter().find(|(known, _)| *known == memory) {
            Some((_, hop)) => pool.count_in(Arc::clone(hop)),
            None => {
                options.path.add(pool.hop());
                self.exported.push((memory, pool.hop()));
            }
        }
        Ok(Stage {
            size,
            color,
            picture,
            pool,
        })
    }

    /// What the import cost.
    fn count_import(&mut self, frame: &Frame, route: Route) {
        let known = self.hops.iter().position(|(known, _)| *known == route);
        let index = known.unwrap_or_else(|| {
            let hop = self.options.path.hop(format!("wgpu:{route}"));
            self.hops.push((route, hop));
            self.hops.len() - 1
        });
        let Some((_, hop)) = self.hops.get(index) else {
            return;
        };
        let bytes = frame.layout().tight_len();
        match route {
            Route::HostPointer => hop.gpu_copy(bytes, "the GPU copies the CPU's pages"),
            Route::Upload => hop.cpu_copy(bytes, "no better route took the frame"),
            _ => hop.zero_copy(),
        }
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor")
            .field("effect", &self.effect)
            .field("pool", &self.pool())
            .finish_non_exhaustive()
    }
}
