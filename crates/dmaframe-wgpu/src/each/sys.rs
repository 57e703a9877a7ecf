//! What goes below wgpu's own interface.

use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_vulkan::ash::{self, vk};
use dmaframe_vulkan::raw::{self, RawDevice, SignalSemaphore, WaitSemaphore};
use dmaframe_vulkan::{BufferImport, Extensions, Gpu};

use super::imported::Kept;
use super::scope::scoped;
use super::submit::gone;
use super::{PlaneBuffer, Source, wgpu};
use crate::Error;
use crate::sys::Timeline;
use crate::track::Export;
use wgpu::hal::api::Vulkan;

/// What imported buffers are for. `wgpu::BufferUsages::STORAGE | COPY_SRC` in Vulkan's words.
pub(super) const SHADER_READS: vk::BufferUsageFlags = vk::BufferUsageFlags::from_raw(
    vk::BufferUsageFlags::STORAGE_BUFFER.as_raw() | vk::BufferUsageFlags::TRANSFER_SRC.as_raw(),
);

pub(super) use super::super::sys::GPU_WAITS;

/// The Vulkan device inside, and a counter for its submissions where it can have one. `None` on another backend, and below
/// Vulkan 1.1.
pub(super) fn adopt(device: &wgpu::Device) -> Option<(Gpu, Option<Timeline>)> {
    // SAFETY: the guard is only read from, and dropped before this returns.
    let hal = unsafe { device.as_hal::<Vulkan>() }?;
    let instance = hal.shared_instance();
    let instance_version = instance.instance_api_version();
    let raw = RawDevice {
        instance: instance.raw_instance().clone(),
        physical_device: hal.raw_physical_device(),
        device: hal.raw_device().clone(),
        queue_family: hal.queue_family_index(),
        extensions: Extensions::from_names(hal.enabled_device_extensions().iter().copied()),
        owner: Box::new(device.clone()),
    };
    drop(hal);
    // SAFETY: one hal device's own handles, extensions and family; the clone in `owner` keeps it alive.
    let gpu = unsafe { raw::adopt(raw) }.ok()?;
    // SAFETY: a physical device of its instance.
    let properties = unsafe {
        gpu.raw_instance()
            .get_physical_device_properties(gpu.raw_physical_device())
    };
    let timeline = if instance_version.min(properties.api_version) >= vk::API_VERSION_1_2 {
        // SAFETY: instance and device are of Vulkan 1.2, where the feature is mandatory, and wgpu-hal switches it on
        // wherever it is supported, since its own fences are timeline semaphores.
        unsafe { Timeline::new(&gpu) }
    } else {
        None
    };
    Some((gpu, timeline))
}

/// Opens a device with everything on that [`Extensions`] knows and the driver has. `None` on another backend.
///
/// The caller has checked the descriptor against the adapter.
pub(super) fn open(
    adapter: &wgpu::Adapter,
    descriptor: &wgpu::DeviceDescriptor<'_>,
) -> Option<Result<(wgpu::Device, wgpu::Queue), String>> {
    // SAFETY: the guard is only used for the calls below.
    let hal = unsafe { adapter.as_hal::<Vulkan>() }?;
    let known: Vec<_> = Extensions::known()
        .filter(|name| hal.physical_device_capabilities().supports_extension(name))
        .collect();
    let more = Box::new(
        move |arguments: wgpu::hal::vulkan::CreateDeviceCallbackArgs<'_, '_, '_>| {
            for name in known {
                if !arguments.extensions.contains(&name) {
                    arguments.extensions.push(name);
                }
            }
        },
    );
    // SAFETY: features and limits are the adapter's own; extensions are only added, ones that the driver has and that
    // need no feature; what they depend on is part of Vulkan 1.1 and 1.2 or in the list too.
    let opened = unsafe { super::super::sys::open(&hal, descriptor, more) };
    drop(hal);
    Some(match opened {
        // SAFETY: made from this adapter's hal half just now, for this descriptor.
        Ok(opened) => unsafe { adapter.create_device_from_hal::<Vulkan>(opened, descriptor) }
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    })
}

/// Whether the driver imports and exports sync_files as semaphores.
pub(super) fn sync_fd(gpu: &Gpu) -> (bool, bool) {
    let found = gpu.capabilities();
    (found.sync_fd_import, found.sync_fd_export)
}

/// Whether the device was valid a moment ago; wgpu does not say so otherwise. It stays invalid for ever.
pub(super) fn is_alive(device: &wgpu::Device) -> bool {
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    // SAFETY: nothing is recorded.
    unsafe { encoder.as_hal_mut::<Vulkan, _, _>(|encoder| encoder.is_some()) }
}

/// Has the next submission signal `semaphore`, which the caller keeps until it is done.
pub(super) fn signal(queue: &wgpu::Queue, semaphore: vk::Semaphore, value: Option<u64>) {
    // SAFETY: the guard is only used for the call.
    if let Some(queue) = unsafe { queue.as_hal::<Vulkan>() } {
        queue.add_signal_semaphore(semaphore, value);
    }
}

/// Has the next submission wait for the semaphores, which the caller keeps until it is done.
pub(super) fn wait_for(queue: &wgpu::Queue, semaphores: &[WaitSemaphore]) {
    // SAFETY: the guard is only used for the calls.
    if let (false, Some(queue)) = (semaphores.is_empty(), unsafe { queue.as_hal::<Vulkan>() }) {
        for semaphore in semaphores {
            super::super::sys::add_wait(&queue, semaphore.handle());
        }
    }
}

/// Takes back what no submission has taken.
pub(super) fn forget_waits(queue: &wgpu::Queue, semaphores: &[WaitSemaphore]) {
    // SAFETY: as in `wait_for`.
    if let (false, Some(queue)) = (semaphores.is_empty(), unsafe { queue.as_hal::<Vulkan>() }) {
        for semaphore in semaphores {
            super::super::sys::remove_wait(&queue, semaphore.handle());
        }
    }
}

/// Takes the fence out, once. For a semaphore whose signal has been submitted.
pub(super) fn export(semaphore: Arc<SignalSemaphore>) -> Export {
    // SAFETY: `Gpu::run_in_order`, the only caller, has submitted the signal, and the closure runs once.
    Box::new(move || unsafe { semaphore.export() })
}

/// Ownership from other devices, before work that reads.
pub(super) fn take_over<'a>(
    gpu: &super::Gpu,
    kept: impl Iterator<Item = &'a Kept>,
) -> Result<Option<wgpu::CommandBuffer>, Error> {
    let foreign = vk::QUEUE_FAMILY_FOREIGN_EXT;
    let layouts = (
        vk::ImageLayout::GENERAL,
        vk::ImageLayout::SHADER_READ_ONLY_OPTIMAL,
    );
    let reads = vk::AccessFlags::SHADER_READ | vk::AccessFlags::TRANSFER_READ;
    transfer(gpu, kept, |family| Transfer {
        families: (foreign, family),
        layouts,
        access: (vk::AccessFlags::empty(), reads),
    })
}

/// Ownership back to them, after it.
pub(super) fn give_back<'a>(
    gpu: &super::Gpu,
    kept: impl Iterator<Item = &'a Kept> + Clone,
) -> Result<ArrayVec<wgpu::CommandBuffer, 2>, Error> {
    let mut commands = ArrayVec::new();
    // wgpu believes that textures are where work left them; from there to where they are handed over.
    let textures = kept.clone().flat_map(|kept| match &kept.source {
        Source::Textures(planes) => planes.as_slice(),
        Source::Buffers(_) => &[],
    });
    let mut textures = textures.map(|plane| &plane.texture).peekable();
    if textures.peek().is_some() {
        let mut encoder = encoder(gpu.device());
        encoder.transition_resources(
            std::iter::empty(),
            textures.map(|texture| wgpu::TextureTransition {
                texture,
                selector: None,
                state: wgpu::TextureUses::RESOURCE,
            }),
        );
        commands.push(encoder.finish());
    }
    let foreign = vk::QUEUE_FAMILY_FOREIGN_EXT;
    let layouts = (
        vk::ImageLayout::SHADER_READ_ONLY_OPTIMAL,
        vk::ImageLayout::GENERAL,
    );
    let reads = vk::AccessFlags::SHADER_READ | vk::AccessFlags::TRANSFER_READ;
    commands.extend(transfer(gpu, kept, |family| Transfer {
        families: (family, foreign),
        layouts,
        access: (reads, vk::AccessFlags::empty()),
    })?);
    Ok(commands)
}

struct Transfer {
    families: (u32, u32),
    layouts: (vk::ImageLayout, vk::ImageLayout),
    access: (vk::AccessFlags, vk::AccessFlags),
}

/// One barrier for all of them, in an encoder of its own; nothing where there is nothing to transfer.
fn transfer<'a>(
    gpu: &super::Gpu,
    kept: impl Iterator<Item = &'a Kept>,
    how: impl Fn(u32) -> Transfer,
) -> Result<Option<wgpu::CommandBuffer>, Error> {
    let Some(vulkan) = gpu.vulkan().filter(|_| gpu.foreign()) else {
        return Ok(None);
    };
    let how = how(vulkan.queue_family());
    let (mut buffers, mut images) = (Vec::new(), Vec::new());
    for kept in kept {
        buffers.extend(kept.shared.buffers.iter().map(|buffer| {
            vk::BufferMemoryBarrier::default()
                .buffer(*buffer)
                .size(vk::WHOLE_SIZE)
                .src_queue_family_index(how.families.0)
                .dst_queue_family_index(how.families.1)
                .src_access_mask(how.access.0)
                .dst_access_mask(how.access.1)
        }));
        images.extend(kept.shared.images.iter().map(|image| {
            vk::ImageMemoryBarrier::default()
                .image(*image)
                .subresource_range(WHOLE)
                .src_queue_family_index(how.families.0)
                .dst_queue_family_index(how.families.1)
                .old_layout(how.layouts.0)
                .new_layout(how.layouts.1)
                .src_access_mask(how.access.0)
                .dst_access_mask(how.access.1)
        }));
    }
    if buffers.is_empty() && images.is_empty() {
        return Ok(None);
    }
    record(gpu, |device, commands| {
        // SAFETY: recording; live resources of this device, which `Work::keep` holds until the work is done. The
        // foreign family's extension is on.
        unsafe {
            device.cmd_pipeline_barrier(
                commands,
                vk::PipelineStageFlags::ALL_COMMANDS,
                vk::PipelineStageFlags::ALL_COMMANDS,
                vk::DependencyFlags::empty(),
                &[],
                &buffers,
                &images,
            );
        }
    })
    .map(Some)
}

const WHOLE: vk::ImageSubresourceRange = vk::ImageSubresourceRange {
    aspect_mask: vk::ImageAspectFlags::COLOR,
    base_mip_level: 0,
    level_count: 1,
    base_array_layer: 0,
    layer_count: 1,
};

pub(super) fn encoder(device: &wgpu::Device) -> wgpu::CommandEncoder {
    device.create_command_encoder(&wgpu::CommandEncoderDescriptor {
        label: Some("dmaframe"),
    })
}

/// Records commands that wgpu has no call for, in an encoder of their own: wgpu records its own commands elsewhere.
fn record(
    gpu: &super::Gpu,
    commands: impl FnOnce(&ash::Device, vk::CommandBuffer),
) -> Result<wgpu::CommandBuffer, Error> {
    let lost = || gone("no command buffer can be had");
    let vulkan = gpu.vulkan().ok_or_else(lost)?;
    let mut encoder = encoder(gpu.device());
    // SAFETY: the encoder is open and records into the handle only here; it is not ended.
    let recorded = unsafe {
        encoder
            .as_hal_mut::<Vulkan, _, _>(|hal| hal.map(|hal| commands(vulkan.raw_device(), hal.raw_handle())))
    };
    recorded.ok_or_else(lost)?;
    Ok(encoder.finish())
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
