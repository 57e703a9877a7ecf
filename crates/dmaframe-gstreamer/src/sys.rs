//! Where GStreamer's C interface has to be used directly: what we keep with a `GstMemory`, descriptors as borrowed
//! ones, memories made of descriptors, and a few fields the bindings do not show.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use dmaframe_core::{Buffer, Deadline, Error as CoreError, Frame, Object};
use gst::glib::translate::IntoGlib;
use gst_allocators::prelude::*;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes guard is whole between any two statements, so a panic elsewhere harms nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What we keep with a memory, for as long as GStreamer keeps the memory.
#[derive(Debug)]
pub(crate) struct Tag {
    /// The descriptor as the core knows it: our own duplicate of a foreign memory's, or the frame's.
    pub(crate) object: Arc<Object>,
    /// For memories made from a frame: what keeps it from going back to its producer.
    pub(crate) keeper: Mutex<Option<Frame>>,
    /// The buffer this memory was last imported as, when it is the buffer's first.
    pub(crate) imported: Mutex<Option<Arc<Buffer>>>,
}

impl Tag {
    pub(crate) fn new(object: Arc<Object>) -> Self {
        Self {
            object,
            keeper: Mutex::new(None),
            imported: Mutex::new(None),
        }
    }
}

impl Drop for Tag {
    /// The memory is freed: one that an element had kept beyond its buffer.
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = keeper.take() {
            crate::export::let_go(frame, true);
        }
    }
}

/// The name we keep tags under. It has the address of this copy of the crate in it, because two versions of the crate
/// in one process must not take each other's tags for their own.
fn quark() -> gst::glib::Quark {
    static QUARK: OnceLock<gst::glib::Quark> = OnceLock::new();
    *QUARK.get_or_init(|| gst::glib::Quark::from_str(format!("dmaframe-memory-{:p}", &QUARK)))
}

/// The tag of a memory, if it has one.
pub(crate) fn tag(memory: &gst::MemoryRef) -> Option<&Tag> {
    // SAFETY: the memory is alive for the call, which takes the lock the list of attachments needs.
    let data =
        unsafe { gst::ffi::gst_mini_object_get_qdata(memory.as_mut_ptr().cast(), quark().into_glib()) };
    // SAFETY: only `tag_or` attaches something under this name, a leaked `Box<Tag>`, which is never replaced or taken
    // away before the memory itself is freed: it lives as long as the reference we were given.
    unsafe { data.cast::<Tag>().as_ref() }
}

unsafe extern "C" fn free_tag(data: *mut std::ffi::c_void) {
    // SAFETY: GStreamer calls this once, with what `tag_or` attached, when the memory is freed.
    drop(unsafe { Box::from_raw(data.cast::<Tag>()) });
}

/// The tag of a memory; `make` is asked for one if it has none yet.
pub(crate) fn tag_or<E>(memory: &gst::MemoryRef, make: impl FnOnce() -> Result<Tag, E>) -> Result<&Tag, E> {
    /// Two threads may see the same untagged memory; a tag that was handed out must never be replaced.
    static MAKING: Mutex<()> = Mutex::new(());
    if let Some(tag) = tag(memory) {
        return Ok(tag);
    }
    let _making = lock(&MAKING);
    if let Some(tag) = tag(memory) {
        return Ok(tag);
    }
    let new = Box::into_raw(Box::new(make()?));
    // SAFETY: the memory is alive; `new` is a valid pointer that `free_tag` frees exactly once. Nothing stands under
    // this name yet (looked up under the lock), so nothing that was handed out is freed here.
    unsafe {
        gst::ffi::gst_mini_object_set_qdata(
            memory.as_mut_ptr().cast(),
            quark().into_glib(),
            new.cast(),
            Some(free_tag),
        );
    }
    // SAFETY: just attached, and it stays until the memory is freed.
    Ok(unsafe { &*new })
}

/// What kind of descriptor a memory has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Descriptor<'a> {
    /// `GstDmaBufMemory`.
    Dmabuf(BorrowedFd<'a>),
    /// Any other `GstFdMemory`: a memfd, or a file.
    Other(BorrowedFd<'a>),
}

/// The descriptor of a memory, if it is made of one.
pub(crate) fn descriptor(memory: &gst::MemoryRef) -> Option<Descriptor<'_>> {
    let borrow = |fd: RawFd| {
        // SAFETY: a `GstFdMemory` keeps its descriptor open until it is freed, and the borrow is no longer than that of
        // the memory. -1 is sorted out first.
        (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
    };
    if let Some(dmabuf) = memory.downcast_memory_ref::<gst_allocators::DmaBufMemory>() {
        return borrow(dmabuf.fd()).map(Descriptor::Dmabuf);
    }
    let other = memory.downcast_memory_ref::<gst_allocators::FdMemory>()?;
    borrow(other.fd()).map(Descriptor::Other)
}

/// The memory at the root: `gst_memory_share` makes new memories all the time, which all have their parent's
/// descriptor.
pub(crate) fn root(memory: &gst::MemoryRef) -> &gst::MemoryRef {
    let mut root = memory;
    while let Some(parent) = root.parent() {
        root = parent;
    }
    root
}

/// A memory of exactly `size` bytes of an object's descriptor, which stays the object's: whoever makes the memory keeps
/// the object in the memory's tag.
///
/// The CPU mapping is kept for as long as the memory lives. `read_only` makes elements that want to write copy first.
pub(crate) fn memory_of(
    object: &Object,
    index: usize,
    size: usize,
    read_only: bool,
) -> Result<gst::Memory, MemoryError> {
    // From here on the descriptor may go anywhere: a device driver, another process.
    let fd = object.lend(index).map_err(MemoryError::Core)?.as_raw_fd();
    let flags = gst_allocators::FdMemoryFlags::DONT_CLOSE | gst_allocators::FdMemoryFlags::KEEP_MAPPED;
    let memory = match object.kind() {
        dmaframe_core::ObjectKind::Dmabuf => {
            static ALLOCATOR: OnceLock<gst_allocators::DmaBufAllocator> = OnceLock::new();
            let allocator = ALLOCATOR.get_or_init(gst_allocators::DmaBufAllocator::new);
            // SAFETY: with DONT_CLOSE the memory does not take the descriptor over; the caller ties the object, which
            // keeps it open, to the memory.
            unsafe { allocator.alloc_dmabuf_with_flags(fd, size, flags) }
        }
        dmaframe_core::ObjectKind::Memfd => {
            static ALLOCATOR: OnceLock<gst_allocators::FdAllocator> = OnceLock::new();
            let allocator = ALLOCATOR.get_or_init(gst_allocators::FdAllocator::default);
            // SAFETY: as above.
            unsafe { allocator.alloc_fd(fd, size, flags) }
        }
    };
    let memory = memory.map_err(|_| MemoryError::Refused)?;
    if read_only {
        // SAFETY: the memory is new and nobody else has it; the flag is a bit in a field of the mini object.
        unsafe { (*memory.as_mut_ptr()).mini_object.flags |= gst::ffi::GST_MEMORY_FLAG_READONLY };
    }
    Ok(memory)
}

/// Why [`memory_of`] made no memory.
#[derive(Debug)]
pub(crate) enum MemoryError {
    Core(CoreError),
    Refused,
}

/// Whether nobody but the buffer has this memory: no other buffer, no part of it made by `gst_memory_share`.
pub(crate) fn is_sole_owner(memory: &gst::MemoryRef) -> bool {
    let object: *const gst::ffi::GstMiniObject = memory.as_ptr().cast();
    // SAFETY: the memory is alive and `refcount` is its atomic counter, which is read as one. Whoever could raise it
    // from 1 would need the buffer, which is only ours when this is asked.
    let count = unsafe { std::sync::atomic::AtomicI32::from_ptr((&raw const (*object).refcount).cast_mut()) };
    count.load(std::sync::atomic::Ordering::Acquire) == 1
}

/// The pool of a buffer that is out, if it has one.
pub(crate) fn pool(buffer: &gst::BufferRef) -> Option<gst::BufferPool> {
    // SAFETY: the buffer is alive; the pointer is set when a buffer leaves its pool, together with a reference to the
    // pool, and cleared when the buffer goes back there, which it does not while we hold it.
    unsafe {
        let pool = (*buffer.as_ptr()).pool;
        (!pool.is_null()).then(|| gst::glib::translate::from_glib_none(pool))
    }
}

/// Makes a metadata item stay on the buffer when it goes back to its pool.
pub(crate) fn keep_in_pool(meta: &mut gst::MetaRefMut<'_, gst_video::VideoMeta, gst::meta::Standalone>) {
    let meta: *mut gst_video::ffi::GstVideoMeta = meta.as_mut_ptr();
    // SAFETY: the item is alive and ours alone, as `MetaRefMut` says; the flags are bits of its head.
    unsafe {
        (*meta).meta.flags |= gst::ffi::GST_META_FLAG_POOLED | gst::ffi::GST_META_FLAG_LOCKED;
    }
}

/// Clears what one delivery left on a buffer: flags and times.
pub(crate) fn clear_buffer(buffer: &mut gst::BufferRef) {
    let buffer: *mut gst::ffi::GstBuffer = buffer.as_mut_ptr();
    // SAFETY: exclusive by `&mut`. These are the fields a pool clears before a buffer goes out again; flags below
    // `GST_MINI_OBJECT_FLAG_LAST` belong to the mini object and stay.
    unsafe {
        (*buffer).mini_object.flags &= gst::ffi::GST_MINI_OBJECT_FLAG_LAST - 1;
        (*buffer).pts = gst::ffi::GST_CLOCK_TIME_NONE;
        (*buffer).dts = gst::ffi::GST_CLOCK_TIME_NONE;
        (*buffer).duration = gst::ffi::GST_CLOCK_TIME_NONE;
        (*buffer).offset = u64::MAX;
        (*buffer).offset_end = u64::MAX;
    }
}

/// One plane of a frame in owned bytes, for a memory that GStreamer only reads.
pub(crate) struct PlaneBytes {
    /// Keeps the bytes, and keeps anybody from getting a writable view: that needs the frame's only handle. There until
    /// dropped.
    frame: Option<Frame>,
    start: *const u8,
    len: usize,
}

// SAFETY: `start` points into memory that `frame` keeps, which is `Send`, and which nobody writes meanwhile.
unsafe impl Send for PlaneBytes {}

impl PlaneBytes {
    /// The bytes of plane `index`, with the padding between its rows. `None` where views do not give slices.
    pub(crate) fn new(frame: &Frame, index: usize) -> Result<Self, CoreError> {
        let view = frame.map_read(Deadline::now())?;
        let plane = view.plane(index)?;
        let (start, len) = (plane.as_ptr(), plane.len());
        drop(view);
        Ok(Self {
            frame: Some(frame.clone()),
            start,
            len,
        })
    }
}

impl AsRef<[u8]> for PlaneBytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the view gave these bytes as a slice, so the memory is private to the frame; owned bytes and kept
        // mappings stay where they are while the frame's buffer lives, and `frame` keeps that. Writing needs the only
        // handle to the frame, and there is this one.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl Drop for PlaneBytes {
    fn drop(&mut self) {
        if let Some(frame) = self.frame.take() {
            crate::later::outside(move || drop(frame));
        }
    }
}
