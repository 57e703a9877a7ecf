//! Copies from memory that wgpu does not know.

use dmaframe_vulkan::BufferImport;
use dmaframe_vulkan::ash::vk;

use super::super::{Gpu, wgpu};
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

/// Commands that copy pieces of `import` into `target`, which is wgpu's and whose handle is `raw`. They are one
/// submission. `fresh`: nothing has been written there yet.
///
/// The caller holds `import` until they are done, and has checked the pieces against both.
pub(in super::super) fn copy(
    gpu: &Gpu,
    import: &BufferImport,
    pieces: &[Piece],
    (target, raw, fresh): (&wgpu::Buffer, vk::Buffer, bool),
) -> Result<[wgpu::CommandBuffer; 2], Error> {
    // wgpu waits for those who read the last picture, and for this copy before anybody reads the next.
    let mut before = encoder(gpu.device());
    before.transition_resources(
        std::iter::once(wgpu::BufferTransition {
            buffer: target,
            state: wgpu::BufferUses::COPY_DST,
        }),
        std::iter::empty(),
    );
    let commands = record(gpu, |device, commands| {
        if fresh {
            // What the memory held before is nobody's business.
            let barrier = [vk::MemoryBarrier::default()
                .src_access_mask(vk::AccessFlags::TRANSFER_WRITE)
                .dst_access_mask(vk::AccessFlags::TRANSFER_WRITE)];
            // SAFETY: recording; a live buffer of this device that is to be written by transfers.
            unsafe {
                device.cmd_fill_buffer(commands, raw, 0, vk::WHOLE_SIZE, 0);
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
        for piece in pieces {
            let Some(from) = import.handle(piece.buffer) else {
                continue;
            };
            let region = vk::BufferCopy {
                src_offset: piece.from,
                dst_offset: piece.to,
                size: piece.len,
            };
            // SAFETY: recording; live buffers of this device with the transfer usages; the region is inside both.
            unsafe { device.cmd_copy_buffer(commands, from, raw, &[region]) };
        }
    })?;
    Ok([before.finish(), commands])
}
