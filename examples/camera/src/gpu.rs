//! The GPU's half of the app: import, convert, filter, export. The CPU touches no pixel.

use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dmaframe::report::{Hop, PathReport};
use dmaframe::{ColorInfo, Fourcc, Frame, Size, convert};
use dmaframe_wgpu::v30::{Converter, ExportPool, Gpu, Importer, Target, open_device, wgpu};
use dmaframe_wgpu::{Conversion, ExportMemory, ImportOptions, Route};

use crate::filter::Filter;

/// How long the GPU may take for a frame, and consumers may hold all slots.
const PATIENCE: Duration = Duration::from_secs(2);

/// wgpu's futures are ready at once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
            return value;
        }
    }
}

/// What filters frames.
pub(crate) struct Filtering {
    gpu: Gpu,
    name: String,
    importer: Importer,
    converter: Converter,
    filter: Filter,
    layout: wgpu::BindGroupLayout,
    pipeline_layout: wgpu::PipelineLayout,
    uniforms: wgpu::Buffer,
    sampler: wgpu::Sampler,
    path: PathReport,
    hops: Option<(Route, Arc<Hop>)>,
    stage: Option<Stage>,
    start: Instant,
}

/// What belongs to one size of pictures.
struct Stage {
    size: Size,
    /// The picture as colours, and the filter's bind group with it.
    input: wgpu::TextureView,
    group: wgpu::BindGroup,
    pool: ExportPool,
    hop: Arc<Hop>,
}

impl Filtering {
    /// Opens the best GPU there is. `None`, and a note why, when there is none.
    pub(crate) fn open(name: &str, path: &PathReport, notes: &mut Vec<String>) -> Result<Option<Self>> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN;
        let instance = wgpu::Instance::new(descriptor);
        let adapter = match now(instance.request_adapter(&wgpu::RequestAdapterOptions::default())) {
            Ok(adapter) => adapter,
            Err(error) => {
                notes.push(format!(
                    "filters need a GPU with Vulkan: '{name}' is not applied ({error})"
                ));
                return Ok(None);
            }
        };
        let limits = wgpu::Limits::downlevel_defaults().using_resolution(adapter.limits());
        let gpu = open_device(
            &adapter,
            &wgpu::DeviceDescriptor {
                required_limits: limits,
                ..Default::default()
            },
        )?;
        notes.push(format!("filters on {}, {}", adapter.get_info().name, gpu.level()));
        let uniforms = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("frame"),
            size: 16,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let sampler = gpu.device().create_sampler(&wgpu::SamplerDescriptor {
            mag_filter: wgpu::FilterMode::Linear,
            min_filter: wgpu::FilterMode::Linear,
            ..Default::default()
        });
        let (layout, pipeline_layout) = layouts(gpu.device());
        let filter = Filter::new(gpu.device(), &pipeline_layout, name)?;
        Ok(Some(Self {
            name: filter.name.clone(),
            importer: Importer::with_options(&gpu, ImportOptions::from_env()?),
            converter: Converter::new(&gpu),
            filter,
            layout,
            pipeline_layout,
            uniforms,
            sampler,
            path: path.clone(),
            hops: None,
            stage: None,
            start: Instant::now(),
            gpu,
        }))
    }

    /// The filtered picture as NV12, in memory that encoders and other processes take. `say` gets what happened to the
    /// filter's file.
    pub(crate) fn run(&mut self, frame: &Frame, say: impl Fn(String)) -> Result<Frame> {
        match self.filter.reload(self.gpu.device(), &self.pipeline_layout) {
            Ok(false) => {}
            Ok(true) => say(format!("filter '{}' has changed", self.name)),
            Err(error) => say(format!("the filter stays as it was: {error:#}")),
        }
        let imported = self.importer.import(frame).context("importing the frame")?;
        self.count(frame, imported.route());
        let stage = self.stage(frame)?;
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        let target = stage.pool.acquire(PATIENCE)?;
        self.converter.encode(
            &mut encoder,
            &imported,
            &Target::new(&stage.input),
            &Conversion::default(),
        )?;
        self.draw(&mut encoder, &stage, &target.view());
        self.gpu.submit(&[&imported], [encoder.finish()])?;
        // The camera has its buffer back as soon as the GPU has read it.
        drop(imported);
        let exporting = target.submit([], frame.meta())?;
        stage.hop.gpu_copy(
            4 * u64::from(stage.size.width) * u64::from(stage.size.height),
            "rendered",
        );
        self.stage = Some(stage);
        Ok(exporting.frame(PATIENCE).map_err(|rejected| rejected.error)?)
    }

    fn draw(&self, encoder: &mut wgpu::CommandEncoder, stage: &Stage, to: &wgpu::TextureView) {
        let (size, time) = (stage.size, self.start.elapsed().as_secs_f32());
        let uniforms = [size.width as f32, size.height as f32, time, 0.0];
        let bytes: Vec<u8> = uniforms.iter().flat_map(|value| value.to_ne_bytes()).collect();
        self.gpu.queue().write_buffer(&self.uniforms, 0, &bytes);
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("filter"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: to,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations::default(),
            })],
            ..Default::default()
        });
        pass.set_pipeline(&self.filter.pipeline);
        pass.set_bind_group(0, &stage.group, &[]);
        pass.draw(0..3, 0..1);
    }

    /// The stage for this frame's upright, visible size.
    fn stage(&mut self, frame: &Frame) -> Result<Stage> {
        let size = convert::Converter::size(frame);
        match self.stage.take().filter(|stage| stage.size == size) {
            Some(stage) => Ok(stage),
            None => self.new_stage(size, frame.meta().color),
        }
    }

    fn new_stage(&self, size: Size, color: ColorInfo) -> Result<Stage> {
        let texture = self.gpu.device().create_texture(&wgpu::TextureDescriptor {
            label: Some("picture"),
            size: wgpu::Extent3d {
                width: size.width,
                height: size.height,
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
        let hop = self.path.hop(format!("filter({})", self.name));
        let builder = ExportPool::builder(&self.gpu, Fourcc::NV12, size)
            .color(color)
            .env()?;
        let pool = builder.build().context("memory for the filtered pictures")?;
        self.path.add(pool.hop());
        let input = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Ok(Stage {
            size,
            group: self.group(&input),
            input,
            pool,
            hop,
        })
    }

    fn group(&self, input: &wgpu::TextureView) -> wgpu::BindGroup {
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("filter"),
            layout: &self.layout,
            entries: &[
                entry(0, self.uniforms.as_entire_binding()),
                entry(1, wgpu::BindingResource::TextureView(input)),
                entry(2, wgpu::BindingResource::Sampler(&self.sampler)),
            ],
        })
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
    pub(crate) fn reasons(&self) -> Vec<String> {
        let options = ImportOptions::from_env().unwrap_or_default();
        let mut reasons = Vec::new();
        if std::env::var_os("DMAFRAME_ROUTES").is_some() {
            reasons.push(format!("DMAFRAME_ROUTES leaves the routes {}", options.routes));
        }
        let refused = self
            .importer
            .verdicts()
            .into_iter()
            .filter(|verdict| verdict.refusal.is_some());
        reasons.extend(refused.map(|verdict| format!("import of {verdict}")));
        if let Some(stage) = &self.stage {
            reasons.extend(stage.pool.passed_over().iter().map(ToString::to_string));
            if stage.pool.memory() == ExportMemory::Readback {
                reasons.push("the filtered pictures are CPU memory".into());
            }
        }
        reasons
    }
}

/// What filters are given, whether or not they use it.
fn layouts(device: &wgpu::Device) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
    let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::FRAGMENT,
        ty,
        count: None,
    };
    let uniform = wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Uniform,
        has_dynamic_offset: false,
        min_binding_size: None,
    };
    let picture = wgpu::BindingType::Texture {
        sample_type: wgpu::TextureSampleType::Float { filterable: true },
        view_dimension: wgpu::TextureViewDimension::D2,
        multisampled: false,
    };
    let sampler = wgpu::BindingType::Sampler(wgpu::SamplerBindingType::Filtering);
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("filter"),
        entries: &[entry(0, uniform), entry(1, picture), entry(2, sampler)],
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("filter"),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    (layout, pipeline_layout)
}
