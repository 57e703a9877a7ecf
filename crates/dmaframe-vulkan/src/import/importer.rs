//! Import with a cache.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ash::vk;
use dmaframe_core::{DeviceClaim, Frame};

use super::buffer::BufferImport;
use super::image::ImageImport;
use crate::cache::{CacheStats, ImportCache};
use crate::error::{Error, Refusal, Route};
use crate::gpu::Gpu;

/// How frames are imported.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Usage of imported buffers. Only usages that read: an import shares memory with its producer.
    pub buffer_usage: vk::BufferUsageFlags,
    /// Usage of imported images.
    pub image_usage: vk::ImageUsageFlags,
    /// How many imports are kept.
    pub capacity: usize,
    off: u8,
}

impl Default for ImportOptions {
    /// Buffers for storage and as copy source, images for sampling and as copy source, 64 imports.
    fn default() -> Self {
        Self {
            buffer_usage: vk::BufferUsageFlags::STORAGE_BUFFER | vk::BufferUsageFlags::TRANSFER_SRC,
            image_usage: vk::ImageUsageFlags::SAMPLED | vk::ImageUsageFlags::TRANSFER_SRC,
            capacity: 64,
            off: 0,
        }
    }
}

impl ImportOptions {
    /// Switches a route off: it refuses with [`Refusal::SwitchedOff`]. For finding out what a fallback does.
    #[must_use]
    pub fn without(mut self, route: Route) -> Self {
        self.off |= route.bit();
        self
    }

    /// Usage of imported buffers.
    #[must_use]
    pub fn buffer_usage(mut self, usage: vk::BufferUsageFlags) -> Self {
        self.buffer_usage = usage;
        self
    }

    /// Usage of imported images.
    #[must_use]
    pub fn image_usage(mut self, usage: vk::ImageUsageFlags) -> Self {
        self.image_usage = usage;
        self
    }

    /// How many imports are kept.
    #[must_use]
    pub fn capacity(mut self, imports: usize) -> Self {
        self.capacity = imports;
        self
    }
}

/// An import in use for one frame: keeps the frame, and so its lease, until it is dropped.
///
/// Keep it until the work that uses it is done ([`Commands::hold`](crate::Commands::hold) does), or hand the frame the
/// work's fence ([`Frame::release_after`]) and drop the frame then.
#[derive(Debug)]
#[must_use = "dropping it gives the frame back"]
pub struct Held<T> {
    /// The import, which may also be in the cache.
    pub import: Arc<T>,
    /// The frame.
    pub frame: Frame,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self {
            import: Arc::clone(&self.import),
            frame: self.frame.clone(),
        }
    }
}

impl<T> std::ops::Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.import
    }
}

#[derive(Clone, Debug)]
enum Kept {
    Buffer(Arc<BufferImport>),
    Image(Arc<ImageImport>),
}

impl Kept {
    fn buffer_handles(&self) -> usize {
        match self {
            Self::Buffer(import) => import.buffer_handles(),
            Self::Image(_) => 0,
        }
    }
}

/// Imports frames on one device and keeps the imports.
///
/// Imports do not block, and wait for nothing: the frame's fences are the user's to wait for, on the GPU
/// ([`Commands::wait_for`](crate::Commands::wait_for)) or on the CPU ([`sync::wait`](crate::sync::wait)).
#[derive(Debug)]
pub struct Importer {
    gpu: Gpu,
    options: ImportOptions,
    cache: Mutex<ImportCache<Kept>>,
}

impl Importer {
    /// With [`ImportOptions::default`].
    #[must_use]
    pub fn new(gpu: &Gpu) -> Self {
        Self::with_options(gpu, ImportOptions::default())
    }

    /// With other options.
    #[must_use]
    pub fn with_options(gpu: &Gpu, options: ImportOptions) -> Self {
        Self {
            gpu: gpu.clone(),
            options,
            cache: Mutex::new(ImportCache::counting(options.capacity, Kept::buffer_handles)),
        }
    }

    /// A linear dma-buf frame as buffers. The frame is borrowed: on refusal it is as before.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason, [`Error::DeviceLost`].
    pub fn buffer(&self, frame: &Frame) -> Result<Held<BufferImport>, Error> {
        self.buffers_by(frame, Route::Buffer, BufferImport::from_dmabuf)
    }

    /// The pages of a CPU frame (a memfd's, or bytes that are whole pages) as buffers.
    ///
    /// # Errors
    /// As [`Self::buffer`].
    pub fn host_pointer(&self, frame: &Frame) -> Result<Held<BufferImport>, Error> {
        self.buffers_by(frame, Route::HostPointer, BufferImport::from_pages)
    }

    /// A dma-buf frame as images, one for each plane (R8 and RG8 for NV12).
    ///
    /// # Errors
    /// As [`Self::buffer`].
    pub fn image(&self, frame: &Frame) -> Result<Held<ImageImport>, Error> {
        self.images_by(frame, Route::Image)
    }

    /// A dma-buf frame as one multi-planar image. Many drivers take no dma-buf so, or only some modifiers.
    ///
    /// # Errors
    /// As [`Self::buffer`].
    pub fn multi_planar_image(&self, frame: &Frame) -> Result<Held<ImageImport>, Error> {
        self.images_by(frame, Route::MultiPlanarImage)
    }

    /// As buffers by the best route that takes it: the dma-buf itself, or the CPU's pages.
    ///
    /// # Errors
    /// [`Error::NoRoute`] with every reason: copy the frame then ([`Upload`](crate::Upload)). [`Error::DeviceLost`].
    pub fn any_buffer(&self, frame: &Frame) -> Result<Held<BufferImport>, Error> {
        let mut reasons = Vec::new();
        for route in [Route::Buffer, Route::HostPointer] {
            let tried = match route {
                Route::Buffer => self.buffer(frame),
                _ => self.host_pointer(frame),
            };
            match tried {
                Err(Error::Refused { route, refusal }) => reasons.push((route, refusal)),
                other => return other,
            }
        }
        Err(Error::NoRoute(reasons))
    }

    /// A linear dma-buf from elsewhere that the device is about to write, as buffers.
    ///
    /// Not cached: pools keep what this gives for each of their slots, and write only while they have the slot's claim.
    /// From here on CPU views of its frames copy rows out ([`Object::lend`](dmaframe_core::Object::lend)).
    ///
    /// # Errors
    /// As [`Self::buffer`].
    pub fn target_buffer(
        &self,
        claim: &DeviceClaim,
        usage: vk::BufferUsageFlags,
    ) -> Result<Arc<BufferImport>, Error> {
        self.check(Route::Buffer)
            .and_then(|()| BufferImport::for_writing(&self.gpu, claim, usage))
            .map(Arc::new)
            .map_err(Error::refused(Route::Buffer))
    }

    /// The same as images to render into.
    ///
    /// # Errors
    /// As [`Self::buffer`].
    pub fn target_image(
        &self,
        claim: &DeviceClaim,
        usage: vk::ImageUsageFlags,
    ) -> Result<Arc<ImageImport>, Error> {
        self.check(Route::Image)
            .and_then(|()| ImageImport::for_writing(&self.gpu, claim, usage))
            .map(Arc::new)
            .map_err(Error::refused(Route::Image))
    }

    fn buffers_by(
        &self,
        frame: &Frame,
        route: Route,
        make: impl Fn(&Gpu, &Frame, vk::BufferUsageFlags) -> Result<BufferImport, Refusal>,
    ) -> Result<Held<BufferImport>, Error> {
        let refused = Error::refused(route);
        self.check(route).map_err(&refused)?;
        if let Some(Kept::Buffer(import)) = self.cache().get(frame, route) {
            return Ok(Held {
                import: Arc::clone(import),
                frame: frame.clone(),
            });
        }
        let import = make(&self.gpu, frame, self.options.buffer_usage).map_err(&refused)?;
        let import = Arc::new(import);
        self.cache()
            .insert(frame.buffer(), route, Kept::Buffer(Arc::clone(&import)));
        Ok(Held {
            import,
            frame: frame.clone(),
        })
    }

    fn images_by(&self, frame: &Frame, route: Route) -> Result<Held<ImageImport>, Error> {
        let refused = Error::refused(route);
        self.check(route).map_err(&refused)?;
        if let Some(Kept::Image(import)) = self.cache().get(frame, route) {
            return Ok(Held {
                import: Arc::clone(import),
                frame: frame.clone(),
            });
        }
        let import = Arc::new(
            ImageImport::from_dmabuf(&self.gpu, frame, self.options.image_usage, route).map_err(&refused)?,
        );
        self.cache()
            .insert(frame.buffer(), route, Kept::Image(Arc::clone(&import)));
        Ok(Held {
            import,
            frame: frame.clone(),
        })
    }

    fn check(&self, route: Route) -> Result<(), Refusal> {
        if self.options.off & route.bit() != 0 {
            return Err(Refusal::SwitchedOff);
        }
        Ok(())
    }

    fn cache(&self) -> MutexGuard<'_, ImportCache<Kept>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of imports whose buffer is gone ([`ImportCache::trim`]).
    pub fn trim(&self) -> usize {
        self.cache().trim()
    }

    /// Lets go of a pool's imports when it is renegotiated.
    pub fn retire(&self, generation: u64) -> usize {
        self.cache().retire(generation)
    }

    /// How many imports are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.cache().len()
    }

    /// The cache's counters.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.cache().stats()
    }

    /// The device.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }
}
