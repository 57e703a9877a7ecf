//! Textures to draw pictures into.

use dmaframe_core::Size;

use super::scope::scoped;
use super::wgpu;
use crate::{Error, Refusal, Route};

/// RGBA of 8 bits, to be drawn into, by compute shaders too, read by shaders, and used for `more`.
pub(super) fn rgba(
    device: &wgpu::Device,
    label: &str,
    size: Size,
    more: wgpu::TextureUsages,
) -> Result<wgpu::Texture, Error> {
    fits(device, size)?;
    scoped(device, "Device::create_texture", || {
        unchecked(device, label, size, more)
    })
}

/// All of it. Of a device that is gone textures are made without an error, and refused here.
pub(super) fn view(device: &wgpu::Device, texture: &wgpu::Texture) -> Result<wgpu::TextureView, Error> {
    scoped(device, "Texture::create_view", || {
        texture.create_view(&wgpu::TextureViewDescriptor::default())
    })
}

/// Whether the device has textures of that size: it is a frame's, which anybody may send.
pub(super) fn fits(device: &wgpu::Device, size: Size) -> Result<(), Error> {
    let Size { width, height } = size;
    let limit = device.limits().max_texture_dimension_2d;
    if width > limit || height > limit {
        let refusal = Refusal::TooLarge {
            width,
            height,
            max_width: limit,
            max_height: limit,
        };
        return Err(refusal.by(Route::Image).into());
    }
    Ok(())
}

/// [`rgba`] of which wgpu tells the application what is wrong, as of a texture of its own.
pub(super) fn unchecked(
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
