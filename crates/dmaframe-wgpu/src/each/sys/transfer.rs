//! Ownership of memory that other devices use too.

use arrayvec::ArrayVec;
use dmaframe_vulkan::ash::{self, vk};

use super::super::imported::Kept;
use super::super::{Gpu, wgpu};
use super::handle::{BufferHandle, ImageHandle};
use super::{encoder, record};
use crate::Error;

/// Ownership from other devices, before work that reads.
///
/// [`Error::Destroyed`] when the application has destroyed one of them.
pub(in super::super) fn take_over<'a>(
    gpu: &Gpu,
    kept: impl Iterator<Item = &'a Kept> + Clone,
) -> Result<ArrayVec<wgpu::CommandBuffer, 2>, Error> {
    let foreign = vk::QUEUE_FAMILY_FOREIGN_EXT;
    let layouts = (
        vk::ImageLayout::GENERAL,
        vk::ImageLayout::SHADER_READ_ONLY_OPTIMAL,
    );
    let reads = vk::AccessFlags::SHADER_READ | vk::AccessFlags::TRANSFER_READ;
    let taken = transfer(gpu, kept.clone(), |family| Transfer {
        families: (foreign, family),
        layouts,
        access: (vk::AccessFlags::empty(), reads),
    })?;
    let mut commands = ArrayVec::new();
    if let Some(Transferred { barriers, complete }) = taken {
        if !complete {
            return Err(Error::Destroyed);
        }
        commands.push(barriers);
        let (buffers, images) = (kept.clone().flat_map(buffers), kept.flat_map(images));
        commands.push(name(gpu, buffers, images));
    }
    Ok(commands)
}

/// Ownership back to them, after it. What was destroyed is not there any more to be given back.
///
/// `named`: the same submission takes them over.
pub(in super::super) fn give_back<'a>(
    gpu: &Gpu,
    kept: impl Iterator<Item = &'a Kept> + Clone,
    named: bool,
) -> Result<ArrayVec<wgpu::CommandBuffer, 2>, Error> {
    let mut commands = ArrayVec::new();
    let there = kept.clone().filter(|_| !named).flat_map(buffers);
    let there: Vec<_> = there.filter(|buffer| !buffer.is_destroyed()).collect();
    // wgpu believes that textures are where work left them; from there to where they are handed over.
    let textures = kept.clone().flat_map(images);
    let textures: Vec<_> = textures.filter(|image| !image.is_destroyed()).collect();
    if !there.is_empty() || !textures.is_empty() {
        commands.push(name(gpu, there.into_iter(), textures.into_iter()));
    }
    let foreign = vk::QUEUE_FAMILY_FOREIGN_EXT;
    let layouts = (
        vk::ImageLayout::SHADER_READ_ONLY_OPTIMAL,
        vk::ImageLayout::GENERAL,
    );
    let reads = vk::AccessFlags::SHADER_READ | vk::AccessFlags::TRANSFER_READ;
    let given = transfer(gpu, kept, |family| Transfer {
        families: (family, foreign),
        layouts,
        access: (reads, vk::AccessFlags::empty()),
    })?;
    commands.extend(given.map(|given| given.barriers));
    Ok(commands)
}

fn buffers(kept: &Kept) -> &[BufferHandle] {
    &kept.shared.buffers
}

fn images(kept: &Kept) -> &[ImageHandle] {
    &kept.shared.images
}

/// Commands of wgpu's own that name these: a submission with them is refused if one has been destroyed, and keeps all of them
/// until it is done. The iterators call nothing of wgpu's, whose locks are held.
fn name<'a>(
    gpu: &Gpu,
    buffers: impl Iterator<Item = &'a BufferHandle>,
    images: impl Iterator<Item = &'a ImageHandle>,
) -> wgpu::CommandBuffer {
    let mut encoder = encoder(gpu.device());
    encoder.transition_resources(
        buffers.map(|handle| wgpu::BufferTransition {
            buffer: handle.buffer(),
            state: wgpu::BufferUses::STORAGE_READ_ONLY,
        }),
        images.map(|handle| wgpu::TextureTransition {
            texture: handle.texture(),
            selector: None,
            state: wgpu::TextureUses::RESOURCE,
        }),
    );
    encoder.finish()
}

#[derive(Clone, Copy)]
struct Transfer {
    families: (u32, u32),
    layouts: (vk::ImageLayout, vk::ImageLayout),
    access: (vk::AccessFlags, vk::AccessFlags),
}

struct Transferred {
    barriers: wgpu::CommandBuffer,
    /// Whether none had been destroyed.
    complete: bool,
}

/// A barrier for each that has not been destroyed, in an encoder of their own; nothing where there is nothing to transfer.
fn transfer<'a>(
    gpu: &Gpu,
    kept: impl Iterator<Item = &'a Kept> + Clone,
    how: impl Fn(u32) -> Transfer,
) -> Result<Option<Transferred>, Error> {
    let Some(vulkan) = gpu.vulkan().filter(|_| gpu.foreign()) else {
        return Ok(None);
    };
    if !kept.clone().any(Kept::is_shared) {
        return Ok(None);
    }
    let how = how(vulkan.queue_family());
    let mut complete = true;
    let barriers = record(gpu, |device, commands| {
        // Each by itself: wgpu keeps one at a time from being destroyed.
        for buffer in kept.clone().flat_map(buffers) {
            let done = buffer.with(|raw| {
                let barrier = vk::BufferMemoryBarrier::default()
                    .buffer(raw)
                    .size(vk::WHOLE_SIZE)
                    .src_queue_family_index(how.families.0)
                    .dst_queue_family_index(how.families.1)
                    .src_access_mask(how.access.0)
                    .dst_access_mask(how.access.1);
                // SAFETY: recording; a buffer of this device, which is live here. Until the work is done it is kept by the
                // commands that name it in the same submission. The foreign family's extension is on.
                unsafe { pipeline_barrier(device, commands, &[barrier], &[]) }
            });
            complete &= done.is_some();
        }
        for image in kept.flat_map(images) {
            let done = image.with(|raw| {
                let barrier = vk::ImageMemoryBarrier::default()
                    .image(raw)
                    .subresource_range(WHOLE)
                    .src_queue_family_index(how.families.0)
                    .dst_queue_family_index(how.families.1)
                    .old_layout(how.layouts.0)
                    .new_layout(how.layouts.1)
                    .src_access_mask(how.access.0)
                    .dst_access_mask(how.access.1);
                // SAFETY: as above, of an image of this device.
                unsafe { pipeline_barrier(device, commands, &[], &[barrier]) }
            });
            complete &= done.is_some();
        }
    })?;
    Ok(Some(Transferred { barriers, complete }))
}

/// Between all work before and all work after it.
///
/// # Safety
/// As for the call inside.
unsafe fn pipeline_barrier(
    device: &ash::Device,
    commands: vk::CommandBuffer,
    buffers: &[vk::BufferMemoryBarrier<'_>],
    images: &[vk::ImageMemoryBarrier<'_>],
) {
    // SAFETY: the caller's promises are the call's.
    unsafe {
        device.cmd_pipeline_barrier(
            commands,
            vk::PipelineStageFlags::ALL_COMMANDS,
            vk::PipelineStageFlags::ALL_COMMANDS,
            vk::DependencyFlags::empty(),
            &[],
            buffers,
            images,
        );
    }
}

const WHOLE: vk::ImageSubresourceRange = vk::ImageSubresourceRange {
    aspect_mask: vk::ImageAspectFlags::COLOR,
    base_mip_level: 0,
    level_count: 1,
    base_array_layer: 0,
    layer_count: 1,
};
