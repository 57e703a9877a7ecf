//! The last resort: copying pixels into, and out of, memory of the driver's own.

use std::sync::{Arc, Mutex, PoisonError};

use ash::vk;
use dmaframe_core::{Deadline, Fourcc, Frame, Layout, Size};

use crate::error::{Error, Route};
use crate::gpu::Gpu;
use crate::import::BufferImport;
use crate::sys::host::MappedBuffer;

/// A ring of staging buffers that frames are copied into, kept from frame to frame: nothing is allocated for a frame.
///
/// Each buffer is host-visible and holds the picture tightly packed. A GPU can read it in shaders as it is, or copy it
/// on. Every frame costs a CPU copy, which is what the other routes avoid.
#[derive(Debug)]
pub struct Upload {
    gpu: Gpu,
    layout: Layout,
    slots: Mutex<Vec<MappedBuffer>>,
    limit: usize,
}

fn staging_usage() -> vk::BufferUsageFlags {
    vk::BufferUsageFlags::TRANSFER_SRC
        | vk::BufferUsageFlags::TRANSFER_DST
        | vk::BufferUsageFlags::STORAGE_BUFFER
}

impl Upload {
    /// A ring of at most `slots` buffers for pictures of this format and size. They are made when first needed.
    ///
    /// # Errors
    /// [`Error::Frame`] for a format without geometry.
    pub fn new(gpu: &Gpu, fourcc: Fourcc, size: Size, slots: usize) -> Result<Self, Error> {
        let layout = Layout::tight(fourcc, size).map_err(dmaframe_core::Error::from)?;
        let limit = slots.max(1);
        Ok(Self {
            gpu: gpu.clone(),
            layout,
            slots: Mutex::new(Vec::with_capacity(limit)),
            limit,
        })
    }

    /// Copies a frame into a free slot, having waited for its fences until the deadline. The slot is in use until
    /// every handle to the result is dropped; submitted work holds one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another format or size; [`Error::Busy`] when all slots are in use; [`Error::Frame`]
    /// when the frame cannot be read; [`Error::Refused`] when no staging memory can be had.
    pub fn stage(&self, frame: &Frame, deadline: impl Into<Deadline>) -> Result<Arc<BufferImport>, Error> {
        let found = frame.layout();
        if (found.fourcc(), found.size()) != (self.layout.fourcc(), self.layout.size()) {
            return Err(Error::Unsupported {
                what: "the ring's own format and size",
                found: format!("{} {}", found.fourcc(), found.size()),
            });
        }
        let view = frame.map_read(deadline)?;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let free = slots.iter_mut().position(|slot| slot.bytes().is_ok());
        let index = match free {
            Some(index) => index,
            None if slots.len() < self.limit => {
                let slot = MappedBuffer::new(&self.gpu, &self.layout, staging_usage())
                    .map_err(Error::refused(Route::Upload))?;
                slots.push(slot);
                slots.len() - 1
            }
            None => {
                return Err(Error::Busy {
                    what: "every slot of the upload ring",
                });
            }
        };
        let slot = &mut slots[index];
        view.copy_tight(slot.bytes()?)?;
        Ok(Arc::clone(slot.import()))
    }

    /// How many buffers have been made.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A buffer to copy a picture into and read it on the CPU.
#[derive(Debug)]
pub struct Readback {
    mapped: MappedBuffer,
}

impl Readback {
    /// For pictures of this format and size, tightly packed.
    ///
    /// # Errors
    /// [`Error::Frame`] for a format without geometry, [`Error::Refused`] when no memory can be had.
    pub fn new(gpu: &Gpu, fourcc: Fourcc, size: Size) -> Result<Self, Error> {
        let layout = Layout::tight(fourcc, size).map_err(dmaframe_core::Error::from)?;
        let mapped =
            MappedBuffer::new(gpu, &layout, staging_usage()).map_err(Error::refused(Route::Upload))?;
        Ok(Self { mapped })
    }

    /// The buffer, as a copy's target.
    #[must_use]
    pub fn target(&self) -> &Arc<BufferImport> {
        self.mapped.import()
    }

    /// The picture without padding, plane after plane.
    ///
    /// # Errors
    /// [`Error::Busy`] while submitted work, or somebody else, holds the buffer: wait for the submission first.
    pub fn bytes(&mut self) -> Result<&[u8], Error> {
        let len = usize::try_from(self.mapped.import().layout().tight_len()).unwrap_or(usize::MAX);
        let bytes = self.mapped.bytes()?;
        let len = len.min(bytes.len());
        Ok(&bytes[..len])
    }
}
