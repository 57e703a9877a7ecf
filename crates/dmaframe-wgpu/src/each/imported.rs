//! A frame as a shader sees it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;
use dmaframe_core::Frame;

use super::in_place::{self, Reading};
use super::{Gpu, sys, wgpu};
use crate::{Error, Route};

/// A plane in a buffer: read it as `array<u32>`.
#[derive(Clone, Debug)]
pub struct PlaneBuffer {
    /// The buffer; planes of one object share it. Usage `STORAGE | COPY_SRC`.
    pub buffer: wgpu::Buffer,
    /// Where the first row begins, in bytes. Any number: no alignment is promised.
    pub offset: u64,
    /// From row to row, in bytes. Any number.
    pub stride: u32,
}

/// A plane as a texture (R8 and RG8 for NV12). Usage `TEXTURE_BINDING | COPY_SRC`.
#[derive(Clone, Debug)]
pub struct PlaneTexture {
    /// The texture. It may be wider than the plane: sample only `width` columns.
    pub texture: wgpu::Texture,
    /// Columns of the plane.
    pub width: u32,
    /// Rows of the plane.
    pub height: u32,
}

/// Where a frame's pixels are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In buffers, one entry a plane.
    Buffers(ArrayVec<PlaneBuffer, 4>),
    /// In textures, one a plane.
    Textures(ArrayVec<PlaneTexture, 4>),
}

/// What is below a [`Source`] that has to be taken over from, and given back to, other devices: each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    pub(super) buffers: ArrayVec<sys::BufferHandle, 4>,
    pub(super) images: ArrayVec<sys::ImageHandle, 4>,
}

/// What stays in the cache between frames.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) route: Route,
    pub(super) source: Source,
    pub(super) shared: Shared,
    /// An application has had the source, and may destroy what is in it at any time.
    lent: AtomicBool,
    /// How many have taken the memory over and not given it back.
    pub(super) users: AtomicUsize,
    /// The buffer, where it is one that frames are copied into.
    pub(super) target: Option<sys::BufferHandle>,
    /// Whether all of such a buffer has been written: memory comes with what others left in it.
    pub(super) filled: AtomicBool,
    /// Where the CPU has written the picture, if the GPU reads it there. It goes after its buffers.
    memory: Option<in_place::Memory>,
}

impl Kept {
    pub(super) fn new(route: Route, source: Source, shared: Shared) -> Self {
        Self {
            route,
            source,
            shared,
            lent: AtomicBool::new(false),
            users: AtomicUsize::new(0),
            target: None,
            filled: AtomicBool::new(false),
            memory: None,
        }
    }

    /// What the CPU has written, where it lies.
    pub(super) fn in_place(source: Source, memory: in_place::Memory) -> Self {
        Self {
            memory: Some(memory),
            ..Self::new(Route::Upload, source, Shared::default())
        }
    }

    /// Memory of the device's own that frames are copied into.
    pub(super) fn of_copy(route: Route, source: Source, target: sys::BufferHandle) -> Self {
        Self {
            target: Some(target),
            ..Self::new(route, source, Shared::default())
        }
    }

    /// Whether the memory is other devices' too.
    pub(super) fn is_shared(&self) -> bool {
        !self.shared.buffers.is_empty() || !self.shared.images.is_empty()
    }

    /// Whether an application that was lent a part of it has destroyed that. Does not block, and allocates nothing.
    pub(super) fn is_destroyed(&self) -> bool {
        let mut buffers = self.shared.buffers.iter().chain(&self.target);
        // wgpu is not asked about what it alone has: its locks have a price, a high one in debug builds.
        (self.lent.load(Ordering::Relaxed) || self.target.is_some())
            && (buffers.any(sys::BufferHandle::is_destroyed)
                || self.shared.images.iter().any(sys::ImageHandle::is_destroyed))
    }

    /// Whether work that reads it has to hold it until it is done. Else wgpu does that, and the next picture's copy waits for
    /// the work.
    pub(super) fn is_held_by_work(&self) -> bool {
        self.is_shared() || self.memory.is_some()
    }

    /// What such work holds.
    pub(super) fn until_read(self: &Arc<Self>) -> Box<dyn Any + Send> {
        match &self.memory {
            // Not all of it: it is not the application that holds it then.
            Some(memory) => Box::new(Arc::clone(memory.staged())),
            None => Box::new(Arc::clone(self)),
        }
    }
}

/// A frame that the GPU can read. Keeps the frame, and so its lease, until it is dropped.
///
/// A clone is another handle. Work that was submitted with [`Gpu::submit`] holds one until it is done.
#[derive(Clone, Debug)]
#[must_use = "dropping it gives the frame back"]
pub struct Imported {
    pub(super) gpu: Gpu,
    pub(super) frame: Frame,
    pub(super) kept: Arc<Kept>,
    /// How long the CPU may wait for the frame's fences.
    pub(super) wait: Duration,
}

impl Imported {
    /// The frame.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The device it was imported on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// How it came in.
    #[must_use]
    pub fn route(&self) -> Route {
        self.kept.route
    }

    /// Whether the pixels are copied, so that work which reads them reads the copy.
    ///
    /// By [`Route::Upload`] they have been: the frame's fences were waited for, and nobody needs its memory any more. By
    /// [`Route::HostPointer`] the copy has only been submitted: until it is done the GPU reads the frame's pages, and the frame
    /// is held.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        !self.kept.is_shared()
    }

    /// Whether the GPU reads it where the CPU wrote it: for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.kept.memory.is_some()
    }

    /// Whether somebody has taken the memory over and not given it back: for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.kept.users.load(Ordering::Relaxed) != 0
    }

    /// Where its pixels are, for code of this crate, which only reads them.
    pub(super) fn source(&self) -> &Source {
        &self.kept.source
    }

    /// For work of this crate that is recorded for somebody else to submit.
    pub(super) fn reading(&self) -> Option<Reading> {
        let memory = self.kept.memory.as_ref()?;
        Some(Reading::new(&self.gpu, memory.staged()))
    }

    /// Where its pixels are, for shaders of the application's own.
    ///
    /// wgpu has no buffers that a shader can only read, so from here on CPU views of a frame that came by
    /// [`Route::Buffer`] copy rows out instead of borrowing them, as if its descriptors had been lent
    /// ([`Object::lend`](dmaframe_core::Object::lend)). Writing into it shows in the producer's memory. Textures and
    /// copies are not shared with anybody that minds.
    ///
    /// Where the GPU reads uploads in the CPU's memory (integrated GPUs) this makes the copy that other GPUs have made when
    /// they import, and has the importer make it there from then on.
    ///
    /// Who calls wgpu's `destroy()` on them ends this import, and no other: [`Gpu::submit`] and [`Gpu::acquire`] refuse it with
    /// [`Error::Destroyed`], or with [`Error::Wgpu`] where commands still name it, and the next import of the frame is a new one.
    ///
    /// # Errors
    /// [`Error::Frame`] while a CPU view of the frame is alive; where a copy is made, those of
    /// [`Importer::import`](super::Importer::import).
    pub fn lend(&self) -> Result<&Source, Error> {
        if let Some(memory) = &self.kept.memory {
            return memory.lend(&self.gpu);
        }
        if self.route() == Route::Buffer {
            for (index, object) in self.frame.buffer().objects().iter().enumerate() {
                let _ = object.lend(index)?;
            }
        }
        self.kept.lent.store(true, Ordering::Relaxed);
        Ok(self.source())
    }
}
