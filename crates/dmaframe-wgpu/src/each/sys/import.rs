//! Imports as wgpu's own resources, which own their handles from here on.

use arrayvec::ArrayVec;
use dmaframe_vulkan::ash::vk;
use dmaframe_vulkan::{BufferImport, ImageImport, raw};

use super::super::scope::scoped;
use super::super::{PlaneBuffer, PlaneTexture, version, wgpu};
use super::handle::{BufferHandle, ImageHandle};
use crate::{Error, Refusal};
use wgpu::hal::api::Vulkan;

/// An import as wgpu buffers, which own its handles from here on, and where the planes are.
///
/// For imports of dma-bufs: memory of this process's own pages would have to outlive buffers that anybody may clone.
pub(in super::super) fn buffers(
    device: &wgpu::Device,
    import: BufferImport,
) -> Result<(ArrayVec<PlaneBuffer, 4>, ArrayVec<BufferHandle, 4>), Error> {
    let planes: ArrayVec<_, 4> = import.planes().iter().copied().collect();
    let owned = import.into_owned();
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let handles = scoped(device, "Device::create_buffer_from_hal", || {
        let wrap = owned.into_iter().map(|buffer| {
            let raw = buffer.buffer;
            BufferHandle::new(own(device, buffer, usage), raw)
        });
        wrap.collect::<ArrayVec<_, 4>>()
    })?;
    let planes = planes.iter().filter_map(|plane| {
        Some(PlaneBuffer {
            buffer: handles.get(plane.buffer)?.buffer().clone(),
            offset: plane.offset,
            stride: plane.stride,
        })
    });
    Ok((planes.collect::<ArrayVec<_, 4>>(), handles))
}

/// Gives a buffer to wgpu. Its Vulkan usage holds what `usage` stands for, and no pages are behind it.
pub(in super::super) fn own(
    device: &wgpu::Device,
    buffer: raw::OwnedBuffer,
    usage: wgpu::BufferUsages,
) -> wgpu::Buffer {
    let descriptor = wgpu::BufferDescriptor {
        label: Some("dmaframe"),
        size: buffer.size,
        usage,
        mapped_at_creation: false,
    };
    // SAFETY: a live buffer of this device with memory of its own bound at 0, which nobody else destroys or frees; its
    // contents count as initialised: they are another device's.
    unsafe {
        let hal = wgpu::hal::vulkan::Buffer::from_raw_managed(buffer.buffer, buffer.memory, 0, buffer.size);
        device.create_buffer_from_hal::<Vulkan>(hal, &descriptor)
    }
}

/// Staging memory as a buffer for shaders to read. wgpu destroys the buffer, but has nothing to do with its memory: whoever
/// has work read it holds `staged` until that is done.
pub(in super::super) fn in_place(
    device: &wgpu::Device,
    staged: &BufferImport,
) -> Result<Result<wgpu::Buffer, Refusal>, Error> {
    let (raw, size) = match (staged.alias(), staged.size(0)) {
        (Ok(Some(raw)), Some(size)) => (raw, size),
        (Ok(_), _) => return Ok(Err(Refusal::NotVulkan)),
        (Err(refusal), _) => return Ok(Err(refusal)),
    };
    let descriptor = wgpu::BufferDescriptor {
        label: Some("dmaframe upload"),
        size,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    };
    // SAFETY: a live buffer of this device, fit for shaders, which nobody else destroys. Its memory is `staged`'s, which work
    // that reads the buffer holds; its contents count as initialised: the CPU has written them.
    let buffer = scoped(device, "Device::create_buffer_from_hal", || unsafe {
        let hal = wgpu::hal::vulkan::Buffer::from_raw(raw);
        device.create_buffer_from_hal::<Vulkan>(hal, &descriptor)
    })?;
    Ok(Ok(buffer))
}

/// An import of one image a plane as wgpu textures of these formats.
///
/// With `foreign`, the images are in `GENERAL` and owned by the foreign family until they are taken over, which brings
/// them to where wgpu believes them; without, their first use is a transition from nowhere.
pub(in super::super) fn textures(
    device: &wgpu::Device,
    import: ImageImport,
    formats: &[wgpu::TextureFormat],
    foreign: bool,
) -> Result<(ArrayVec<PlaneTexture, 4>, ArrayVec<ImageHandle, 4>), Error> {
    let sizes: ArrayVec<_, 4> = import
        .images()
        .iter()
        .map(|image| (image.width(), image.height(), image.padded_width()))
        .collect();
    let owned = import.into_owned();
    let mut handles = ArrayVec::new();
    let planes = scoped(device, "Device::create_texture_from_hal", || {
        let wrap = owned.into_iter().zip(&sizes).zip(formats);
        let wrap = wrap.filter_map(|((image, (width, height, padded)), format)| {
            let &[memory] = &image.memories[..] else {
                return None;
            };
            let size = wgpu::Extent3d {
                width: *padded,
                height: *height,
                depth_or_array_layers: 1,
            };
            let texture = texture(device, (image.image, memory), size, *format, foreign)?;
            handles.push(ImageHandle::new(texture.clone(), image.image));
            Some(PlaneTexture {
                texture,
                width: *width,
                height: *height,
            })
        });
        wrap.collect::<ArrayVec<_, 4>>()
    })?;
    Ok((planes, handles))
}

/// Gives an image to wgpu: one level and layer, made for sampling and as a copy's source, with memory of its own.
fn texture(
    device: &wgpu::Device,
    (image, memory): (vk::Image, vk::DeviceMemory),
    size: wgpu::Extent3d,
    format: wgpu::TextureFormat,
    foreign: bool,
) -> Option<wgpu::Texture> {
    let hal_descriptor = wgpu::hal::TextureDescriptor {
        label: Some("dmaframe"),
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUses::RESOURCE | wgpu::TextureUses::COPY_SRC,
        memory_flags: wgpu::hal::MemoryFlags::empty(),
        view_formats: Vec::new(),
    };
    let descriptor = wgpu::TextureDescriptor {
        label: hal_descriptor.label,
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    };
    // SAFETY: a live image of this device, made for what the descriptors say, whose memory nobody else frees; both are
    // wgpu's from here on.
    unsafe {
        let hal = device.as_hal::<Vulkan>().map(|hal| {
            let memory = wgpu::hal::vulkan::TextureMemory::Dedicated(memory);
            hal.texture_from_raw(image, &hal_descriptor, None, memory)
        })?;
        Some(version::texture(device, hal, &descriptor, foreign))
    }
}

/// A buffer in the device's own memory that frames are copied into.
pub(in super::super) fn target(
    device: &wgpu::Device,
    buffer: raw::OwnedBuffer,
) -> Result<wgpu::Buffer, Error> {
    scoped(device, "Device::create_buffer_from_hal", || {
        own(
            device,
            buffer,
            wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        )
    })
}

/// [`target`], for copies that wgpu does not record.
pub(in super::super) fn copy_target(
    device: &wgpu::Device,
    buffer: raw::OwnedBuffer,
) -> Result<BufferHandle, Error> {
    let raw = buffer.buffer;
    Ok(BufferHandle::new(target(device, buffer)?, raw))
}
