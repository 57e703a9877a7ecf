//! A linear frame as buffers: the base path. Works on every device with the two dma-buf extensions, for every stride
//! and for formats that no `VkFormat` describes.

use std::sync::Arc;

use arrayvec::ArrayVec;
use ash::vk;
use dmaframe_core::{Access, Buffer as FrameBuffer, DeviceClaim, Frame, Layout};

use super::barriers::{Barriers, of_buffer};
use super::host::Use;
use super::object;
use crate::error::{Refusal, Route};
use crate::gpu::Gpu;
use crate::sys::context::Context;
use crate::sys::host::HostPages;
use crate::sys::memory::{BoundBuffer, Buffer, Dedicated, Memory};
use crate::sys::query;

const DMA_BUF: vk::ExternalMemoryHandleTypeFlags = vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT;

/// Where a plane lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BufferPlane {
    /// Index into [`BufferImport::handle`]'s buffers.
    pub buffer: usize,
    /// First byte of the first row.
    pub offset: u64,
    /// Bytes from row to row.
    pub stride: u32,
    /// Bytes of a row that carry samples.
    pub row_bytes: u64,
    /// Rows.
    pub rows: u32,
}

impl BufferPlane {
    /// One past the last byte that carries a sample.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.stride) * u64::from(self.rows.saturating_sub(1)) + self.row_bytes
    }
}

/// A frame's memory as `VkBuffer`s, one for each distinct object, each as large as the object.
///
/// It owns the buffers and the imported memory, which keeps the dma-buf itself alive; it holds no lease. That is the
/// [`Held`](crate::Held) handle's job, so that an import can stay in a cache between frames.
pub struct BufferImport {
    context: Arc<Context>,
    buffers: ArrayVec<BoundBuffer, 4>,
    planes: ArrayVec<BufferPlane, 4>,
    layout: Layout,
    route: Route,
    access: Access,
}

impl BufferImport {
    /// A linear dma-buf frame, for reading. Without a cache: [`Importer::buffer`](crate::Importer::buffer) has one.
    ///
    /// `usage` must only read, since views of the frame rely on that. Does not block; does not wait for fences.
    ///
    /// # Errors
    /// Why the route does not take the frame.
    pub fn from_dmabuf(gpu: &Gpu, frame: &Frame, usage: vk::BufferUsageFlags) -> Result<Self, Refusal> {
        Self::of_dmabuf(gpu, frame.buffer(), usage, Access::Read)
    }

    /// The pages of a CPU frame (a memfd's, or bytes that are whole pages), for reading.
    ///
    /// # Errors
    /// Why the route does not take the frame.
    pub fn from_pages(gpu: &Gpu, frame: &Frame, usage: vk::BufferUsageFlags) -> Result<Self, Refusal> {
        Self::of_host(gpu, frame, usage)
    }

    /// A linear dma-buf that the device is about to write. From here on CPU views of its frames copy rows out
    /// ([`Object::lend`](dmaframe_core::Object::lend)).
    ///
    /// # Errors
    /// Why the route does not take the buffer.
    pub fn for_writing(gpu: &Gpu, claim: &DeviceClaim, usage: vk::BufferUsageFlags) -> Result<Self, Refusal> {
        Self::of_dmabuf(gpu, claim.buffer(), usage, Access::Write)
    }

    /// The pages of memfds that the device is about to write: for GPUs with no dma-bufs. The memory is a memfd as before,
    /// which anybody can be given; the import keeps a mapping of it. CPU views of its frames copy rows out from here on,
    /// as after [`Self::for_writing`]; a pool that keeps the claim while the device writes has
    /// [`raw::claimed_pages`](crate::raw::claimed_pages), after which they do not.
    ///
    /// Pins the pages, which costs as much as a copy of them: make it once for each slot.
    ///
    /// # Errors
    /// [`Refusal::ExtensionOff`] without `VK_EXT_external_memory_host`, [`Refusal::IsDmabuf`], [`Refusal::NotMemfd`] for a
    /// process's own bytes, [`Refusal::ReadOnly`], [`Refusal::HostAlignment`], [`Refusal::TooSmall`].
    pub fn pages_for_writing(
        gpu: &Gpu,
        claim: &DeviceClaim,
        usage: vk::BufferUsageFlags,
    ) -> Result<Self, Refusal> {
        Self::of_memfds(gpu, claim.buffer(), usage, Use::Writes)
    }

    fn of_dmabuf(
        gpu: &Gpu,
        frame: &Arc<FrameBuffer>,
        usage: vk::BufferUsageFlags,
        access: Access,
    ) -> Result<Self, Refusal> {
        let context = &gpu.0;
        if !frame.is_dmabuf() {
            return Err(Refusal::NotDmabuf);
        }
        context.extensions.need_dmabuf()?;
        linear(frame.layout())?;
        let sharing = query::buffer_sharing(&context.instance, context.physical, usage, DMA_BUF);
        if !sharing.contains(vk::ExternalMemoryFeatureFlags::IMPORTABLE) {
            return Err(Refusal::NotShareable { operation: "import" });
        }
        let only_dedicated = sharing.contains(vk::ExternalMemoryFeatureFlags::DEDICATED_ONLY);
        let (mut buffers, mut seen) = (ArrayVec::<_, 4>::new(), ArrayVec::<_, 4>::new());
        let mut place = ArrayVec::<usize, 4>::new();
        for (index, memory) in frame.objects().iter().enumerate() {
            if let Some(same) = seen.iter().position(|id| *id == memory.identity()) {
                place.push(same);
                continue;
            }
            let buffer = Buffer::new(context, memory.size(), usage, DMA_BUF)?;
            let needs = buffer.needs();
            let own = (Dedicated::Buffer(buffer.handle()), only_dedicated);
            let imported = object::import(context, frame, index, (needs, needs.size), own, access)?;
            place.push(buffers.len());
            seen.push(memory.identity());
            buffers.push(buffer.bind(imported)?);
        }
        Ok(Self::assemble(
            context,
            buffers,
            &place,
            frame.layout(),
            Route::Buffer,
            access,
        ))
    }

    pub(crate) fn of_pages(
        gpu: &Gpu,
        pages: ArrayVec<HostPages, 4>,
        place: &[usize],
        layout: &Layout,
        usage: vk::BufferUsageFlags,
        access: Access,
    ) -> Result<Self, Refusal> {
        let context = &gpu.0;
        let mut buffers = ArrayVec::<_, 4>::new();
        for (index, pages) in pages.into_iter().enumerate() {
            let size = pages.len() as u64;
            let buffer = Buffer::new(
                context,
                size,
                usage,
                vk::ExternalMemoryHandleTypeFlags::HOST_ALLOCATION_EXT,
            )?;
            let needs = buffer.needs();
            if needs.size > size {
                return Err(Refusal::TooSmall {
                    object: index,
                    needed: needs.size,
                    found: size,
                });
            }
            let imported = Memory::import_pages(context, pages, needs)?;
            buffers.push(buffer.bind(imported)?);
        }
        Ok(Self::assemble(
            context,
            buffers,
            place,
            layout,
            Route::HostPointer,
            access,
        ))
    }

    /// One buffer of our own making, which a frame is made of.
    pub(crate) fn of_bound(gpu: &Gpu, buffer: BoundBuffer, layout: &Layout) -> Self {
        let mut buffers = ArrayVec::new();
        buffers.push(buffer);
        Self::assemble(&gpu.0, buffers, &[0], layout, Route::Export, Access::Write)
    }

    /// Memory of the driver's own that the CPU has mapped.
    pub(crate) fn of_staging(gpu: &Gpu, buffer: BoundBuffer, layout: &Layout) -> Self {
        let mut buffers = ArrayVec::new();
        buffers.push(buffer);
        Self::assemble(&gpu.0, buffers, &[0], layout, Route::Upload, Access::Write)
    }

    fn assemble(
        context: &Arc<Context>,
        buffers: ArrayVec<BoundBuffer, 4>,
        place: &[usize],
        layout: &Layout,
        route: Route,
        access: Access,
    ) -> Self {
        let planes = layout
            .planes()
            .iter()
            .enumerate()
            .map(|(index, plane)| BufferPlane {
                buffer: place.get(plane.object).copied().unwrap_or(0),
                offset: plane.offset,
                stride: plane.stride,
                row_bytes: layout.row_bytes(index) as u64,
                rows: layout.rows(index),
            });
        Self {
            context: Arc::clone(context),
            planes: planes.collect(),
            buffers,
            layout: layout.clone(),
            route,
            access,
        }
    }

    /// How many buffers there are: one for each distinct memory object.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.buffers.len()
    }

    /// Buffer `index`. Valid as long as this import lives; never destroy it.
    ///
    /// An import for reading must not be written by what is recorded with it: CPU views rely on that.
    #[must_use]
    pub fn handle(&self, index: usize) -> Option<vk::Buffer> {
        self.buffers.get(index).map(BoundBuffer::handle)
    }

    /// Bytes of buffer `index`: the whole object.
    #[must_use]
    pub fn size(&self, index: usize) -> Option<u64> {
        self.buffers.get(index).map(BoundBuffer::size)
    }

    /// What the buffers may be used for.
    #[must_use]
    pub fn usage(&self) -> vk::BufferUsageFlags {
        self.buffers
            .first()
            .map_or(vk::BufferUsageFlags::empty(), BoundBuffer::usage)
    }

    /// How many handles to the frame's [`Buffer`](dmaframe_core::Buffer) this is itself: one where it is made of the frame's
    /// own bytes, which stay as long as it does; none where it shares memory of the kernel's. For an
    /// [`ImportCache::counting`](crate::ImportCache::counting).
    #[must_use]
    pub fn buffer_handles(&self) -> usize {
        let keeps = |buffer: &&BoundBuffer| buffer.memory().keeps_buffer();
        self.buffers.iter().filter(keeps).count()
    }

    /// Where the planes lie.
    #[must_use]
    pub fn planes(&self) -> &[BufferPlane] {
        &self.planes
    }

    /// The frame's layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// By which route it came.
    #[must_use]
    pub fn route(&self) -> Route {
        self.route
    }

    /// Whether work may write it.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Takes ownership from whoever wrote the memory, for accesses `access`. Record it before the work.
    ///
    /// Empty where there is nothing to do: on devices without `VK_EXT_queue_family_foreign`, and for CPU pages and staging
    /// memory, whose writes before a submission are visible to it anyway.
    #[must_use]
    pub fn acquire(&self, access: vk::AccessFlags) -> Barriers {
        self.transfer(|family, foreign| ((foreign, family), (vk::AccessFlags::empty(), access)))
    }

    /// Gives it back after accesses `access`. Record it after the work.
    #[must_use]
    pub fn release(&self, access: vk::AccessFlags) -> Barriers {
        self.transfer(|family, foreign| ((family, foreign), (access, vk::AccessFlags::empty())))
    }

    fn transfer(
        &self,
        way: impl Fn(u32, u32) -> ((u32, u32), (vk::AccessFlags, vk::AccessFlags)),
    ) -> Barriers {
        let mut barriers = Barriers::default();
        let shared = matches!(self.route, Route::Buffer | Route::Export);
        if let (Some(foreign), true) = (self.context.foreign(), shared) {
            let (families, access) = way(self.context.family, foreign);
            barriers.buffers.extend(
                self.buffers
                    .iter()
                    .map(|b| of_buffer(b.handle(), families, access)),
            );
        }
        barriers
    }

    /// Its one buffer, where it is staging memory.
    pub(crate) fn staging(&self) -> Option<&BoundBuffer> {
        self.buffers.first().filter(|_| self.route == Route::Upload)
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(crate) fn into_buffers(self) -> ArrayVec<BoundBuffer, 4> {
        self.buffers
    }
}

pub(crate) fn linear(layout: &Layout) -> Result<(), Refusal> {
    if layout.modifier().is_linear() {
        return Ok(());
    }
    Err(Refusal::NotLinear {
        modifier: layout.modifier(),
    })
}

impl std::fmt::Debug for BufferImport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BufferImport")
            .field("route", &self.route)
            .field("buffers", &self.buffers)
            .field("planes", &self.planes)
            .finish_non_exhaustive()
    }
}
