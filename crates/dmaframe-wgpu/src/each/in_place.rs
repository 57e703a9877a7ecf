//! Uploads where CPU and GPU have one memory: shaders read what the CPU wrote where it lies, and nothing copies it on.
//!
//! The memory is never wgpu's, whose buffers can be cloned by anybody, be bound and submitted at any time later, and be
//! destroyed. So those over it stay within this crate: what it records reads them, and holds the memory until it is done; the
//! CPU writes it again when nobody does. An application that wants buffers ([`Imported::lend`](super::Imported::lend)) gets
//! a copy of the GPU's, and its importer makes such copies from then on.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use dmaframe_core::{Fourcc, Frame, Size};
use dmaframe_vulkan::ash::vk;
use dmaframe_vulkan::{BufferImport, Upload};

use super::copies::{Batch, Copies, Copy};
use super::gpu::WeakGpu;
use super::imported::{Kept, PlaneBuffer};
use super::importer::{Tried, refused};
use super::submission::gone;
use super::upload::{STAGES, stage};
use super::{Gpu, Source, sys, wgpu};
use crate::{Error, Refusal, Route};

/// Buffers for pictures of one format and size.
#[derive(Debug)]
pub(super) struct Ring {
    /// As wgpu knows them, by their handles in `memory`. They go first.
    buffers: Mutex<Vec<(vk::Buffer, wgpu::Buffer)>>,
    memory: Upload,
    /// How many pictures somebody has an import of.
    held: Arc<AtomicUsize>,
    slots: usize,
    lent: Arc<AtomicBool>,
}

impl Ring {
    /// As many can be held as there are `slots`, and as many more be read by the GPU as other devices have staging memory.
    /// `lent` is set when a picture of this ring is.
    pub(super) fn new(
        gpu: &dmaframe_vulkan::Gpu,
        (fourcc, size): (Fourcc, Size),
        slots: usize,
        lent: &Arc<AtomicBool>,
    ) -> Result<Self, dmaframe_vulkan::Error> {
        Ok(Self {
            buffers: Mutex::default(),
            memory: Upload::new(gpu, fourcc, size, slots.saturating_add(STAGES))?,
            held: Arc::default(),
            slots,
            lent: Arc::clone(lent),
        })
    }

    /// Copies the frame, whose memory is not needed any more when this returns. Nothing is submitted for it.
    pub(super) fn upload(
        &self,
        gpu: &Gpu,
        copies: &Arc<Copies>,
        frame: &Frame,
        wait: Duration,
        batch: &mut Batch,
    ) -> Result<Tried, Error> {
        if gpu.tracker().core().is_lost() {
            return Err(gone("work was lost before"));
        }
        let held = Held::one_of(self)?;
        let staged = match stage(gpu, &self.memory, frame, wait, batch)? {
            Ok(staged) => staged,
            Err(refusal) => return refused(Route::Upload, refusal),
        };
        let buffer = match self.buffer(gpu, &staged)? {
            Ok(buffer) => buffer,
            Err(refusal) => return refused(Route::Upload, refusal),
        };
        let planes = staged.planes().iter().map(|plane| PlaneBuffer {
            buffer: buffer.clone(),
            offset: plane.offset,
            stride: plane.stride,
        });
        let source = Source::Buffers(planes.collect());
        let memory = Memory {
            staged,
            copies: Arc::clone(copies),
            copy: OnceLock::new(),
            lent: Arc::clone(&self.lent),
            _held: held,
        };
        Ok(Tried::Taken(Arc::new(Kept::in_place(source, memory))))
    }

    /// As wgpu knows this one, which the caller alone has.
    fn buffer(&self, gpu: &Gpu, staged: &BufferImport) -> Result<Result<wgpu::Buffer, Refusal>, Error> {
        let raw = staged.handle(0).unwrap_or_default();
        let lock = || self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = lock().iter().find(|(known, _)| *known == raw) {
            return Ok(Ok(known.clone()));
        }
        let made = sys::in_place(gpu.device(), staged)?;
        if let Ok(buffer) = &made {
            lock().push((raw, buffer.clone()));
        }
        Ok(made)
    }
}

/// A picture in such memory.
pub(super) struct Memory {
    /// Written again when nobody has this any more.
    staged: Arc<BufferImport>,
    copies: Arc<Copies>,
    /// What an application got that asked for buffers.
    copy: OnceLock<Arc<Kept>>,
    lent: Arc<AtomicBool>,
    _held: Held,
}

impl Memory {
    /// For work that reads it, until that is done.
    pub(super) fn staged(&self) -> &Arc<BufferImport> {
        &self.staged
    }

    /// A copy that the application may do with as it likes.
    pub(super) fn lend(&self, gpu: &Gpu) -> Result<&Source, Error> {
        self.lent.store(true, Ordering::Relaxed);
        if let Some(copy) = self.copy.get() {
            return Ok(&copy.source);
        }
        let mut batch = Batch::default();
        let copy = Copy {
            from: &self.staged,
            route: Route::Upload,
            reads: None,
            wait: None,
        };
        let copy = match self.copies.copy(gpu, copy, &mut batch)? {
            Tried::Taken(copy) => copy,
            Tried::Refused(refusal) => return Err(Error::NoRoute(vec![(Route::Upload, refusal)])),
        };
        batch.submit(gpu)?;
        // Of two threads' the first one's.
        Ok(&self.copy.get_or_init(|| copy).source)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.staged)
    }
}

/// One of those that may be held at a time.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn one_of(ring: &Ring) -> Result<Self, Error> {
        let more = |held| (held < ring.slots).then_some(held + 1);
        match ring.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Self(Arc::clone(&ring.held))),
            Err(_) => Err(Error::Busy {
                what: "copies of frames of this format and size",
                limit: ring.slots,
            }),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// For an application's encoder, whose submission nobody sees: holds a picture's memory until that is done, or the encoder
/// is dropped.
pub(super) struct Reading {
    gpu: WeakGpu,
    staged: Arc<BufferImport>,
}

impl Reading {
    pub(super) fn new(gpu: &Gpu, staged: &Arc<BufferImport>) -> Self {
        Self {
            gpu: gpu.downgrade(),
            staged: Arc::clone(staged),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // In the middle of a submission, perhaps: nobody knows whether the GPU has it.
        if let (true, Some(gpu)) = (std::thread::panicking(), self.gpu.upgrade()) {
            gpu.hold_until_now_is_done(vec![Arc::clone(&self.staged)]);
        }
    }
}
