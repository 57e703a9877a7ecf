//! What only the caller can promise: somebody else's device and queue, and handles that change owners.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrayvec::ArrayVec;
use ash::vk;
use dmaframe_core::{DeviceClaim, Fence, SyncFile};

use crate::commands::is_done_well;
use crate::error::{Error, Refusal, Route};
use crate::extensions::Extensions;
use crate::gpu::Gpu;
use crate::import::{BufferImport, ImageImport, Use};
use crate::queue::Queue;
use crate::sys::commands::RawQueue;
use crate::sys::context::{Context, Owner};
use crate::sys::host::HostPages;
use crate::sys::memory::{self, BoundBuffer};
use crate::sys::semaphore::Semaphore;

/// Somebody else's device.
pub struct RawDevice {
    /// The instance, made for Vulkan 1.1 or later.
    pub instance: ash::Instance,
    /// The physical device.
    pub physical_device: vk::PhysicalDevice,
    /// The device.
    pub device: ash::Device,
    /// The queue family that work with the frames is submitted to.
    pub queue_family: u32,
    /// The extensions that were enabled when the device was made; no others.
    pub extensions: Extensions,
    /// Keeps instance and device alive: a clone of the toolkit's device.
    pub owner: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for RawDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawDevice")
            .field("queue_family", &self.queue_family)
            .field("extensions", &self.extensions.to_string())
            .finish_non_exhaustive()
    }
}

/// Works on a toolkit's device. Nothing is changed on it, and it is not destroyed.
///
/// # Errors
/// [`Error::Unsupported`] below Vulkan 1.1.
///
/// # Safety
/// The handles belong together and are valid as long as `owner` lives; the instance was made for Vulkan 1.1 or later;
/// every extension in `extensions` is enabled on the device; `queue_family` is one it was made with.
pub unsafe fn adopt(raw: RawDevice) -> Result<Gpu, Error> {
    // SAFETY: the promises are this function's own.
    let context = unsafe {
        Context::new(
            raw.instance,
            raw.physical_device,
            raw.device,
            raw.queue_family,
            raw.extensions,
            Owner::Theirs(raw.owner),
        )
    };
    if context.identity.api_version < vk::API_VERSION_1_1 {
        return Err(Error::Unsupported {
            what: "Vulkan 1.1",
            found: context.identity.name,
        });
    }
    Ok(Gpu(Arc::new(context)))
}

/// A [`Queue`] on queue `index` of the device's family.
///
/// # Errors
/// [`Error::Unsupported`] below Vulkan 1.2, [`Error::Vk`].
///
/// # Safety
/// The device was made with that queue, and with the `timelineSemaphore` feature; nobody else submits to it, presents
/// on it or waits for it to be idle while the result or a [`Submission`](crate::Submission) of it lives. Toolkits
/// that upload images from worker threads do.
pub unsafe fn queue(gpu: &Gpu, index: u32) -> Result<Queue, Error> {
    // SAFETY: the promise is this function's own.
    let raw = unsafe { RawQueue::new(&gpu.0, index) };
    Queue::new(gpu, raw)
}

impl Gpu {
    /// The instance.
    #[must_use]
    pub fn raw_instance(&self) -> &ash::Instance {
        &self.0.instance
    }

    /// The physical device.
    #[must_use]
    pub fn raw_physical_device(&self) -> vk::PhysicalDevice {
        self.0.physical
    }

    /// The device, to record and make things with. Valid as long as this lives.
    #[must_use]
    pub fn raw_device(&self) -> &ash::Device {
        &self.0.device
    }
}

/// A buffer whose owner is the caller now: destroy the buffer, then free the memory, then drop `pages`.
#[derive(Debug)]
pub struct OwnedBuffer {
    /// The buffer.
    pub buffer: vk::Buffer,
    /// Its memory, bound at 0.
    pub memory: vk::DeviceMemory,
    /// Bytes.
    pub size: u64,
    /// What the memory is made of, where it is this process's pages.
    pub pages: Option<Pages>,
}

impl OwnedBuffer {
    /// A buffer in the device's own memory, for copies of frames that shaders read better from there.
    ///
    /// Its contents are whatever the memory held: fill it before anybody reads it.
    ///
    /// # Errors
    /// [`Refusal::Vk`], [`Refusal::NoMemoryType`].
    pub fn device_local(gpu: &Gpu, size: u64, usage: vk::BufferUsageFlags) -> Result<Self, Refusal> {
        let none = vk::ExternalMemoryHandleTypeFlags::empty();
        let buffer = memory::Buffer::new(&gpu.0, size, usage, none)?;
        let needs = buffer.needs();
        let memory = memory::Memory::plain(&gpu.0, needs, vk::MemoryPropertyFlags::DEVICE_LOCAL)
            .or_else(|_| memory::Memory::plain(&gpu.0, needs, vk::MemoryPropertyFlags::empty()))?;
        let (buffer, memory, _) = buffer.bind(memory)?.into_handles();
        Ok(Self {
            buffer,
            memory,
            size,
            pages: None,
        })
    }
}

/// CPU pages that device memory was made of; they stay while this lives.
pub struct Pages(#[allow(dead_code, reason = "held for its drop")] HostPages);

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({} bytes)", self.0.len())
    }
}

/// An image whose owner is the caller now: destroy the image, then free the memories.
#[derive(Debug)]
pub struct OwnedImage {
    /// The image.
    pub image: vk::Image,
    /// Its memories: one, or one for each memory plane of a disjoint image.
    pub memories: ArrayVec<vk::DeviceMemory, 4>,
}

impl BufferImport {
    /// Another buffer over staging memory ([`Upload`](crate::Upload)), for a caller that destroys it himself but not the memory
    /// (wgpu-hal's `from_raw`). `None` where this is no such memory.
    ///
    /// It may live longer than this import, but work that uses it has to be done by then: the ring writes the memory again,
    /// or it is freed.
    ///
    /// # Errors
    /// [`Refusal::Vk`].
    pub fn alias(&self) -> Result<Option<vk::Buffer>, Refusal> {
        let alias = self.staging().map(BoundBuffer::alias).transpose()?;
        Ok(alias.map(memory::Buffer::into_handle))
    }

    /// Gives the handles to a caller that destroys them itself (wgpu-hal's `from_raw_managed`).
    ///
    /// The device must outlive them, which is the caller's business from here on.
    #[must_use]
    pub fn into_owned(self) -> ArrayVec<OwnedBuffer, 4> {
        let buffers = self.into_buffers().into_iter();
        buffers
            .map(|bound| {
                let size = bound.size();
                let (buffer, memory, pages) = bound.into_handles();
                OwnedBuffer {
                    buffer,
                    memory,
                    size,
                    pages: pages.map(Pages),
                }
            })
            .collect()
    }
}

impl ImageImport {
    /// Gives the handles to a caller that destroys them itself.
    #[must_use]
    pub fn into_owned(self) -> ArrayVec<OwnedImage, 4> {
        let images = self.into_images().into_iter();
        images
            .map(|image| {
                let (image, memories) = image.into_bound().into_handles();
                OwnedImage { image, memories }
            })
            .collect()
    }
}

/// [`BufferImport::pages_for_writing`] for a producer that keeps the claim while the device writes: CPU views of the
/// buffer's frames stay slices, as nothing has been lent.
///
/// # Errors
/// As [`BufferImport::pages_for_writing`].
///
/// # Safety
/// Work that writes the import is submitted only while a claim of this buffer is held, and that claim is neither dropped
/// nor made a frame before the work is done, whatever happens to the device's owner or to the thread that waits. (A
/// frame whose acquire fence is the work's is not enough: whoever has the frame may replace the fence.)
pub unsafe fn claimed_pages(
    gpu: &Gpu,
    claim: &DeviceClaim,
    usage: vk::BufferUsageFlags,
) -> Result<BufferImport, Refusal> {
    BufferImport::of_memfds(gpu, claim.buffer(), usage, Use::WritesClaimed)
}

/// A semaphore that one submission waits for, with a fence in it.
///
/// Keep it until that submission is done.
#[derive(Debug)]
pub struct WaitSemaphore(Semaphore);

impl WaitSemaphore {
    /// `None` when the fence has signalled already and there is nothing to wait for.
    ///
    /// # Errors
    /// [`Error::Refused`] on a device without SYNC_FD semaphores; [`Error::Vk`]; [`Error::Frame`], with `FenceFailed` for one
    /// that has signalled with an error.
    pub fn new(gpu: &Gpu, fence: Fence) -> Result<Option<Self>, Error> {
        if is_done_well(&fence)? {
            return Ok(None);
        }
        gpu.0.need_sync_fd(false).map_err(Error::refused(Route::Export))?;
        let Some(file) = fence.into_sync_file().map_err(|rejected| rejected.error)? else {
            return Ok(None);
        };
        let semaphore = Semaphore::new(&gpu.0, false)?;
        semaphore.import(file.into())?;
        Ok(Some(Self(semaphore)))
    }

    /// The handle: wait for it once.
    #[must_use]
    pub fn handle(&self) -> vk::Semaphore {
        self.0.handle()
    }
}

/// A semaphore that a submission signals and that becomes a fence.
///
/// Keep it until that submission is done; use it again after [`Self::export`].
#[derive(Debug)]
pub struct SignalSemaphore(Semaphore);

impl SignalSemaphore {
    /// A new one.
    ///
    /// # Errors
    /// [`Error::Refused`] on a device without SYNC_FD semaphores; [`Error::Vk`].
    pub fn new(gpu: &Gpu) -> Result<Self, Error> {
        gpu.0.need_sync_fd(true).map_err(Error::refused(Route::Export))?;
        Semaphore::new(&gpu.0, true).map(Self)
    }

    /// The handle: have it signalled after the work.
    #[must_use]
    pub fn handle(&self) -> vk::Semaphore {
        self.0.handle()
    }

    /// The work's completion. Some drivers (lavapipe) block here until the work is done.
    ///
    /// # Errors
    /// [`Error::Vk`].
    ///
    /// # Safety
    /// Work that signals the semaphore has been submitted since it was made or last exported, and nothing waits for it.
    pub unsafe fn export(&self) -> Result<Fence, Error> {
        Ok(match self.0.export()? {
            Some(fd) => SyncFile::new(fd)?.into(),
            None => Fence::Signaled,
        })
    }
}
