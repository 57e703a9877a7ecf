//! The last resort: copying pixels into, and out of, memory of the driver's own.

use std::sync::{Arc, Mutex, PoisonError};

use arrayvec::ArrayVec;
use ash::vk;
use dmaframe_core::{Deadline, Fourcc, Frame, Layout, Modifier, Plane, Size};

use crate::error::{Error, Route};
use crate::gpu::Gpu;
use crate::import::{BufferImport, BufferPlane};
use crate::sys::host::MappedBuffer;
use crate::threads;

/// A ring of staging buffers that frames are copied into, kept from frame to frame: nothing is allocated for a frame.
///
/// Each buffer is host-visible and holds the picture tightly packed. A GPU can read it in shaders as it is, or copy it
/// on, which gains nothing where memory is unified ([`Gpu::has_unified_memory`]). Every frame costs a CPU copy, which is what
/// the other routes avoid; up to eight threads, half of the machine's cores at most, share the copy of a large one.
#[derive(Debug)]
pub struct Upload {
    gpu: Gpu,
    layout: Layout,
    slots: Mutex<Vec<MappedBuffer>>,
    limit: usize,
}

/// For how many buffers there is room from the beginning.
const ROOM: usize = 16;

fn staging_usage() -> vk::BufferUsageFlags {
    vk::BufferUsageFlags::TRANSFER_SRC
        | vk::BufferUsageFlags::TRANSFER_DST
        | vk::BufferUsageFlags::STORAGE_BUFFER
}

/// The device's own memory, where it can be mapped for nothing. The CPU only writes there, so it need not be cached.
fn liked(gpu: &Gpu) -> vk::MemoryPropertyFlags {
    match gpu.has_unified_memory() {
        true => vk::MemoryPropertyFlags::DEVICE_LOCAL,
        false => vk::MemoryPropertyFlags::empty(),
    }
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
            // Whoever wants no limit gets the room when it is needed.
            slots: Mutex::new(Vec::with_capacity(limit.min(ROOM))),
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
                let slot = MappedBuffer::new(&self.gpu, &self.layout, staging_usage(), liked(&self.gpu))
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
        threads::copy_tight(&view, slot.bytes()?)?;
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
    tight: Vec<u8>,
}

impl Readback {
    /// For pictures of this format and size.
    ///
    /// # Errors
    /// [`Error::Frame`] for a format without geometry, [`Error::Refused`] when no memory can be had.
    pub fn new(gpu: &Gpu, fourcc: Fourcc, size: Size) -> Result<Self, Error> {
        let layout = image_layout(fourcc, size)?;
        let mapped = MappedBuffer::new(gpu, &layout, staging_usage(), vk::MemoryPropertyFlags::empty())
            .map_err(Error::refused(Route::Upload))?;
        Ok(Self {
            mapped,
            tight: Vec::new(),
        })
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
        let planes: ArrayVec<BufferPlane, 4> = self.target().planes().iter().copied().collect();
        let bytes = self.mapped.bytes()?;
        self.tight.clear();
        for plane in planes {
            // Rows are tight in their plane (`image_layout`); the memory is on this machine, so its length is a usize.
            let (start, end) = (plane.offset as usize, plane.end() as usize);
            self.tight
                .extend_from_slice(bytes.get(start..end).unwrap_or_default());
        }
        Ok(&self.tight)
    }
}

/// Tight rows, and planes at offsets that image copies can be made to: whole texels, and multiples of 4.
fn image_layout(fourcc: Fourcc, size: Size) -> Result<Layout, Error> {
    let tight = Layout::tight(fourcc, size).map_err(dmaframe_core::Error::from)?;
    let mut planes: ArrayVec<Plane, 4> = tight.planes().iter().copied().collect();
    let mut end = 0u64;
    for (index, (plane, format)) in planes.iter_mut().zip(tight.info().planes()).enumerate() {
        plane.offset = end.next_multiple_of(u64::from(format.block_bytes) * 4);
        end = plane.offset + u64::from(plane.stride) * u64::from(tight.rows(index));
    }
    Layout::check(fourcc, Modifier::LINEAR, size, &planes, &[end])
        .map_err(|error| dmaframe_core::Error::from(error).into())
}
