//! wgpu 28.

use dmaframe_wgpu::v28::wgpu;

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(&wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN,
        ..Default::default()
    })
}

#[path = "../write_texture.rs"]
mod write_texture;
pub(crate) use write_texture::{copied_out, from_frames};
