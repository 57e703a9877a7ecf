//! wgpu 30.

use dmaframe_wgpu::v30::wgpu;

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

#[path = "../write_texture.rs"]
mod write_texture;
pub(crate) use write_texture::{copied_out, from_frames, same_bytes};
