//! Memory that is shared with others: dma-bufs as buffers that shaders write, and pages of the CPU's that are copied into.

use std::sync::Arc;

use dmaframe_core::{Buffer, DeviceClaim, Fourcc, Size};
use dmaframe_vulkan::ash::{ext, vk};
use dmaframe_vulkan::raw::{self, OwnedBuffer};
use dmaframe_vulkan::{BufferImport, Gpu, Refusal, Route, export};

use super::super::scope::scoped;
use super::super::wgpu;
use super::{SHADER_READS, own, record, target};
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
    let import = import.map_err(|refusal| refusal.by(Route::Buffer))?;
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

/// Memory of the GPU's own that a shader writes, and a memfd's pages that the GPU copies it into.
///
/// The pages are never a buffer of wgpu's, which could outlive them.
pub(in super::super) struct Pages {
    /// As long as the picture needs, the bytes before its first plane included.
    pub(in super::super) words: wgpu::Buffer,
    raw: vk::Buffer,
    import: Arc<BufferImport>,
    from: u64,
}

/// Whether the device can be given pages at all: to be asked before there are any.
pub(in super::super) fn takes_pages(gpu: &Gpu) -> Result<(), Error> {
    let name = ext::external_memory_host::NAME;
    match gpu.extensions().has(name) {
        true => Ok(()),
        false => Err(refused(Refusal::ExtensionOff(name))),
    }
}

fn refused(refusal: Refusal) -> Error {
    refusal.by(Route::HostPointer).into()
}

/// The pages of a memfd, of which the bytes from `from` to `end` are written by [`copy_out`].
pub(in super::super) fn pages(
    gpu: &super::super::Gpu,
    vulkan: &Gpu,
    claim: &DeviceClaim,
    (from, end): (u64, u64),
) -> Result<Pages, Error> {
    // SAFETY: only `copy_out` writes it, in work that is submitted with a claim of the buffer in an `ExportTarget`, which
    // goes to `Exporting` and from there to a frame when the work was seen to be done, or else to the pool's list of busy
    // slots until then; the pool's end leaves those to the tracker, which holds them until the work is done.
    let import = unsafe { raw::claimed_pages(vulkan, claim, vk::BufferUsageFlags::TRANSFER_DST) };
    let import = import.map_err(refused)?;
    if let Some(size) = import.size(0).filter(|size| end > *size) {
        return Err(refused(Refusal::TooSmall {
            object: 0,
            needed: end,
            found: size,
        }));
    }
    let usage = SHADER_READS | vk::BufferUsageFlags::TRANSFER_DST;
    let owned = OwnedBuffer::device_local(vulkan, end, usage).map_err(refused)?;
    let raw = owned.buffer;
    let words = target(gpu.device(), owned)?;
    // What the memory held before is nobody's business, and between the rows it would go out.
    let mut encoder = super::encoder(gpu.device());
    encoder.clear_buffer(&words, 0, None);
    scoped(gpu.device(), "Queue::submit", || {
        gpu.queue().submit([encoder.finish()]);
    })?;
    let import = Arc::new(import);
    Ok(Pages {
        words,
        raw,
        import,
        from,
    })
}

impl Pages {
    /// What has to stay until the copy is done. (The words are wgpu's to keep: the commands that write them name them.)
    pub(in super::super) fn import(&self) -> &Arc<BufferImport> {
        &self.import
    }
}

/// Commands that copy the picture into the pages, and show it to the CPU when they are done. They are to be submitted
/// right behind those that write the words.
pub(in super::super) fn copy_out(
    gpu: &super::super::Gpu,
    pages: &Pages,
) -> Result<[wgpu::CommandBuffer; 2], Error> {
    // wgpu waits for the shader, and before the next picture's for this copy.
    let mut before = super::encoder(gpu.device());
    before.transition_resources(
        std::iter::once(wgpu::BufferTransition {
            buffer: &pages.words,
            state: wgpu::BufferUses::COPY_SRC,
        }),
        std::iter::empty(),
    );
    let to = pages.import.handle(0).unwrap_or_default();
    let region = vk::BufferCopy {
        src_offset: pages.from,
        dst_offset: pages.from,
        size: pages.words.size() - pages.from,
    };
    let seen = [vk::MemoryBarrier::default()
        .src_access_mask(vk::AccessFlags::TRANSFER_WRITE)
        .dst_access_mask(vk::AccessFlags::HOST_READ)];
    // The last copy into the pages is done: their claim came back after it.
    let commands = record(gpu, |device, commands| {
        // SAFETY: recording; live buffers of this device with the transfer usages; the region is inside both, which `pages`
        // has checked.
        unsafe {
            device.cmd_copy_buffer(commands, pages.raw, to, &[region]);
            device.cmd_pipeline_barrier(
                commands,
                vk::PipelineStageFlags::TRANSFER,
                vk::PipelineStageFlags::HOST,
                vk::DependencyFlags::empty(),
                &seen,
                &[],
                &[],
            );
        }
    })?;
    Ok([before.finish(), commands])
}
