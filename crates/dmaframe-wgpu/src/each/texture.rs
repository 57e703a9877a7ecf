//! Textures to draw pictures into.

use dmaframe_core::Size;

use super::wgpu;

/// RGBA of 8 bits, to be drawn into, by compute shaders too, read by shaders, and used for `more`.
pub(super) fn rgba(
    device: &wgpu::Device,
    label: &str,
    size: Size,
    more: wgpu::TextureUsages,
) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: Some(label),
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
            | wgpu::TextureUsages::TEXTURE_BINDING
            | more,
        view_formats: &[],
    })
}
