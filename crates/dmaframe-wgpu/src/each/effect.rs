//! A WGSL function over a picture.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::scope::{now, scoped};
use super::{Gpu, wgpu};
use crate::{Error, effect};

/// How many inputs an effect keeps what it binds for.
const KEPT: usize = 4;

/// A function in WGSL that gives each pixel of a picture its colour: what cameras call a filter.
///
/// The function is `fn effect(uv: vec2f) -> vec4f`, written against [`EFFECT_CONTRACT`](crate::EFFECT_CONTRACT), which
/// gives it `sample(uv)` (the picture), `luma(color)`, `frame.size` and `frame.time`:
///
/// ```wgsl
/// fn effect(uv: vec2f) -> vec4f {
///     return vec4f(vec3f(luma(sample(uv).rgb)), 1.0);
/// }
/// ```
///
/// It runs as one draw call from a converted picture ([`Converter`](super::Converter)) into any view that can be
/// rendered to. [`Processor`](super::Processor) does both, and exports the result as frames. Works on any device, a
/// toolkit's own with [`wgpu::Limits::downlevel_defaults`] too.
pub struct Effect {
    gpu: Gpu,
    name: String,
    format: wgpu::TextureFormat,
    pipeline: wgpu::RenderPipeline,
    group: wgpu::BindGroupLayout,
    layout: wgpu::PipelineLayout,
    sampler: wgpu::Sampler,
    /// Where the text came from, and which writing of it that was.
    file: Option<(PathBuf, Written)>,
    /// The least recently used first.
    bound: Mutex<Vec<Bound>>,
}

/// What is bound for one input and one size of output.
struct Bound {
    input: wgpu::TextureView,
    size: (u32, u32),
    uniforms: wgpu::Buffer,
    group: wgpu::BindGroup,
}

impl Effect {
    /// Compiles `text` for targets of `format`. `name` stands in messages: a file's path, where it came from one.
    ///
    /// # Errors
    /// [`Error::Effect`] with the line of `text` that the compiler refused.
    pub fn new(gpu: &Gpu, name: &str, text: &str, format: wgpu::TextureFormat) -> Result<Self, Error> {
        let device = gpu.device();
        let (group, layout) = layouts(device);
        let pipeline = compile(device, &layout, (name, text), format)?;
        Ok(Self {
            gpu: gpu.clone(),
            name: name.to_owned(),
            format,
            pipeline,
            group,
            layout,
            sampler: device.create_sampler(&wgpu::SamplerDescriptor {
                label: Some("dmaframe effect"),
                mag_filter: wgpu::FilterMode::Linear,
                min_filter: wgpu::FilterMode::Linear,
                ..Default::default()
            }),
            file: None,
            bound: Mutex::default(),
        })
    }

    /// [`Effect::new`] with a file's text and its path as the name; [`Effect::reload`] takes what is written there later.
    ///
    /// # Errors
    /// [`Error::EffectFile`] for a file that cannot be read, and as [`Effect::new`].
    pub fn from_file(
        gpu: &Gpu,
        path: impl Into<PathBuf>,
        format: wgpu::TextureFormat,
    ) -> Result<Self, Error> {
        let path = path.into();
        let written = written(&path)?;
        let mut made = Self::new(gpu, &path.display().to_string(), &read(&path)?, format)?;
        made.file = Some((path, written));
        Ok(made)
    }

    /// Takes the file's text if it was written since; says whether it was. A file that is not there is taken to be in the
    /// middle of being replaced. To be called now and then: for each picture, say. Costs a system call.
    ///
    /// # Errors
    /// As [`Effect::from_file`], once for each text; the effect stays as it was.
    pub fn reload(&mut self) -> Result<bool, Error> {
        let Some((path, seen)) = &mut self.file else {
            return Ok(false);
        };
        let Ok(found) = written(path) else {
            return Ok(false);
        };
        if found == *seen {
            return Ok(false);
        }
        *seen = found;
        let (name, text) = (path.display().to_string(), read(path)?);
        self.replace(&name, &text).map(|()| true)
    }

    /// Takes another text from the next picture on, for effects that are edited while they run.
    ///
    /// # Errors
    /// As [`Effect::new`]; the effect stays as it was.
    pub fn replace(&mut self, name: &str, text: &str) -> Result<(), Error> {
        self.pipeline = compile(self.gpu.device(), &self.layout, (name, text), self.format)?;
        name.clone_into(&mut self.name);
        Ok(())
    }

    /// As it was compiled.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records the effect from `input`, a 2D view of a filterable float format with usage `TEXTURE_BINDING`, over all of
    /// `output`, the first level of a texture of the format it was compiled for. `seconds` is its `frame.time`.
    ///
    /// `frame.time` of one input and size is what the last call before the submission said.
    pub fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: &wgpu::TextureView,
        output: &wgpu::TextureView,
        seconds: f32,
    ) {
        let size = (output.texture().width(), output.texture().height());
        let group = self.bind(input, size, seconds);
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("dmaframe effect"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: output,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations::default(),
            })],
            ..Default::default()
        });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.draw(0..3, 0..1);
    }

    fn bind(&self, input: &wgpu::TextureView, size: (u32, u32), seconds: f32) -> wgpu::BindGroup {
        let mut list = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let known = list.iter().position(|b| b.input == *input && b.size == size);
        let bound = match known {
            Some(index) => list.remove(index),
            None => self.make(input, size),
        };
        let bytes = effect::uniforms(size.0, size.1, seconds);
        self.gpu.queue().write_buffer(&bound.uniforms, 0, &bytes);
        let group = bound.group.clone();
        if list.len() >= KEPT {
            list.remove(0);
        }
        list.push(bound);
        group
    }

    fn make(&self, input: &wgpu::TextureView, size: (u32, u32)) -> Bound {
        let device = self.gpu.device();
        let uniforms = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("dmaframe effect"),
            size: 16,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("dmaframe effect"),
            layout: &self.group,
            entries: &[
                entry(0, uniforms.as_entire_binding()),
                entry(1, wgpu::BindingResource::TextureView(input)),
                entry(2, wgpu::BindingResource::Sampler(&self.sampler)),
            ],
        });
        Bound {
            input: input.clone(),
            size,
            uniforms,
            group,
        }
    }
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Effect({:?} to {:?})", self.name, self.format)
    }
}

/// What tells one writing of a file from the next: when, which file (editors replace it) and how long it is. The time alone
/// does not: it goes in ticks of up to 10 ms.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Written(SystemTime, u64, u64);

fn written(path: &Path) -> Result<Written, Error> {
    let found = std::fs::metadata(path);
    let found = found.and_then(|found| Ok(Written(found.modified()?, found.ino(), found.len())));
    found.map_err(|error| effect::unreadable(path, &error))
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| effect::unreadable(path, &error))
}

fn compile(
    device: &wgpu::Device,
    layout: &wgpu::PipelineLayout,
    (name, text): (&str, &str),
    format: wgpu::TextureFormat,
) -> Result<wgpu::RenderPipeline, Error> {
    let mut module = None;
    let made = scoped(device, "Device::create_shader_module", || {
        module = Some(device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(name),
            source: wgpu::ShaderSource::Wgsl(effect::whole(text).into()),
        }));
    });
    let Some(module) = module else {
        return Err(effect::refused(name, text, None, "it was not compiled"));
    };
    if let Err(error) = made {
        let messages = now(module.get_compilation_info()).map_or_else(Vec::new, |info| info.messages);
        let line = messages
            .iter()
            .find_map(|message| Some(message.location?.line_number));
        return Err(effect::refused(name, text, line, &said(error)));
    }
    let pipeline = scoped(device, "Device::create_render_pipeline", || {
        device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some(name),
            layout: Some(layout),
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: Some("frame_corner"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                buffers: &[],
            },
            primitive: wgpu::PrimitiveState::default(),
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: Some("frame_pixel"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                targets: &[Some(format.into())],
            }),
            multiview_mask: None,
            cache: None,
        })
    });
    pipeline.map_err(|error| effect::refused(name, text, None, &said(error)))
}

/// wgpu's own words.
fn said(error: Error) -> String {
    match error {
        Error::Wgpu { text, .. } => text,
        other => other.to_string(),
    }
}

/// What effects are given, whether or not they use it. 28 takes references, 29 and 30 options of them.
#[allow(clippy::useless_conversion)]
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
    let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("dmaframe effect"),
        entries: &[entry(0, uniform), entry(1, picture), entry(2, sampler)],
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("dmaframe effect"),
        bind_group_layouts: &[(&group).into()],
        immediate_size: 0,
    });
    (group, layout)
}
