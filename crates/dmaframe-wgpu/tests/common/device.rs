// Included once for each version of wgpu; `dw` is this crate's module for it.

#[allow(unused_imports)]
use dw::{Gpu, Imported, Importer, Source, Submission, wgpu};

/// A device under the validation layer. Its end (`done`) fails on any error the layer reported.
struct Bench {
    gpu: Gpu,
    adapter: wgpu::Adapter,
    /// Reports for the layer as long as it lives.
    instance: wgpu::Instance,
}

#[allow(dead_code)]
impl Bench {
    fn adapter() -> Option<(wgpu::Adapter, wgpu::Instance)> {
        crate::common::listen();
        let instance = instance_with(wgpu::InstanceFlags::debugging());
        match crate::common::now(instance.request_adapter(&wgpu::RequestAdapterOptions::default())) {
            Ok(adapter) => Some((adapter, instance)),
            Err(error) => {
                dmaframe_testkit::skip(&format!("no Vulkan device for wgpu: {error}"));
                None
            }
        }
    }

    fn descriptor() -> wgpu::DeviceDescriptor<'static> {
        wgpu::DeviceDescriptor {
            required_limits: wgpu::Limits::downlevel_defaults(),
            ..Default::default()
        }
    }

    /// A toolkit's: nothing asked for.
    fn plain() -> Option<Self> {
        Self::plain_with(dmaframe_wgpu::GpuOptions::default())
    }

    fn plain_with(options: dmaframe_wgpu::GpuOptions) -> Option<Self> {
        let (adapter, instance) = Self::adapter()?;
        let (device, queue) = crate::common::now(adapter.request_device(&Self::descriptor())).unwrap();
        let gpu = Gpu::with_options(&device, &queue, options);
        Some(Self {
            gpu,
            adapter,
            instance,
        })
    }

    /// One of ours without the validation layer.
    fn bare() -> Option<Self> {
        let instance = instance_with(wgpu::InstanceFlags::empty());
        let Ok(adapter) =
            crate::common::now(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
        else {
            dmaframe_testkit::skip("no Vulkan device for wgpu");
            return None;
        };
        let gpu = dw::open_device(&adapter, &Self::descriptor()).unwrap();
        Some(Self {
            gpu,
            adapter,
            instance,
        })
    }

    /// One of ours: everything on.
    fn ours() -> Option<Self> {
        let (adapter, instance) = Self::adapter()?;
        let gpu = dw::open_device(&adapter, &Self::descriptor()).unwrap();
        Some(Self {
            gpu,
            adapter,
            instance,
        })
    }

    /// A toolkit's and one of ours, where they import dma-bufs.
    fn both() -> Vec<Self> {
        let both = [Self::plain(), Self::ours()].into_iter().flatten();
        both.filter(Self::dmabufs).collect()
    }

    /// Whether dma-bufs can be imported; says so when not.
    fn dmabufs(&self) -> bool {
        let there = self.gpu.level() > dmaframe_wgpu::Level::Upload;
        if !there {
            dmaframe_testkit::skip("the Vulkan device imports no dma-bufs");
        }
        there
    }

    /// Drops everything and looks at what the layer said, leaks at the device's end included.
    fn done(self) {
        self.done_but(&[]);
    }

    fn done_but(self, allowed: &[&str]) {
        let Self {
            gpu,
            adapter,
            instance,
        } = self;
        assert!(gpu.settle(crate::common::SOON), "work outstanding: {gpu:?}");
        gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
        drop((gpu, adapter, instance));
        let said = crate::common::said(allowed);
        assert!(
            said.is_empty(),
            "errors of wgpu or the validation layer: {said:#?}"
        );
    }

    /// Drops a device that is lost, of which wgpu says much: only the layer must have said nothing.
    fn lost(self) {
        let Self {
            gpu,
            adapter,
            instance,
        } = self;
        drop((gpu, adapter, instance));
        let said = crate::common::said(&[]);
        let errors: Vec<_> = said.iter().filter(|text| text.contains("VUID")).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }

    /// What the device sees of a frame, tightly packed: read back through wgpu.
    fn read(&self, imported: &Imported) -> Vec<u8> {
        let (commands, readback) = self.copy_out(imported);
        let submission = self.gpu.submit(&[imported], [commands]).unwrap();
        assert!(submission.wait(crate::common::SOON).unwrap().is_signaled());
        self.tight(imported, &readback)
    }

    /// Commands that copy every plane, with what surrounds it, into a buffer for each.
    fn copy_out(&self, imported: &Imported) -> (wgpu::CommandBuffer, Vec<wgpu::Buffer>) {
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        let readback = |size: u64| {
            self.gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let buffers = match imported.lend().unwrap() {
            Source::Buffers(planes) => {
                let copies = planes.iter().map(|plane| {
                    let buffer = readback(plane.buffer.size());
                    encoder.copy_buffer_to_buffer(&plane.buffer, 0, &buffer, 0, plane.buffer.size());
                    buffer
                });
                copies.collect()
            }
            Source::Textures(planes) => {
                let copies = planes.iter().map(|plane| {
                    let texel = plane.texture.format().block_copy_size(None).unwrap();
                    let stride = (plane.width * texel).next_multiple_of(256);
                    let buffer = readback(u64::from(stride) * u64::from(plane.height));
                    let to = wgpu::TexelCopyBufferInfo {
                        buffer: &buffer,
                        layout: wgpu::TexelCopyBufferLayout {
                            offset: 0,
                            bytes_per_row: Some(stride),
                            rows_per_image: None,
                        },
                    };
                    let extent = wgpu::Extent3d {
                        width: plane.width,
                        height: plane.height,
                        depth_or_array_layers: 1,
                    };
                    encoder.copy_texture_to_buffer(plane.texture.as_image_copy(), to, extent);
                    buffer
                });
                copies.collect()
            }
        };
        (encoder.finish(), buffers)
    }

    fn tight(&self, imported: &Imported, readback: &[wgpu::Buffer]) -> Vec<u8> {
        let layout = imported.frame().layout();
        let mut bytes = Vec::new();
        for (index, buffer) in readback.iter().enumerate() {
            let (offset, stride) = match imported.lend().unwrap() {
                Source::Buffers(planes) => (planes[index].offset as usize, planes[index].stride as usize),
                Source::Textures(planes) => {
                    let texel = planes[index].texture.format().block_copy_size(None).unwrap();
                    (0, (planes[index].width * texel).next_multiple_of(256) as usize)
                }
            };
            buffer
                .slice(..)
                .map_async(wgpu::MapMode::Read, |mapped| mapped.unwrap());
            self.gpu
                .device()
                .poll(wgpu::PollType::wait_indefinitely())
                .unwrap();
            let mapped = mapped(buffer);
            for row in 0..layout.rows(index) as usize {
                let start = offset + row * stride;
                bytes.extend_from_slice(&mapped[start..start + layout.row_bytes(index)]);
            }
        }
        bytes
    }
}
