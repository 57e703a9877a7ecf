//! What goes below wgpu's own interface.

mod copy;
pub(super) mod export;
mod handle;
mod import;
mod open;
mod queue;
mod transfer;

use dmaframe_vulkan::ash::{self, vk};
use dmaframe_vulkan::raw::{self, RawDevice};
use dmaframe_vulkan::{Extensions, Gpu};

use super::submission::gone;
use super::wgpu;
use crate::Error;
use crate::sys::Timeline;
use wgpu::hal::api::Vulkan;

pub(super) use copy::{CopyJob, Piece, copy};
pub(super) use handle::{BufferHandle, ImageHandle};
pub(super) use import::{buffers, copy_target, in_place, own, target, textures};
pub(super) use open::open;
pub(super) use queue::{export, forget_signal, forget_waits, is_alive, signal, wait_for};
pub(super) use transfer::{give_back, take_over};

/// What imported buffers are for: `wgpu::BufferUsages::STORAGE | COPY_SRC` in Vulkan's words.
pub(super) const SHADER_READS: vk::BufferUsageFlags = vk::BufferUsageFlags::from_raw(
    vk::BufferUsageFlags::STORAGE_BUFFER.as_raw() | vk::BufferUsageFlags::TRANSFER_SRC.as_raw(),
);

/// What imported images are for: `wgpu::TextureUsages::TEXTURE_BINDING | COPY_SRC`.
pub(super) const SAMPLED: vk::ImageUsageFlags = vk::ImageUsageFlags::from_raw(
    vk::ImageUsageFlags::SAMPLED.as_raw() | vk::ImageUsageFlags::TRANSFER_SRC.as_raw(),
);

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

/// Whether the driver imports and exports sync_files as semaphores.
pub(super) fn sync_fd(gpu: &Gpu) -> (bool, bool) {
    let found = gpu.capabilities();
    (found.sync_fd_import, found.sync_fd_export)
}

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
