//! Ownership of memory that other devices use too.

use arrayvec::ArrayVec;
use dmaframe_vulkan::ash::vk;

use super::super::imported::Kept;
use super::super::{Gpu, Source, wgpu};
use super::{encoder, record};
use crate::Error;

/// Ownership from other devices, before work that reads.
pub(in super::super) fn take_over<'a>(
    gpu: &Gpu,
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
pub(in super::super) fn give_back<'a>(
    gpu: &Gpu,
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
    gpu: &Gpu,
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
