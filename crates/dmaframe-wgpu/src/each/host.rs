//! CPU frames that the GPU reads from their own pages, by one copy into its memory.

use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::{Access, Frame};
use dmaframe_vulkan::BufferImport;
use dmaframe_vulkan::ash::vk;

use super::Gpu;
use super::copies::{Batch, Copies, Copy};
use super::importer::Tried;
use crate::{Error, Refusal, Route};

/// The frame's pages as memory of the device.
pub(super) fn pages(gpu: &Gpu, frame: &Frame) -> Result<Arc<BufferImport>, Refusal> {
    let vulkan = gpu.vulkan().ok_or(Refusal::NotVulkan)?;
    let import = BufferImport::from_pages(vulkan, frame, vk::BufferUsageFlags::TRANSFER_SRC)?;
    Ok(Arc::new(import))
}

/// The copy, into the batch. The GPU waits for the frame's fences, or this thread does.
pub(super) fn copy(
    gpu: &Gpu,
    copies: &Copies,
    frame: &Frame,
    pages: &Arc<BufferImport>,
    wait: Duration,
    batch: &mut Batch,
) -> Result<Tried, Error> {
    let copy = Copy {
        from: pages,
        route: Route::HostPointer,
        reads: Some(frame),
        wait: gpu.ready(frame, Access::Read, wait)?,
    };
    copies.copy(gpu, copy, batch)
}
