//! Semaphores on wgpu's queue.

use dmaframe_core::Fence;
use dmaframe_vulkan::ash::vk;
use dmaframe_vulkan::raw::{SignalSemaphore, WaitSemaphore};

use super::super::{version, wgpu};
use wgpu::hal::api::Vulkan;

/// Whether the device was valid a moment ago; wgpu does not say so otherwise. It stays invalid for ever.
pub(in super::super) fn is_alive(device: &wgpu::Device) -> bool {
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    // SAFETY: nothing is recorded.
    unsafe { encoder.as_hal_mut::<Vulkan, _, _>(|encoder| encoder.is_some()) }
}

/// Has the next submission signal `semaphore`, which the caller keeps until it is done.
pub(in super::super) fn signal(queue: &wgpu::Queue, semaphore: vk::Semaphore, value: Option<u64>) {
    // SAFETY: the guard is only used for the call.
    if let Some(queue) = unsafe { queue.as_hal::<Vulkan>() } {
        queue.add_signal_semaphore(semaphore, value);
    }
}

/// Has the next submission wait for the semaphores, which the caller keeps until it is done.
pub(in super::super) fn wait_for(queue: &wgpu::Queue, semaphores: &[WaitSemaphore]) {
    // SAFETY: the guard is only used for the calls.
    if let (false, Some(queue)) = (semaphores.is_empty(), unsafe { queue.as_hal::<Vulkan>() }) {
        for semaphore in semaphores {
            version::add_wait(&queue, semaphore.handle());
        }
    }
}

/// Takes back what no submission has taken.
pub(in super::super) fn forget_waits(queue: &wgpu::Queue, semaphores: &[WaitSemaphore]) {
    // SAFETY: as in `wait_for`.
    if let (false, Some(queue)) = (semaphores.is_empty(), unsafe { queue.as_hal::<Vulkan>() }) {
        for semaphore in semaphores {
            version::remove_wait(&queue, semaphore.handle());
        }
    }
}

/// Takes back what no submission has taken. `false` where wgpu still has it, for the next submission.
pub(in super::super) fn forget_signal(queue: &wgpu::Queue, semaphore: vk::Semaphore) -> bool {
    // SAFETY: as in `wait_for`.
    unsafe { queue.as_hal::<Vulkan>() }.is_none_or(|queue| version::remove_signal(&queue, semaphore))
}

/// Takes the fence out. For a semaphore whose signal has been submitted.
pub(in super::super) fn export(semaphore: &SignalSemaphore) -> Result<Fence, dmaframe_vulkan::Error> {
    // SAFETY: `Marker::mark`, the only caller, has submitted the signal, on a device that was valid after it, and
    // does this once.
    unsafe { semaphore.export() }
}
