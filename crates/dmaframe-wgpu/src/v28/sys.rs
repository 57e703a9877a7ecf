//! What wgpu 28 does its own way: everything else is in `each`.

use dmaframe_vulkan::ash::vk;

use super::wgpu::hal::api::Vulkan;
use super::wgpu::hal::vulkan::{self, Adapter, CreateDeviceCallback, Queue};
use super::wgpu::hal::{DeviceError, OpenDevice};
use super::wgpu::{
    Backends, Device, DeviceDescriptor, Instance, InstanceDescriptor, InstanceFlags, Texture,
    TextureDescriptor,
};

/// wgpu on Vulkan.
pub(crate) fn instance() -> Instance {
    Instance::new(&InstanceDescriptor {
        backends: Backends::VULKAN,
        // WGPU_VALIDATION=0: the validation layer, which debug builds have on, is slower than all the rest.
        flags: InstanceFlags::default().with_env(),
        ..InstanceDescriptor::default()
    })
}

/// Whether a submission can be made to wait for a semaphore.
pub(crate) const GPU_WAITS: bool = false;

/// It cannot: nobody makes such semaphores here.
pub(crate) fn add_wait(_queue: &Queue, _semaphore: vk::Semaphore) {}

/// As above.
pub(crate) fn remove_wait(_queue: &Queue, _semaphore: vk::Semaphore) {}

/// Takes a signal back, if no submission has it yet. `false` where wgpu keeps it for the next submission: it does here.
pub(crate) fn remove_signal(_queue: &Queue, _semaphore: vk::Semaphore) -> bool {
    false
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
    unsafe { adapter.open_with_callback(descriptor.required_features, &descriptor.memory_hints, Some(more)) }
}

/// The bytes of a mapped buffer.
pub(crate) fn mapped(buffer: &super::wgpu::Buffer) -> Option<super::wgpu::BufferView> {
    Some(buffer.slice(..).get_mapped_range())
}

/// Whether wgpu can be told in which layout a texture comes.
pub(crate) const KEEPS_CONTENTS: bool = false;

/// A texture. wgpu believes that it is nowhere, whatever `_ready` says.
///
/// # Safety
/// As for the call inside.
pub(crate) unsafe fn texture(
    device: &Device,
    hal: vulkan::Texture,
    descriptor: &TextureDescriptor<'_>,
    _ready: bool,
) -> Texture {
    // SAFETY: the caller's promises are the call's.
    unsafe { device.create_texture_from_hal::<Vulkan>(hal, descriptor) }
}

/// The surface's next texture.
pub(crate) fn next_texture(surface: &super::wgpu::Surface<'_>) -> super::each::Next {
    use super::each::Next;
    use super::wgpu::SurfaceError as Error;
    match surface.get_current_texture() {
        Ok(texture) => Next::Texture(texture),
        Err(Error::Timeout) => Next::Later,
        Err(Error::Outdated) => Next::Outdated,
        Err(Error::Lost) => Next::Lost,
        Err(Error::OutOfMemory | Error::Other) => Next::Refused,
    }
}

/// Gives a texture to the screen.
pub(crate) fn present(_gpu: &super::Gpu, texture: super::wgpu::SurfaceTexture) {
    texture.present();
}
