//! Memory that is shared with others, as buffers that shaders write.

use std::sync::Arc;

use dmaframe_core::{Buffer, DeviceClaim, Fourcc, Size};
use dmaframe_vulkan::ash::vk;
use dmaframe_vulkan::{BufferImport, Gpu, Route, export};

use super::super::scope::scoped;
use super::super::wgpu;
use super::{own, record};
use crate::Error;

/// What `wgpu::BufferUsages::STORAGE` means to Vulkan.
const USAGE: vk::BufferUsageFlags = vk::BufferUsageFlags::STORAGE_BUFFER;

/// A buffer of wgpu's in shared memory.
pub(in super::super) struct Shared {
    pub(in super::super) buffer: wgpu::Buffer,
    raw: vk::Buffer,
}

/// The driver's own memory: the buffer, and what frames are made of.
pub(in super::super) fn exported(
    device: &wgpu::Device,
    gpu: &Gpu,
    fourcc: Fourcc,
    size: Size,
    generation: u64,
) -> Result<(Shared, Arc<Buffer>), Error> {
    let made = export::buffer(gpu, fourcc, size, USAGE, generation)?;
    Ok((wrap(device, made.import)?, made.buffer))
}

/// Somebody else's dma-buf.
pub(in super::super) fn imported(
    device: &wgpu::Device,
    gpu: &Gpu,
    claim: &DeviceClaim,
) -> Result<Shared, Error> {
    let import = BufferImport::for_writing(gpu, claim, USAGE);
    let import = import.map_err(|refusal| dmaframe_vulkan::Error::Refused {
        route: Route::Buffer,
        refusal,
    })?;
    wrap(device, Arc::new(import))
}

fn wrap(device: &wgpu::Device, import: Arc<BufferImport>) -> Result<Shared, Error> {
    let refused = |what| dmaframe_vulkan::Error::Unsupported {
        what,
        found: "another".into(),
    };
    let import = Arc::try_unwrap(import).map_err(|_| refused("an import that nobody else has"))?;
    if import.buffers() != 1 || import.usage() != USAGE {
        return Err(refused("one buffer for storage").into());
    }
    let owned = import.into_owned().into_iter().next();
    let Some(owned) = owned.filter(|owned| owned.pages.is_none()) else {
        return Err(refused("device memory").into());
    };
    let raw = owned.buffer;
    let buffer = scoped(device, "Device::create_buffer_from_hal", || {
        own(device, owned, wgpu::BufferUsages::STORAGE)
    })?;
    Ok(Shared { buffer, raw })
}

/// Commands that give `shared` to its other users after a shader wrote it. `None` where the device knows no foreign
/// queue family: there is nothing to say then.
///
/// They are to be submitted together with the commands that write it, which keep the buffer alive. Nothing is taken over
/// before: the old contents are not wanted.
pub(in super::super) fn release(
    gpu: &super::super::Gpu,
    shared: &Shared,
) -> Result<Option<wgpu::CommandBuffer>, Error> {
    let Some(vulkan) = gpu.vulkan().filter(|_| gpu.foreign()) else {
        return Ok(None);
    };
    let barrier = vk::BufferMemoryBarrier::default()
        .buffer(shared.raw)
        .size(vk::WHOLE_SIZE)
        .src_queue_family_index(vulkan.queue_family())
        .dst_queue_family_index(vk::QUEUE_FAMILY_FOREIGN_EXT)
        .src_access_mask(vk::AccessFlags::SHADER_WRITE)
        .dst_access_mask(vk::AccessFlags::empty());
    record(gpu, |device, commands| {
        // SAFETY: recording; a buffer of this device, which wgpu keeps for the commands of the same submission that
        // write it. The foreign family's extension is on.
        unsafe {
            device.cmd_pipeline_barrier(
                commands,
                vk::PipelineStageFlags::COMPUTE_SHADER,
                vk::PipelineStageFlags::BOTTOM_OF_PIPE,
                vk::DependencyFlags::empty(),
                &[],
                &[barrier],
                &[],
            );
        }
    })
    .map(Some)
}
