//! The shader that writes a slot.

use bytemuck::bytes_of;

use super::super::wgpu;
use crate::export::{Params, Plan, SHADER};

/// The pipeline of one format.
pub(super) struct Writer {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    groups: [u32; 2],
}

impl Writer {
    pub(super) fn new(device: &wgpu::Device, plan: &Plan) -> Self {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("dmaframe export"),
            source: wgpu::ShaderSource::Wgsl(SHADER.into()),
        });
        let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty,
            count: None,
        };
        let buffer = |ty| wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: None,
        };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("dmaframe export"),
            entries: &[
                entry(0, buffer(wgpu::BufferBindingType::Uniform)),
                entry(
                    1,
                    wgpu::BindingType::Texture {
                        // Texels are loaded, not sampled: 32-bit floats will do too.
                        sample_type: wgpu::TextureSampleType::Float { filterable: false },
                        view_dimension: wgpu::TextureViewDimension::D2,
                        multisampled: false,
                    },
                ),
                entry(2, buffer(wgpu::BufferBindingType::Storage { read_only: false })),
            ],
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("dmaframe export"),
            // A reference on 28, an option of one later.
            #[allow(clippy::useless_conversion, reason = "not on 29 and later")]
            bind_group_layouts: &[(&layout).into()],
            ..Default::default()
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("dmaframe export"),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(plan.entry),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        Self {
            pipeline,
            layout,
            groups: plan.groups(),
        }
    }

    /// The uniforms of a slot. They never change.
    pub(super) fn uniforms(device: &wgpu::Device, queue: &wgpu::Queue, params: &Params) -> wgpu::Buffer {
        let bytes = bytes_of(params);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("dmaframe export"),
            size: bytes.len() as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    pub(super) fn bind(
        &self,
        device: &wgpu::Device,
        uniforms: &wgpu::Buffer,
        picture: &wgpu::TextureView,
        words: &wgpu::Buffer,
    ) -> wgpu::BindGroup {
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("dmaframe export"),
            layout: &self.layout,
            entries: &[
                wgpu::BindGroupEntry {
                    binding: 0,
                    resource: uniforms.as_entire_binding(),
                },
                wgpu::BindGroupEntry {
                    binding: 1,
                    resource: wgpu::BindingResource::TextureView(picture),
                },
                wgpu::BindGroupEntry {
                    binding: 2,
                    resource: words.as_entire_binding(),
                },
            ],
        })
    }

    pub(super) fn record(&self, encoder: &mut wgpu::CommandEncoder, group: &wgpu::BindGroup) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("dmaframe export"),
            timestamp_writes: None,
        });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(self.groups[0], self.groups[1], 1);
    }
}
