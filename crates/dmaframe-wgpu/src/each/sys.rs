//! What goes below wgpu's own interface.

use arrayvec::ArrayVec;
use dmaframe_vulkan::ash::vk;
use dmaframe_vulkan::raw::{self, RawDevice};
use dmaframe_vulkan::{BufferImport, Extensions, Gpu};

use super::PlaneBuffer;
use super::scope::scoped;
use super::wgpu;
use crate::Error;
use wgpu::hal::api::Vulkan;

/// What imported buffers are for. `wgpu::BufferUsages::STORAGE | COPY_SRC` in Vulkan's words.
pub(super) const SHADER_READS: vk::BufferUsageFlags = vk::BufferUsageFlags::from_raw(
    vk::BufferUsageFlags::STORAGE_BUFFER.as_raw() | vk::BufferUsageFlags::TRANSFER_SRC.as_raw(),
);

/// The Vulkan device inside; `None` on another backend, and below Vulkan 1.1.
pub(super) fn adopt(device: &wgpu::Device) -> Option<Gpu> {
    // SAFETY: the guard is only read from, and dropped before this returns.
    let hal = unsafe { device.as_hal::<Vulkan>() }?;
    let raw = RawDevice {
        instance: hal.shared_instance().raw_instance().clone(),
        physical_device: hal.raw_physical_device(),
        device: hal.raw_device().clone(),
        queue_family: hal.queue_family_index(),
        extensions: Extensions::from_names(hal.enabled_device_extensions().iter().copied()),
        owner: Box::new(device.clone()),
    };
    drop(hal);
    // SAFETY: one hal device's own handles, extensions and family; the clone in `owner` keeps it alive.
    unsafe { raw::adopt(raw) }.ok()
}

/// An import as wgpu buffers, which own its handles from here on, and where the planes are.
///
/// For imports of dma-bufs: memory of this process's own pages would have to outlive buffers that anybody may clone.
pub(super) fn buffers(
    device: &wgpu::Device,
    import: BufferImport,
) -> Result<(ArrayVec<PlaneBuffer, 4>, ArrayVec<vk::Buffer, 4>), Error> {
    let planes: ArrayVec<_, 4> = import.planes().iter().copied().collect();
    let owned = import.into_owned();
    let mut handles = ArrayVec::new();
    let buffers = scoped(device, "Device::create_buffer_from_hal", || {
        let wrap = owned.into_iter().map(|buffer| {
            handles.push(buffer.buffer);
            own(
                device,
                buffer,
                wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            )
        });
        wrap.collect::<ArrayVec<_, 4>>()
    })?;
    let planes = planes.iter().filter_map(|plane| {
        Some(PlaneBuffer {
            buffer: buffers.get(plane.buffer)?.clone(),
            offset: plane.offset,
            stride: plane.stride,
        })
    });
    Ok((planes.collect(), handles))
}

/// Gives a buffer to wgpu. Its Vulkan usage holds what `usage` stands for, and no pages are behind it.
fn own(device: &wgpu::Device, buffer: raw::OwnedBuffer, usage: wgpu::BufferUsages) -> wgpu::Buffer {
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
