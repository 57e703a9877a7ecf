//! Copies from memory that wgpu does not know.

use dmaframe_vulkan::BufferImport;
use dmaframe_vulkan::ash::vk;

use super::super::{Gpu, wgpu};
use super::handle::BufferHandle;
use super::{encoder, record};
use crate::Error;

/// A piece of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Piece {
    /// Which of the import's buffers.
    pub(in super::super) buffer: usize,
    pub(in super::super) from: u64,
    pub(in super::super) to: u64,
    pub(in super::super) len: u64,
}

/// Pieces of `import` into `target`. `fresh`: nothing has been written there yet.
#[derive(Clone, Copy)]
pub(in super::super) struct CopyJob<'a> {
    pub(in super::super) import: &'a BufferImport,
    pub(in super::super) pieces: &'a [Piece],
    pub(in super::super) target: &'a BufferHandle,
    pub(in super::super) fresh: bool,
}

/// Commands that do all of these. They are one submission.
///
/// The caller holds the imports until they are done, and has checked the pieces against both sides. The first of the commands
/// name the targets, so wgpu keeps those. [`Error::Destroyed`] when the application has destroyed one.
pub(in super::super) fn copy<'a>(
    gpu: &Gpu,
    jobs: impl Iterator<Item = CopyJob<'a>> + Clone,
) -> Result<[wgpu::CommandBuffer; 2], Error> {
    // wgpu waits for those who read the last pictures, and for these copies before anybody reads the next.
    let mut before = encoder(gpu.device());
    before.transition_resources(
        jobs.clone().map(|job| wgpu::BufferTransition {
            buffer: job.target.buffer(),
            state: wgpu::BufferUses::COPY_DST,
        }),
        std::iter::empty(),
    );
    let mut complete = true;
    let commands = record(gpu, |device, commands| {
        let mut filled = false;
        for job in jobs.clone().filter(|job| job.fresh) {
            // What the memory held before is nobody's business.
            let done = job.target.with(|to| {
                // SAFETY: recording; a buffer of this device that is to be written by transfers, which is live here and kept
                // by the commands that name it until the work is done.
                unsafe { device.cmd_fill_buffer(commands, to, 0, vk::WHOLE_SIZE, 0) }
            });
            complete &= done.is_some();
            filled = true;
        }
        if filled {
            let barrier = [vk::MemoryBarrier::default()
                .src_access_mask(vk::AccessFlags::TRANSFER_WRITE)
                .dst_access_mask(vk::AccessFlags::TRANSFER_WRITE)];
            // SAFETY: recording.
            unsafe {
                device.cmd_pipeline_barrier(
                    commands,
                    vk::PipelineStageFlags::TRANSFER,
                    vk::PipelineStageFlags::TRANSFER,
                    vk::DependencyFlags::empty(),
                    &barrier,
                    &[],
                    &[],
                );
            }
        }
        for job in jobs {
            let done = job.target.with(|to| {
                for piece in job.pieces {
                    let Some(from) = job.import.handle(piece.buffer) else {
                        continue;
                    };
                    let region = vk::BufferCopy {
                        src_offset: piece.from,
                        dst_offset: piece.to,
                        size: piece.len,
                    };
                    // SAFETY: recording; buffers of this device with the transfer usages; the region is inside both. The
                    // import's is the caller's, the target's is live here and kept as above.
                    unsafe { device.cmd_copy_buffer(commands, from, to, &[region]) };
                }
            });
            complete &= done.is_some();
        }
    })?;
    if !complete {
        return Err(Error::Destroyed);
    }
    Ok([before.finish(), commands])
}
