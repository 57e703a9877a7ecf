//! Handles of buffers and textures that are wgpu's, which an application may destroy at any time.
//!
//! wgpu frees what is destroyed at once, unless work that it knows of uses it. So a handle is read only while wgpu is kept from
//! destroying anything, and whoever records it has wgpu's own commands name the resource in the same submission: wgpu refuses
//! the submission if it was destroyed before, and frees it after the submission if it is destroyed later. What is destroyed
//! between its recording and its submission leaves commands that are dropped without ever being submitted.

use dmaframe_vulkan::ash::vk;

use super::super::wgpu;
use wgpu::hal::api::Vulkan;

/// A buffer of wgpu's with its handle.
#[derive(Clone, Debug)]
pub(in super::super) struct BufferHandle {
    buffer: wgpu::Buffer,
    raw: vk::Buffer,
}

impl BufferHandle {
    /// `raw` is the buffer's own.
    pub(super) fn new(buffer: wgpu::Buffer, raw: vk::Buffer) -> Self {
        Self { buffer, raw }
    }

    pub(in super::super) fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// The handle, live until `work` returns; `None` when it was destroyed. `work` calls nothing of wgpu's, whose lock is held.
    pub(super) fn with<T>(&self, work: impl FnOnce(vk::Buffer) -> T) -> Option<T> {
        // SAFETY: nothing is done with what the guard leads to; it only keeps it from being destroyed.
        let live = unsafe { self.buffer.as_hal::<Vulkan>() }?;
        let done = work(self.raw);
        drop(live);
        Some(done)
    }

    pub(in super::super) fn is_destroyed(&self) -> bool {
        self.with(|_| ()).is_none()
    }
}

/// A texture of wgpu's with its handle.
#[derive(Clone, Debug)]
pub(in super::super) struct ImageHandle {
    texture: wgpu::Texture,
    raw: vk::Image,
}

impl ImageHandle {
    /// `raw` is the texture's own.
    pub(super) fn new(texture: wgpu::Texture, raw: vk::Image) -> Self {
        Self { texture, raw }
    }

    pub(super) fn texture(&self) -> &wgpu::Texture {
        &self.texture
    }

    /// As [`BufferHandle::with`].
    pub(super) fn with<T>(&self, work: impl FnOnce(vk::Image) -> T) -> Option<T> {
        // SAFETY: nothing is done with what the guard leads to; it only keeps it from being destroyed.
        let live = unsafe { self.texture.as_hal::<Vulkan>() }?;
        let done = work(self.raw);
        drop(live);
        Some(done)
    }

    pub(in super::super) fn is_destroyed(&self) -> bool {
        self.with(|_| ()).is_none()
    }
}
