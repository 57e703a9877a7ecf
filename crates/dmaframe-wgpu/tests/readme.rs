//! The README's example is this code, and runs.

mod common;

const README: &str = include_str!("../README.md");
const PREVIEW: &str = include_str!("readme/preview.rs");

#[test]
fn the_readme_shows_the_code_that_is_tested() {
    assert!(
        README.contains(PREVIEW),
        "copy tests/readme/preview.rs into the README"
    );
}

#[cfg(feature = "wgpu-28")]
mod app {
    use dmaframe_core::{Fourcc, Frame, Size};
    use dmaframe_wgpu::v28::{Converter, Gpu, Importer, Target, wgpu};
    use dmaframe_wgpu::{Assume, Conversion, Error, ImportOptions, Route};

    include!("readme/preview.rs");

    #[test]
    fn a_toolkits_widget_shows_a_camera_frame() {
        crate::common::listen();
        let instance = wgpu::Instance::new(&wgpu::InstanceDescriptor {
            backends: wgpu::Backends::VULKAN,
            flags: wgpu::InstanceFlags::debugging(),
            ..Default::default()
        });
        let found = crate::common::now(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
        let Ok(adapter) = found else {
            return dmaframe_testkit::skip("no Vulkan device for wgpu");
        };
        let limits = wgpu::Limits::downlevel_defaults();
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: limits,
            ..Default::default()
        };
        let (device, queue) = crate::common::now(adapter.request_device(&descriptor)).unwrap();
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d {
                width: 64,
                height: 32,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let preview = Preview::new(&device, &queue, view).unwrap();
        let shape = crate::common::TIGHT;
        let Some((frame, bytes)) =
            crate::common::udmabuf_frame(Fourcc::XBGR8888, Size::new(64, 32), shape, 1)
        else {
            return;
        };
        println!("by {}", preview.show(&frame).unwrap());
        let readback = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 64 * 32 * 4,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let to = wgpu::TexelCopyBufferInfo {
            buffer: &readback,
            layout: wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(64 * 4),
                rows_per_image: None,
            },
        };
        encoder.copy_texture_to_buffer(texture.as_image_copy(), to, texture.size());
        queue.submit([encoder.finish()]);
        readback
            .slice(..)
            .map_async(wgpu::MapMode::Read, |mapped| mapped.unwrap());
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let mut wanted = bytes;
        wanted.chunks_mut(4).for_each(|pixel| pixel[3] = 255);
        let found = readback.slice(..).get_mapped_range().to_vec();
        crate::common::same(&found, &wanted, "RGB comes through as it is");
        let said = crate::common::said(&[]);
        assert!(said.is_empty(), "{said:#?}");
    }
}
