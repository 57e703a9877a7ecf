//! What wgpu 30 does its own way: everything else is in `each`.

use dmaframe_vulkan::ash::vk;

use super::wgpu::hal::api::Vulkan;
use super::wgpu::hal::vulkan::{self, Adapter, CreateDeviceCallback, Queue};
use super::wgpu::hal::{DeviceError, OpenDevice};
use super::wgpu::{
    Backends, Device, DeviceDescriptor, Instance, InstanceDescriptor, Texture, TextureDescriptor,
};

/// wgpu on Vulkan.
pub(crate) fn instance() -> Instance {
    let mut descriptor = InstanceDescriptor::new_without_display_handle();
    descriptor.backends = Backends::VULKAN;
    // WGPU_VALIDATION=0: the validation layer, which debug builds have on, is slower than all the rest.
    descriptor.flags = descriptor.flags.with_env();
    Instance::new(descriptor)
}

/// Whether a submission can be made to wait for a semaphore.
pub(crate) const GPU_WAITS: bool = true;

/// Has the next submission wait. Another thread's may be the one: those after it wait for it.
pub(crate) fn add_wait(queue: &Queue, semaphore: vk::Semaphore) {
    queue.add_wait_semaphore(semaphore, None, vk::PipelineStageFlags::ALL_COMMANDS);
}

/// Takes the wait back, if no submission has it yet: the caller keeps the semaphore as if one had.
pub(crate) fn remove_wait(queue: &Queue, semaphore: vk::Semaphore) {
    let _ = queue.remove_wait_semaphore(semaphore);
}

/// Takes a signal back, if no submission has it yet. `false` where wgpu keeps it for the next submission: it never does here.
pub(crate) fn remove_signal(queue: &Queue, semaphore: vk::Semaphore) -> bool {
    let _ = queue.remove_signal_semaphore(semaphore);
    true
}

/// Opens a device; `more` adds to what wgpu enables.
///
/// # Safety
/// As for the call inside.
pub(crate) unsafe fn open(
    adapter: &Adapter,
    descriptor: &DeviceDescriptor<'_>,
    more: Box<CreateDeviceCallback<'_>>,
) -> Result<OpenDevice<Vulkan>, DeviceError> {
    // SAFETY: the caller's promises are the call's.
    unsafe {
        adapter.open_with_callback(
            descriptor.required_features,
            &descriptor.required_limits,
            &descriptor.memory_hints,
            Some(more),
        )
    }
}

/// The bytes of a mapped buffer.
pub(crate) fn mapped(buffer: &super::wgpu::Buffer) -> Option<super::wgpu::BufferView> {
    buffer.slice(..).get_mapped_range().ok()
}

/// Whether wgpu can be told in which layout a texture comes.
pub(crate) const KEEPS_CONTENTS: bool = true;

/// A texture that is in `SHADER_READ_ONLY_OPTIMAL` when it is first used, if `ready`; else nowhere.
///
/// # Safety
/// As for the call inside.
pub(crate) unsafe fn texture(
    device: &Device,
    hal: vulkan::Texture,
    descriptor: &TextureDescriptor<'_>,
    ready: bool,
) -> Texture {
    use super::wgpu::TextureUses;
    let state = if ready {
        TextureUses::RESOURCE
    } else {
        TextureUses::UNINITIALIZED
    };
    // SAFETY: the caller's promises are the call's.
    unsafe { device.create_texture_from_hal::<Vulkan>(hal, descriptor, state) }
}

/// The surface's next texture.
pub(crate) fn next_texture(surface: &super::wgpu::Surface<'_>) -> super::each::Next {
    use super::each::Next;
    use super::wgpu::CurrentSurfaceTexture as Current;
    match surface.get_current_texture() {
        Current::Success(texture) | Current::Suboptimal(texture) => Next::Texture(texture),
        Current::Timeout | Current::Occluded => Next::Later,
        Current::Outdated => Next::Outdated,
        Current::Lost => Next::Lost,
        Current::Validation => Next::Refused,
    }
}

/// Gives a texture to the screen.
pub(crate) fn present(gpu: &super::Gpu, texture: super::wgpu::SurfaceTexture) {
    gpu.queue().present(texture);
}
