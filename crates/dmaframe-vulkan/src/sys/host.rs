//! Pages of this process that a device may be given a pointer to, and mapped device memory.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;

use ash::vk;
use dmaframe_core::{Buffer as FrameBuffer, Layout};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use super::memory::{Buffer, Memory};
use crate::error::{Error, Refusal};
use crate::gpu::Gpu;
use crate::import::BufferImport;

/// Whole pages at a fixed address.
pub(crate) struct HostPages {
    start: NonNull<c_void>,
    len: usize,
    kind: Kind,
}

enum Kind {
    /// A shared mapping of ours.
    Mapped,
    /// Bytes of a frame's buffer, which this keeps.
    Bytes(#[allow(dead_code, reason = "held so that the bytes stay")] Arc<FrameBuffer>),
}

// SAFETY: an address range that stays valid until the drop, wherever that is; nothing here reads or writes it.
unsafe impl Send for HostPages {}
// SAFETY: as above.
unsafe impl Sync for HostPages {}

impl HostPages {
    /// Maps the first `len` bytes of a memfd that cannot shrink.
    pub(crate) fn map(fd: BorrowedFd<'_>, len: usize, write: bool) -> Result<Self, Errno> {
        let prot = if write {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, prot, MapFlags::SHARED, fd, 0)? };
        Ok(Self {
            start: NonNull::new(start).ok_or(Errno::NOMEM)?,
            len,
            kind: Kind::Mapped,
        })
    }

    /// The `len` bytes at `start`, which are inside `buffer`'s own memory, which never moves.
    pub(crate) fn bytes(start: NonNull<u8>, len: usize, buffer: Arc<FrameBuffer>) -> Self {
        Self {
            start: start.cast(),
            len,
            kind: Kind::Bytes(buffer),
        }
    }

    pub(crate) fn start(&self) -> *mut c_void {
        self.start.as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether they are a frame's own bytes, and keep its buffer.
    pub(crate) fn keeps_buffer(&self) -> bool {
        matches!(self.kind, Kind::Bytes(_))
    }
}

impl Drop for HostPages {
    fn drop(&mut self) {
        if matches!(self.kind, Kind::Mapped) {
            // SAFETY: the mapping is ours and whole; the device memory made of it has been freed (`Memory` drops this
            // last).
            let _ = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.len) };
        }
    }
}

/// A frame-shaped buffer in memory that the CPU has mapped for good, coherent with the device.
pub(crate) struct MappedBuffer {
    import: Arc<BufferImport>,
    start: NonNull<u8>,
}

// SAFETY: the mapping lives as long as the import and is not bound to a thread; access goes through the methods' rules.
unsafe impl Send for MappedBuffer {}
// SAFETY: as above.
unsafe impl Sync for MappedBuffer {}

impl MappedBuffer {
    /// For a picture of this layout, which must be linear in one object. In memory that has `liked` too, if some can be had.
    pub(crate) fn new(
        gpu: &Gpu,
        layout: &Layout,
        usage: vk::BufferUsageFlags,
        liked: vk::MemoryPropertyFlags,
    ) -> Result<Self, Refusal> {
        let context = &gpu.0;
        let size = layout.object_len(0).next_multiple_of(4).max(4);
        let buffer = Buffer::new(context, size, usage, vk::ExternalMemoryHandleTypeFlags::empty())?;
        let (needs, mapped) = (
            buffer.needs(),
            vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT,
        );
        let memory = Memory::plain(context, needs, mapped | liked)
            .or_else(|_| Memory::plain(context, needs, mapped))?;
        let bound = buffer.bind(memory)?;
        // SAFETY: host-visible memory that is not mapped yet; freeing it unmaps it.
        let start = unsafe {
            context.device.map_memory(
                bound.memory().handle(),
                0,
                vk::WHOLE_SIZE,
                vk::MemoryMapFlags::empty(),
            )
        }
        .map_err(Refusal::vk("vkMapMemory"))?;
        let start = NonNull::new(start.cast()).ok_or(Refusal::Vk {
            call: "vkMapMemory",
            result: vk::Result::ERROR_MEMORY_MAP_FAILED,
        })?;
        let import = Arc::new(BufferImport::of_staging(gpu, bound, layout));
        Ok(Self { import, start })
    }

    pub(crate) fn import(&self) -> &Arc<BufferImport> {
        &self.import
    }

    /// The bytes, when no submission and nobody else holds the buffer.
    pub(crate) fn bytes(&mut self) -> Result<&mut [u8], Error> {
        // No other handle, weak ones included; `&mut self` keeps new ones away, since they come from `import`.
        if Arc::get_mut(&mut self.import).is_none() {
            return Err(Error::Busy {
                what: "staging memory",
            });
        }
        let len = usize::try_from(self.import.size(0).unwrap_or(0)).unwrap_or(0);
        // SAFETY: the mapping has at least `len` bytes, initialised (the kernel's zeroes at first); nobody else holds
        // the buffer, so no device uses it, and `&mut self` keeps other slices away.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), len) })
    }
}

impl std::fmt::Debug for MappedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mapped {:?}", self.import)
    }
}
