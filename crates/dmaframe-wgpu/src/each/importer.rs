//! Frames in, by the best route that takes them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dmaframe_core::Frame;
use dmaframe_vulkan::{BufferImport, CacheStats, ImportCache};

use super::copies::{Batch, Copies};
use super::imported::{Kept, Shared};
use super::submission::gone;
use super::upload::Uploads;
use super::{Gpu, Imported, Source, host, images, sys};
use crate::verdict::{Kind, Verdicts, holds_for_frame};
use crate::{Error, ImportOptions, Refusal, Route, Verdict};

/// What a route said.
pub(super) enum Tried {
    /// It took the frame.
    Taken(Arc<Kept>),
    /// It did not; the next one may.
    Refused(Refusal),
}

/// What is known of a buffer that was imported before.
#[derive(Clone, Debug)]
enum Known {
    /// Its memory is the GPU's to read.
    Import(Arc<Kept>),
    /// The GPU copies from its pages.
    Pages(Arc<BufferImport>),
    /// It has been uploaded, since no other route takes it.
    Upload,
    /// Bytes that were uploaded once. If they come again they are a pool's, and worth an import.
    Once,
}

impl Known {
    /// How many handles to its buffer this is.
    fn buffer_handles(&self) -> usize {
        match self {
            Self::Pages(pages) => pages.buffer_handles(),
            Self::Import(_) | Self::Upload | Self::Once => 0,
        }
    }

    fn is_destroyed(&self) -> bool {
        matches!(self, Self::Import(kept) if kept.is_destroyed())
    }
}

/// Imports frames on one device, by the best route that takes each, and keeps the imports.
///
/// Any number of threads may use it, and any number of importers one device. Imports and submitted work do not need it:
/// it may be dropped before them.
#[derive(Debug)]
pub struct Importer {
    gpu: Gpu,
    options: ImportOptions,
    cache: Mutex<ImportCache<Known>>,
    verdicts: Verdicts,
    copies: Arc<Copies>,
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
            cache: Mutex::new(ImportCache::counting(options.capacity, Known::buffer_handles)),
            verdicts: Verdicts::default(),
            copies: Arc::new(Copies::new(options.slots)),
            uploads: Uploads::new(options.slots),
            options,
        }
    }

    /// A frame for the GPU to read. It is borrowed: after an error it is as before.
    ///
    /// Imports of dma-bufs do not block; the second one of a buffer costs no system call and no allocation. Routes that
    /// copy ([`Route::HostPointer`], [`Route::Upload`]) submit the copy at once, and wait for the frame's fences and for
    /// their own memory, [`ImportOptions::wait`] at most. An upload has no copy to submit where CPU and GPU have one memory.
    ///
    /// # Errors
    /// [`Error::NoRoute`] with the reason of each route; [`Error::Timeout`], [`Error::Busy`] when so many copies are in
    /// use, [`Error::DeviceLost`], [`Error::Wgpu`], [`Error::Destroyed`] when another thread destroys what is copied into
    /// (it was lent before).
    pub fn import(&self, frame: &Frame) -> Result<Imported, Error> {
        let mut batch = Batch::default();
        let imported = self.import_with(frame, &mut batch)?;
        batch.submit(&self.gpu)?;
        Ok(imported)
    }

    /// Several frames as [`Self::import`] imports each, with one submission for all that have to be copied by the GPU:
    /// several cameras' pictures, or a burst's. On a fast bus that is as much as a quarter of the time of a 1080p picture.
    ///
    /// Copies are in use as long as their imports: a burst needs as many [`ImportOptions::slots`].
    ///
    /// # Errors
    /// [`Error::OneOf`] with the first frame that failed and why, as [`Self::import`] says; the other errors are the
    /// submission's. Nothing is imported then.
    pub fn import_all<'a>(
        &self,
        frames: impl IntoIterator<Item = &'a Frame>,
    ) -> Result<Vec<Imported>, Error> {
        let mut batch = Batch::default();
        let mut imported = Vec::new();
        for (index, frame) in frames.into_iter().enumerate() {
            let one = self.import_with(frame, &mut batch);
            imported.push(one.map_err(|error| Error::OneOf {
                index,
                error: Box::new(error),
            })?);
        }
        batch.submit(&self.gpu)?;
        Ok(imported)
    }

    fn import_with(&self, frame: &Frame, batch: &mut Batch) -> Result<Imported, Error> {
        let known = self.cache().get(frame, CACHED).cloned();
        let tried = match &known {
            Some(Known::Import(kept)) if !kept.is_destroyed() => {
                return Ok(self.imported(frame, Arc::clone(kept)));
            }
            Some(Known::Import(_)) => return self.import_anew(frame, batch),
            Some(Known::Pages(pages)) => self.copy_pages(frame, pages, batch)?,
            Some(Known::Upload) => self.upload(frame, batch)?,
            Some(Known::Once) | None => return self.import_new(frame, known.is_some(), batch),
        };
        match tried {
            Tried::Taken(kept) => Ok(self.imported(frame, kept)),
            // What was possible once is not any more.
            Tried::Refused(refusal) => {
                let route = match known {
                    Some(Known::Pages(_)) => Route::HostPointer,
                    _ => Route::Upload,
                };
                Err(Error::NoRoute(vec![(route, refusal)]))
            }
        }
    }

    /// What was known has been destroyed: by an application that was lent it, or with the device.
    fn import_anew(&self, frame: &Frame, batch: &mut Batch) -> Result<Imported, Error> {
        if !sys::is_alive(self.gpu.device()) {
            return Err(gone("its buffers and textures were destroyed"));
        }
        self.cache().retain(|known, _| !known.is_destroyed());
        self.import_new(frame, true, batch)
    }

    /// By the first route that takes it.
    fn import_new(&self, frame: &Frame, again: bool, batch: &mut Batch) -> Result<Imported, Error> {
        let kind = Kind::of(frame);
        let off = self.options.routes.off();
        let mut reasons: Vec<_> = off.map(|route| (route, Refusal::SwitchedOff)).collect();
        for route in self.options.routes.as_slice() {
            if let Some(refusal) = self.verdicts.lasting(&kind, *route) {
                reasons.push((*route, refusal));
                continue;
            }
            match self.by(*route, frame, again, batch)? {
                Tried::Taken(kept) => {
                    self.verdicts.keep(&kind, *route, None);
                    // A failure that may pass is not a reason to take a worse route for ever.
                    let sure = reasons.iter().all(|(_, why)| holds_for_frame(why));
                    if *route == Route::Upload && sure {
                        let objects = !frame.buffer().objects().is_empty();
                        self.keep(
                            frame,
                            if objects || again {
                                Known::Upload
                            } else {
                                Known::Once
                            },
                        );
                    }
                    return Ok(self.imported(frame, kept));
                }
                Tried::Refused(refusal) => {
                    self.verdicts.keep(&kind, *route, Some(refusal.clone()));
                    reasons.push((*route, refusal));
                }
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

    fn by(&self, route: Route, frame: &Frame, again: bool, batch: &mut Batch) -> Result<Tried, Error> {
        match route {
            Route::Buffer => self.buffer(frame),
            Route::Image => self.image(frame),
            Route::HostPointer => self.pages(frame, again, batch),
            _ => self.upload(frame, batch),
        }
    }

    fn upload(&self, frame: &Frame, batch: &mut Batch) -> Result<Tried, Error> {
        self.uploads
            .upload(&self.gpu, &self.copies, frame, self.options.wait, batch)
    }

    fn image(&self, frame: &Frame) -> Result<Tried, Error> {
        let tried = images::import(&self.gpu, frame)?;
        if let Tried::Taken(kept) = &tried {
            self.keep(frame, Known::Import(Arc::clone(kept)));
        }
        Ok(tried)
    }

    /// Pinning pages costs as much as copying them: for memory that comes again.
    fn pages(&self, frame: &Frame, again: bool, batch: &mut Batch) -> Result<Tried, Error> {
        let later = self.options.routes.as_slice().contains(&Route::Upload);
        if frame.buffer().objects().is_empty() && !again && later {
            return Ok(Tried::Refused(Refusal::FirstTime));
        }
        match host::pages(&self.gpu, frame) {
            Ok(pages) => {
                let tried = self.copy_pages(frame, &pages, batch)?;
                if matches!(tried, Tried::Taken(_)) {
                    self.keep(frame, Known::Pages(pages));
                }
                Ok(tried)
            }
            Err(refusal) => refused(Route::HostPointer, refusal),
        }
    }

    fn copy_pages(
        &self,
        frame: &Frame,
        pages: &Arc<BufferImport>,
        batch: &mut Batch,
    ) -> Result<Tried, Error> {
        host::copy(&self.gpu, &self.copies, frame, pages, self.options.wait, batch)
    }

    fn keep(&self, frame: &Frame, known: Known) {
        let mut cache = self.cache();
        // Pinned bytes keep their buffer alive themselves; when nobody else has it, it will not come again.
        cache.retain(|known, others| known.buffer_handles() == 0 || others != 0);
        cache.insert(frame.buffer(), CACHED, known);
    }

    /// What each route said to each kind of frame so far.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.verdicts.list()
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
        self.keep(frame, Known::Import(Arc::clone(&kept)));
        Ok(Tried::Taken(kept))
    }

    /// Shaders bind whole objects, and wgpu refuses what its limits forbid only when it is too late for another route.
    fn fits_bindings(&self, frame: &Frame) -> Result<(), Refusal> {
        for object in frame.buffer().objects() {
            fits(&self.gpu, object.size())?;
        }
        Ok(())
    }

    fn cache(&self) -> MutexGuard<'_, ImportCache<Known>> {
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
    if !bytes.is_multiple_of(4) {
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
    match refusal.by(route) {
        dmaframe_vulkan::Error::Refused { refusal, .. } => Ok(Tried::Refused(refusal)),
        lost => Err(lost.into()),
    }
}
