//! wgpu 29.

use dmaframe_wgpu::v29::wgpu;

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

#[path = "../write_texture.rs"]
mod write_texture;
pub(crate) use write_texture::from_frames;
