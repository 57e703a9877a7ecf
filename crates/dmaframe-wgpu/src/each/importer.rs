//! Frames in, by the best route that takes them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dmaframe_core::Frame;
use dmaframe_vulkan::{BufferImport, CacheStats, ImportCache};

use super::imported::{Kept, Shared};
use super::upload::Uploads;
use super::{Gpu, Imported, Source, sys};
use crate::{Error, ImportOptions, Refusal, Route};

/// What a route said.
pub(super) enum Tried {
    /// It took the frame.
    Taken(Arc<Kept>),
    /// It did not; the next one may.
    Refused(Refusal),
}

/// Imports frames on one device, by the best route that takes each, and keeps the imports.
///
/// Any number of threads may use it, and any number of importers one device.
#[derive(Debug)]
pub struct Importer {
    gpu: Gpu,
    options: ImportOptions,
    cache: Mutex<ImportCache<Arc<Kept>>>,
    uploads: Uploads,
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
            cache: Mutex::new(ImportCache::new(options.capacity)),
            uploads: Uploads::new(options.slots),
            options,
        }
    }

    /// A frame for the GPU to read. It is borrowed: after an error it is as before.
    ///
    /// Imports of dma-bufs do not block; the second one of a buffer costs no system call and no allocation. Routes that
    /// copy wait for the frame's fences, [`ImportOptions::wait`] at most.
    ///
    /// # Errors
    /// [`Error::NoRoute`] with the reason of each route; [`Error::Timeout`], [`Error::Busy`], [`Error::DeviceLost`].
    pub fn import(&self, frame: &Frame) -> Result<Imported, Error> {
        if let Some(kept) = self.cache().get(frame, CACHED) {
            return Ok(self.imported(frame, Arc::clone(kept)));
        }
        let mut reasons: Vec<_> = self
            .options
            .routes
            .off()
            .map(|route| (route, Refusal::SwitchedOff))
            .collect();
        for route in self.options.routes.as_slice() {
            match self.by(*route, frame)? {
                Tried::Taken(kept) => return Ok(self.imported(frame, kept)),
                Tried::Refused(refusal) => reasons.push((*route, refusal)),
            }
        }
        Err(Error::NoRoute(reasons))
    }

    fn imported(&self, frame: &Frame, kept: Arc<Kept>) -> Imported {
        Imported {
            gpu: self.gpu.clone(),
            frame: frame.clone(),
            kept,
            wait: self.options.wait,
        }
    }

    fn by(&self, route: Route, frame: &Frame) -> Result<Tried, Error> {
        match route {
            Route::Buffer => self.buffer(frame),
            Route::Upload => self.uploads.upload(&self.gpu, frame, self.options.wait),
            _ => Ok(Tried::Refused(Refusal::SwitchedOff)),
        }
    }

    fn buffer(&self, frame: &Frame) -> Result<Tried, Error> {
        let Some(vulkan) = self.gpu.vulkan() else {
            return Ok(Tried::Refused(Refusal::NotVulkan));
        };
        if let Err(refusal) = self.fits_bindings(frame) {
            return Ok(Tried::Refused(refusal));
        }
        let import = match BufferImport::from_dmabuf(vulkan, frame, sys::SHADER_READS) {
            Ok(import) => import,
            Err(refusal) => return refused(Route::Buffer, refusal),
        };
        let (source, handles) = sys::buffers(self.gpu.device(), import)?;
        let shared = Shared {
            buffers: handles,
            ..Shared::default()
        };
        let kept = Arc::new(Kept::new(Route::Buffer, Source::Buffers(source), shared));
        self.cache().insert(frame.buffer(), CACHED, Arc::clone(&kept));
        Ok(Tried::Taken(kept))
    }

    /// Shaders bind whole objects, and wgpu refuses what its limits forbid only when it is too late for another route.
    fn fits_bindings(&self, frame: &Frame) -> Result<(), Refusal> {
        for object in frame.buffer().objects() {
            fits(&self.gpu, object.size())?;
        }
        Ok(())
    }

    fn cache(&self) -> MutexGuard<'_, ImportCache<Arc<Kept>>> {
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

/// A buffer has one entry, by whichever route: the cache's own distinction of routes is not needed here.
const CACHED: Route = Route::Buffer;

/// Whether a storage binding may be so long.
pub(super) fn fits(gpu: &Gpu, bytes: u64) -> Result<(), Refusal> {
    let limits = gpu.limits();
    let limit = limits.0.min(limits.1);
    if bytes > limit {
        return Err(Refusal::Limit {
            what: "the object's length in bytes",
            value: bytes,
            limit,
        });
    }
    if bytes % 4 != 0 {
        return Err(Refusal::Limit {
            what: "the object's length in bytes, which is not a multiple of 4,",
            value: bytes,
            limit: bytes / 4 * 4,
        });
    }
    Ok(())
}

/// A refusal, unless it is the device's end.
pub(super) fn refused(route: Route, refusal: Refusal) -> Result<Tried, Error> {
    match refusal {
        Refusal::Vk {
            call,
            result: dmaframe_vulkan::ash::vk::Result::ERROR_DEVICE_LOST,
        } => Err(Error::DeviceLost {
            text: format!("{route}: {call}"),
        }),
        refusal => Ok(Tried::Refused(refusal)),
    }
}
