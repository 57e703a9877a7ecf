//! Pipelines and the layouts of what they bind: made once, kept.

use std::collections::HashMap;

use super::super::wgpu;
use super::source::{LayoutKey, PlaneType};
use super::target::PassTarget;
use crate::convert::{self, ConvertError, Variant};

/// What a render pipeline has to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RenderKey {
    pub(super) format: wgpu::TextureFormat,
    samples: u32,
    depth_stencil: Option<wgpu::TextureFormat>,
}

impl RenderKey {
    pub(super) fn plain(format: wgpu::TextureFormat) -> Self {
        Self {
            format,
            samples: 1,
            depth_stencil: None,
        }
    }

    pub(super) fn of(target: &PassTarget) -> Self {
        Self {
            format: target.format,
            samples: target.samples,
            depth_stencil: target.depth_stencil,
        }
    }

    /// Whether this device can render colours of floats with that many samples.
    fn check(&self, device: &wgpu::Device) -> Result<(), ConvertError> {
        let features = self.format.guaranteed_format_features(device.features());
        let renders = features
            .allowed_usages
            .contains(wgpu::TextureUsages::RENDER_ATTACHMENT);
        let float = matches!(
            self.format.sample_type(None, Some(device.features())),
            Some(wgpu::TextureSampleType::Float { .. })
        );
        let sampled = self.samples == 1 || features.flags.sample_count_supported(self.samples);
        if renders && float && sampled {
            return Ok(());
        }
        Err(ConvertError::Target {
            format: format!("{:?}", self.format),
            samples: self.samples,
        })
    }
}

#[derive(Default)]
pub(super) struct Pipelines {
    layouts: HashMap<LayoutKey, wgpu::BindGroupLayout>,
    outputs: HashMap<wgpu::TextureFormat, wgpu::BindGroupLayout>,
    render: HashMap<(Variant, RenderKey), wgpu::RenderPipeline>,
    compute: HashMap<Variant, wgpu::ComputePipeline>,
}

impl Pipelines {
    /// Of the source's bind group: parameters, then planes.
    pub(super) fn layout(&mut self, device: &wgpu::Device, key: LayoutKey) -> wgpu::BindGroupLayout {
        if let Some(layout) = self.layouts.get(&key) {
            return layout.clone();
        }
        let entry = |binding: usize, ty: wgpu::BindingType| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::FRAGMENT | wgpu::ShaderStages::COMPUTE,
            ty,
            count: None,
        };
        let buffer = |ty, min: Option<u64>| wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: min.and_then(wgpu::BufferSize::new),
        };
        let texture = |sample_type| wgpu::BindingType::Texture {
            sample_type,
            view_dimension: wgpu::TextureViewDimension::D2,
            multisampled: false,
        };
        let mut entries = vec![entry(
            0,
            buffer(wgpu::BufferBindingType::Uniform, Some(convert::LEN)),
        )];
        entries.extend(key.iter().enumerate().map(|(i, plane)| {
            let ty = match plane {
                PlaneType::Buffer => buffer(wgpu::BufferBindingType::Storage { read_only: true }, None),
                PlaneType::Float => texture(wgpu::TextureSampleType::Float { filterable: false }),
                PlaneType::Uint => texture(wgpu::TextureSampleType::Uint),
            };
            entry(i + 1, ty)
        }));
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("dmaframe source"),
            entries: &entries,
        });
        self.layouts.insert(key, layout.clone());
        layout
    }

    /// Of the compute shader's target.
    pub(super) fn output_layout(
        &mut self,
        device: &wgpu::Device,
        format: wgpu::TextureFormat,
    ) -> wgpu::BindGroupLayout {
        let make = || {
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("dmaframe target"),
                entries: &[wgpu::BindGroupLayoutEntry {
                    binding: 0,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::StorageTexture {
                        access: wgpu::StorageTextureAccess::WriteOnly,
                        format,
                        view_dimension: wgpu::TextureViewDimension::D2,
                    },
                    count: None,
                }],
            })
        };
        self.outputs.entry(format).or_insert_with(make).clone()
    }

    pub(super) fn render(
        &mut self,
        device: &wgpu::Device,
        layout: &wgpu::BindGroupLayout,
        variant: &Variant,
        key: RenderKey,
    ) -> Result<wgpu::RenderPipeline, ConvertError> {
        let full = (variant.clone(), key);
        if let Some(pipeline) = self.render.get(&full) {
            return Ok(pipeline.clone());
        }
        key.check(device)?;
        let module = module(device, variant);
        let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some("dmaframe convert"),
            layout: Some(&pipeline_layout(device, &[layout])),
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: Some("vertex"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                buffers: &[],
            },
            primitive: wgpu::PrimitiveState::default(),
            depth_stencil: key.depth_stencil.map(ignored),
            multisample: wgpu::MultisampleState {
                count: key.samples,
                ..wgpu::MultisampleState::default()
            },
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: Some("fragment"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                targets: &[Some(key.format.into())],
            }),
            multiview_mask: None,
            cache: None,
        });
        self.render.insert(full, pipeline.clone());
        Ok(pipeline)
    }

    pub(super) fn compute(
        &mut self,
        device: &wgpu::Device,
        layouts: &[&wgpu::BindGroupLayout],
        variant: &Variant,
    ) -> wgpu::ComputePipeline {
        if let Some(pipeline) = self.compute.get(variant) {
            return pipeline.clone();
        }
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("dmaframe convert"),
            layout: Some(&pipeline_layout(device, layouts)),
            module: &module(device, variant),
            entry_point: Some("compute"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        self.compute.insert(variant.clone(), pipeline.clone());
        pipeline
    }
}

fn module(device: &wgpu::Device, variant: &Variant) -> wgpu::ShaderModule {
    device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("dmaframe convert"),
        source: wgpu::ShaderSource::Wgsl(variant.wgsl().into()),
    })
}

/// 28 takes references, 29 and 30 options of them.
#[allow(clippy::useless_conversion)]
fn pipeline_layout(device: &wgpu::Device, groups: &[&wgpu::BindGroupLayout]) -> wgpu::PipelineLayout {
    let groups: Vec<_> = groups.iter().map(|group| (*group).into()).collect();
    device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("dmaframe convert"),
        bind_group_layouts: &groups,
        immediate_size: 0,
    })
}

/// 28 takes values, 29 and 30 options of them.
#[allow(clippy::useless_conversion)]
fn ignored(format: wgpu::TextureFormat) -> wgpu::DepthStencilState {
    wgpu::DepthStencilState {
        format,
        depth_write_enabled: false.into(),
        depth_compare: wgpu::CompareFunction::Always.into(),
        stencil: wgpu::StencilState::default(),
        bias: wgpu::DepthBiasState::default(),
    }
}
