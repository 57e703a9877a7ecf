//! Device memory and buffers.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;

use ash::vk;

use super::context::{Context, down, up};
use super::host::HostPages;
use crate::error::Refusal;

/// Device memory, freed when dropped.
pub(crate) struct Memory {
    context: Arc<Context>,
    handle: vk::DeviceMemory,
    /// What the driver was given a pointer to: goes after the memory.
    _pages: Option<HostPages>,
}

/// For which resource memory is made, where the driver wants to know.
#[derive(Clone, Copy)]
pub(crate) enum Dedicated {
    No,
    Buffer(vk::Buffer),
    Image(vk::Image),
}

/// Requirements of a buffer or image.
#[derive(Clone, Copy)]
pub(crate) struct Needs {
    pub(crate) size: u64,
    pub(crate) alignment: u64,
    pub(crate) types: u32,
    /// The driver requires or prefers memory of the resource's own.
    pub(crate) dedicated: bool,
    /// It takes no other.
    pub(crate) only_dedicated: bool,
}

impl Needs {
    pub(crate) fn new(
        requirements: vk::MemoryRequirements,
        dedicated: &vk::MemoryDedicatedRequirements<'_>,
    ) -> Self {
        Self {
            size: requirements.size,
            alignment: requirements.alignment,
            types: requirements.memory_type_bits,
            dedicated: dedicated.requires_dedicated_allocation == vk::TRUE
                || dedicated.prefers_dedicated_allocation == vk::TRUE,
            only_dedicated: dedicated.requires_dedicated_allocation == vk::TRUE,
        }
    }
}

/// Drivers that close the descriptor of an import that fails, which the specification leaves to the caller: their
/// duplicate is left alone, because closing it again could close a stranger's.
///
/// lavapipe 25.0 does, 26.1 does not (both seen); in between nobody has looked.
fn closes_on_failure(context: &Context) -> bool {
    context.is_lavapipe() && context.identity.driver_version < vk::make_api_version(0, 26, 1, 0)
}

impl Memory {
    /// Imports the dma-buf behind `fd`, of which the driver gets a duplicate of its own.
    ///
    /// The caller has checked that `fd` is a dma-buf of at least `size` bytes, which no driver does.
    pub(crate) fn import_dmabuf(
        context: &Arc<Context>,
        fd: BorrowedFd<'_>,
        size: u64,
        needs: Needs,
        dedicated: Dedicated,
        object: usize,
    ) -> Result<Self, Refusal> {
        const DMA_BUF: vk::ExternalMemoryHandleTypeFlags = vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT;
        let functions = context
            .external_fd
            .as_ref()
            .ok_or(Refusal::ExtensionOff(ash::khr::external_memory_fd::NAME))?;
        let mut found = vk::MemoryFdPropertiesKHR::default();
        // SAFETY: `fd` is an open dma-buf; the call only looks at it.
        unsafe { functions.get_memory_fd_properties(DMA_BUF, fd.as_raw_fd(), &mut found) }
            .map_err(Refusal::vk("vkGetMemoryFdPropertiesKHR"))?;
        let bits = needs.types & found.memory_type_bits;
        let kind = context
            .memory_type(bits, vk::MemoryPropertyFlags::DEVICE_LOCAL)
            .or_else(|| context.memory_type(bits, vk::MemoryPropertyFlags::empty()))
            .ok_or(Refusal::NoMemoryType {
                object,
                resource: needs.types,
                memory: found.memory_type_bits,
            })?;
        let dup = rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|errno| {
            Refusal::Frame(dmaframe_core::Error::Os {
                call: "fcntl(F_DUPFD_CLOEXEC)",
                object: "object",
                errno,
            })
        })?;
        let raw = dup.into_raw_fd();
        let mut import = vk::ImportMemoryFdInfoKHR::default().handle_type(DMA_BUF).fd(raw);
        let result = Self::allocate(context, size, kind, dedicated, |info| info.push_next(&mut import));
        match result {
            Ok(handle) => Ok(Self::keep(context, handle, None)),
            Err(result) => {
                if !closes_on_failure(context) {
                    // SAFETY: a failed import leaves the descriptor to its owner, which is us.
                    drop(unsafe { OwnedFd::from_raw_fd(raw) });
                }
                Err(Refusal::vk("vkAllocateMemory(dma-buf)")(result))
            }
        }
    }

    /// Imports pages of this process, which it keeps until the memory is freed.
    pub(crate) fn import_pages(
        context: &Arc<Context>,
        pages: HostPages,
        needs: Needs,
    ) -> Result<Self, Refusal> {
        const HOST: vk::ExternalMemoryHandleTypeFlags =
            vk::ExternalMemoryHandleTypeFlags::HOST_ALLOCATION_EXT;
        let functions = context
            .external_host
            .as_ref()
            .ok_or(Refusal::ExtensionOff(ash::ext::external_memory_host::NAME))?;
        let mut found = vk::MemoryHostPointerPropertiesEXT::default();
        // SAFETY: the pointer is to a live mapping of whole pages; ash 0.38 has the function, but no method for it.
        unsafe {
            (functions.fp().get_memory_host_pointer_properties_ext)(
                context.device.handle(),
                HOST,
                pages.start().cast_const(),
                &mut found,
            )
        }
        .result()
        .map_err(Refusal::vk("vkGetMemoryHostPointerPropertiesEXT"))?;
        let bits = needs.types & found.memory_type_bits;
        // Coherent, so that the CPU's writes need no flush that an application would have to know of.
        let kind = context
            .memory_type(bits, vk::MemoryPropertyFlags::HOST_COHERENT)
            .ok_or(Refusal::NoMemoryType {
                object: 0,
                resource: needs.types,
                memory: found.memory_type_bits,
            })?;
        let size = pages.len() as u64;
        let mut import = vk::ImportMemoryHostPointerInfoEXT::default()
            .handle_type(HOST)
            .host_pointer(pages.start());
        let handle = Self::allocate(context, size, kind, Dedicated::No, |info| {
            info.push_next(&mut import)
        })
        .map_err(Refusal::vk("vkAllocateMemory(host pointer)"))?;
        Ok(Self::keep(context, handle, Some(pages)))
    }

    /// Memory that [`Self::export`] can hand out, of a type that has `liked` if there is one.
    pub(crate) fn exportable(
        context: &Arc<Context>,
        needs: Needs,
        dedicated: Dedicated,
        liked: vk::MemoryPropertyFlags,
    ) -> Result<Self, Refusal> {
        let kind = context
            .memory_type(needs.types, liked)
            .or_else(|| context.memory_type(needs.types, vk::MemoryPropertyFlags::empty()))
            .ok_or(Refusal::NoMemoryType {
                object: 0,
                resource: needs.types,
                memory: 0,
            })?;
        let mut export = vk::ExportMemoryAllocateInfo::default()
            .handle_types(vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT);
        let handle = Self::allocate(context, needs.size, kind, dedicated, |info| {
            info.push_next(&mut export)
        })
        .map_err(Refusal::vk("vkAllocateMemory(exportable)"))?;
        Ok(Self::keep(context, handle, None))
    }

    /// Ordinary memory with these properties.
    pub(crate) fn plain(
        context: &Arc<Context>,
        needs: Needs,
        flags: vk::MemoryPropertyFlags,
    ) -> Result<Self, Refusal> {
        let kind = context
            .memory_type(needs.types, flags | vk::MemoryPropertyFlags::HOST_CACHED)
            .or_else(|| context.memory_type(needs.types, flags))
            .ok_or(Refusal::NoMemoryType {
                object: 0,
                resource: needs.types,
                memory: 0,
            })?;
        let handle = Self::allocate(context, needs.size, kind, Dedicated::No, |info| info)
            .map_err(Refusal::vk("vkAllocateMemory"))?;
        Ok(Self::keep(context, handle, None))
    }

    fn allocate<'a>(
        context: &Context,
        size: u64,
        kind: u32,
        dedicated: Dedicated,
        chain: impl FnOnce(vk::MemoryAllocateInfo<'a>) -> vk::MemoryAllocateInfo<'a>,
    ) -> Result<vk::DeviceMemory, vk::Result> {
        let mut only = vk::MemoryDedicatedAllocateInfo::default();
        match dedicated {
            Dedicated::No => {}
            Dedicated::Buffer(buffer) => only.buffer = buffer,
            Dedicated::Image(image) => only.image = image,
        }
        let mut info = chain(
            vk::MemoryAllocateInfo::default()
                .allocation_size(size)
                .memory_type_index(kind),
        );
        if !matches!(dedicated, Dedicated::No) {
            only.p_next = info.p_next;
            info.p_next = (&raw const only).cast();
        }
        // SAFETY: `info`, `only` and what the caller chained live until the call returns.
        unsafe { context.device.allocate_memory(&info, None) }
    }

    fn keep(context: &Arc<Context>, handle: vk::DeviceMemory, pages: Option<HostPages>) -> Self {
        up(&context.live.memories);
        Self {
            context: Arc::clone(context),
            handle,
            _pages: pages,
        }
    }

    /// A new dma-buf descriptor of memory made by [`Self::exportable`].
    pub(crate) fn export(&self) -> Result<OwnedFd, Refusal> {
        let functions = self
            .context
            .external_fd
            .as_ref()
            .ok_or(Refusal::ExtensionOff(ash::khr::external_memory_fd::NAME))?;
        let info = vk::MemoryGetFdInfoKHR::default()
            .memory(self.handle)
            .handle_type(vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT);
        // SAFETY: the memory is live and, by the caller, exportable.
        let raw = unsafe { functions.get_memory_fd(&info) }.map_err(Refusal::vk("vkGetMemoryFdKHR"))?;
        // SAFETY: on success the descriptor is new and ours.
        Ok(unsafe { OwnedFd::from_raw_fd(raw) })
    }

    pub(crate) fn handle(&self) -> vk::DeviceMemory {
        self.handle
    }

    /// Whether it is a frame's own bytes, and keeps its buffer.
    pub(crate) fn keeps_buffer(&self) -> bool {
        self._pages.as_ref().is_some_and(HostPages::keeps_buffer)
    }

    /// Gives the handle up without freeing the memory, and what has to outlive it.
    pub(crate) fn into_handle(mut self) -> (vk::DeviceMemory, Option<HostPages>) {
        let handle = std::mem::take(&mut self.handle);
        (handle, self._pages.take())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        down(&self.context.live.memories);
        // SAFETY: the resource bound to it has been destroyed (fields and callers drop it first); null is allowed.
        unsafe { self.context.device.free_memory(self.handle, None) };
    }
}

/// A buffer without memory; destroyed when dropped.
pub(crate) struct Buffer {
    context: Arc<Context>,
    handle: vk::Buffer,
    size: u64,
    usage: vk::BufferUsageFlags,
}

impl Buffer {
    /// `external` is empty for ordinary memory.
    pub(crate) fn new(
        context: &Arc<Context>,
        size: u64,
        usage: vk::BufferUsageFlags,
        external: vk::ExternalMemoryHandleTypeFlags,
    ) -> Result<Self, Refusal> {
        let mut kinds = vk::ExternalMemoryBufferCreateInfo::default().handle_types(external);
        let mut info = vk::BufferCreateInfo::default()
            .size(size)
            .usage(usage)
            .sharing_mode(vk::SharingMode::EXCLUSIVE);
        if !external.is_empty() {
            info = info.push_next(&mut kinds);
        }
        // SAFETY: `info` and its chain live until the call returns.
        let handle =
            unsafe { context.device.create_buffer(&info, None) }.map_err(Refusal::vk("vkCreateBuffer"))?;
        up(&context.live.buffers);
        Ok(Self {
            context: Arc::clone(context),
            handle,
            size,
            usage,
        })
    }

    pub(crate) fn needs(&self) -> Needs {
        let mut dedicated = vk::MemoryDedicatedRequirements::default();
        let mut found = vk::MemoryRequirements2::default().push_next(&mut dedicated);
        let info = vk::BufferMemoryRequirementsInfo2::default().buffer(self.handle);
        // SAFETY: a live buffer; the chain lives until the call returns.
        unsafe {
            self.context
                .device
                .get_buffer_memory_requirements2(&info, &mut found)
        };
        Needs::new(found.memory_requirements, &dedicated)
    }

    /// Binds fresh memory of this buffer's own.
    pub(crate) fn bind(self, memory: Memory) -> Result<BoundBuffer, Refusal> {
        // SAFETY: neither has been bound before: both were just made for each other, and `bind` takes them.
        unsafe {
            self.context
                .device
                .bind_buffer_memory(self.handle, memory.handle(), 0)
        }
        .map_err(Refusal::vk("vkBindBufferMemory"))?;
        Ok(BoundBuffer { buffer: self, memory })
    }

    pub(crate) fn handle(&self) -> vk::Buffer {
        self.handle
    }

    /// Gives the handle up without destroying the buffer.
    pub(crate) fn into_handle(mut self) -> vk::Buffer {
        std::mem::take(&mut self.handle)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        down(&self.context.live.buffers);
        // SAFETY: work that uses it holds the import that holds this, until it is done; null is allowed.
        unsafe { self.context.device.destroy_buffer(self.handle, None) };
    }
}

/// A buffer with memory. The buffer goes first.
pub(crate) struct BoundBuffer {
    buffer: Buffer,
    memory: Memory,
}

impl BoundBuffer {
    pub(crate) fn handle(&self) -> vk::Buffer {
        self.buffer.handle
    }

    pub(crate) fn size(&self) -> u64 {
        self.buffer.size
    }

    pub(crate) fn usage(&self) -> vk::BufferUsageFlags {
        self.buffer.usage
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Another buffer over ordinary memory of ours, of the same size and for the same uses. It may live longer than the
    /// memory, but not be used any more then.
    pub(crate) fn alias(&self) -> Result<Buffer, Refusal> {
        let (context, none) = (&self.buffer.context, vk::ExternalMemoryHandleTypeFlags::empty());
        let alias = Buffer::new(context, self.buffer.size, self.buffer.usage, none)?;
        // SAFETY: a fresh buffer and live memory, which was made for one of the same requirements: those of buffers that are
        // made alike are alike.
        unsafe {
            context
                .device
                .bind_buffer_memory(alias.handle, self.memory.handle(), 0)
        }
        .map_err(Refusal::vk("vkBindBufferMemory"))?;
        Ok(alias)
    }

    /// Gives both handles up without destroying them, and what has to outlive them.
    pub(crate) fn into_handles(mut self) -> (vk::Buffer, vk::DeviceMemory, Option<HostPages>) {
        let buffer = std::mem::take(&mut self.buffer.handle);
        let (memory, pages) = self.memory.into_handle();
        (buffer, memory, pages)
    }
}

impl std::fmt::Debug for BoundBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {} bytes", self.buffer.handle, self.buffer.size)
    }
}

/// The descriptor of an object, for an import.
///
/// Reading does not turn CPU views of the frame into copies; writing does, since nothing ties what the device writes
/// later to the moments when no view is alive.
pub(crate) fn descriptor<'a>(
    context: &Context,
    object: &'a dmaframe_core::Object,
    index: usize,
    access: dmaframe_core::Access,
) -> Result<BorrowedFd<'a>, Refusal> {
    // Where a failed import costs a descriptor, do not let the driver find out that it cannot map for writing.
    let writes = access == dmaframe_core::Access::Write || closes_on_failure(context);
    if writes && !object.is_writable() {
        return Err(Refusal::ReadOnly { object: index });
    }
    if access == dmaframe_core::Access::Read {
        // SAFETY: nothing here writes an import made for reading (`Commands` checks), and what a caller records with
        // its raw handle is the caller's unsafe code, told so at `BufferImport::handle`.
        return Ok(unsafe { dmaframe_core::raw::import_fd(object) });
    }
    Ok(object.lend(index)?)
}
