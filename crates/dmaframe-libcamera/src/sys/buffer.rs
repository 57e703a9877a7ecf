//! Frame buffers: libcamera's, of its memory or ours, and the core's of the same memory.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use dmaframe_core::{Buffer, DeviceClaim, Error, Layout, Object};
use libcamera::framebuffer::AsFrameBuffer;
use libcamera::framebuffer_allocator::FrameBuffer;
use libcamera_sys as ffi;
use rustix::io::Errno;

use super::ManagerRef;

/// A frame buffer of libcamera's for as long as it is wanted.
#[derive(Debug)]
pub(crate) enum FrameMemory {
    /// Of libcamera's allocator, which lives as long as its last buffer, and keeps the camera for as long. So that goes
    /// before the manager.
    Allocated(FrameBuffer, #[expect(dead_code, reason = "kept")] ManagerRef),
    /// Of our own memory.
    Imported(Imported),
}

impl FrameMemory {
    /// For a request.
    pub(crate) fn handle(&self) -> Handle {
        // SAFETY: both give the pointer of a live `libcamera::FrameBuffer`, as the trait asks.
        Handle(unsafe {
            match self {
                Self::Allocated(buffer, _) => buffer.ptr(),
                Self::Imported(buffer) => buffer.0,
            }
        })
    }

    /// The planes' descriptors (duplicated), offsets and lengths. A plane on the same descriptor as an earlier one names
    /// that one's index instead.
    pub(crate) fn planes(&self) -> io::Result<Vec<PlaneOf>> {
        let handle = self.handle();
        let planes = handle.planes();
        let mut seen: Vec<(i32, usize)> = Vec::new();
        let mut found = Vec::new();
        for index in 0..planes.len() {
            let Some(plane) = planes.get(index) else { continue };
            let raw = plane.fd();
            let memory = match seen.iter().find(|(fd, _)| *fd == raw) {
                Some((_, first)) => Ok(*first),
                None if raw < 0 => return Err(Errno::BADF.into()),
                None => {
                    seen.push((raw, index));
                    // SAFETY: the frame buffer owns the descriptor and is borrowed for the whole of this function.
                    Err(unsafe { BorrowedFd::borrow_raw(raw) }.try_clone_to_owned()?)
                }
            };
            found.push(PlaneOf {
                memory,
                offset: plane.offset().map(|offset| offset as u64),
                len: plane.len() as u64,
            });
        }
        Ok(found)
    }
}

/// A plane of a frame buffer.
#[derive(Debug)]
pub(crate) struct PlaneOf {
    /// A descriptor of our own, or the index of the earlier plane whose descriptor this one is on too.
    pub(crate) memory: Result<usize, OwnedFd>,
    /// `None` where libcamera does not know.
    pub(crate) offset: Option<u64>,
    pub(crate) len: u64,
}

/// A frame buffer to hand to a request. Who makes one sees to it that the [`FrameMemory`] outlives the request's stay with
/// libcamera.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle(NonNull<ffi::libcamera_framebuffer_t>);

// SAFETY: a pointer to an object that libcamera and the thread that owns the stream use in turns, handed over by its
// mutexes (queueing a request, its completion).
unsafe impl Send for Handle {}

impl Handle {
    /// Forgets what libcamera said about the last picture, or about its having been cancelled: not every pipeline says
    /// something about each. For a buffer that libcamera does not have.
    pub(crate) fn mark_unfilled(self) {
        // SAFETY: nobody else touches a buffer that is in no queued request. The first field of its `FrameMetadata` is the
        // status, an enum of 32 bits, which libcamera leaves uninitialised at first; this value is the binding's mark for
        // "not filled yet", on which `AsFrameBuffer::metadata` relies.
        unsafe {
            let metadata = ffi::libcamera_framebuffer_metadata(self.0.as_ptr());
            metadata.cast_mut().cast::<u32>().write(u32::MAX);
        }
    }
}

impl AsFrameBuffer for Handle {
    unsafe fn ptr(&self) -> NonNull<ffi::libcamera_framebuffer_t> {
        self.0
    }
}

/// A frame buffer of our own memory.
///
/// Not the binding's `OwnedFrameBuffer`: it lets go of the descriptors it is given, and libcamera duplicates them, so each
/// buffer would leak one a plane.
#[derive(Debug)]
pub(crate) struct Imported(NonNull<ffi::libcamera_framebuffer_t>);

// SAFETY: the only pointer to the object but for the handles of requests, see `Handle`.
unsafe impl Send for Imported {}

impl Imported {
    fn new(planes: &[(BorrowedFd<'_>, u32, u32)]) -> io::Result<Self> {
        // Duplicates, so that no change of the shim's about who owns what can close the caller's.
        let fds: Vec<OwnedFd> = planes
            .iter()
            .map(|(fd, ..)| fd.try_clone_to_owned())
            .collect::<Result<_, _>>()?;
        let infos: Vec<_> = planes
            .iter()
            .zip(&fds)
            .map(
                |((_, offset, length), fd)| ffi::libcamera_framebuffer_plane_info {
                    fd: fd.as_raw_fd(),
                    offset: *offset,
                    length: *length,
                },
            )
            .collect();
        // SAFETY: `infos` has as many entries as are said, with descriptors that are open.
        let made = unsafe { ffi::libcamera_framebuffer_create(infos.as_ptr(), infos.len(), 0) };
        let made = Self(NonNull::new(made).ok_or(Errno::INVAL)?);
        Handle(made.0).mark_unfilled();
        let taken = Handle(made.0);
        let taken = taken.planes();
        for (index, fd) in fds.into_iter().enumerate() {
            // A shim that keeps the descriptor itself instead of a duplicate owns it now.
            if taken.get(index).is_some_and(|plane| plane.fd() == fd.as_raw_fd()) {
                std::mem::forget(fd);
            }
        }
        drop(taken);
        Ok(made)
    }
}

impl Drop for Imported {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once; no request of a running stream has it (`Handle`).
        unsafe { ffi::libcamera_framebuffer_destroy(self.0.as_ptr()) }
    }
}

/// A frame buffer of our own memory, of these planes: descriptor, offset, length. libcamera keeps duplicates.
pub(crate) fn import(planes: &[(BorrowedFd<'_>, u32, u32)]) -> io::Result<FrameMemory> {
    Imported::new(planes).map(FrameMemory::Imported)
}

/// A buffer of memory that libcamera allocated for us.
pub(crate) fn private_buffer(
    objects: Vec<Arc<Object>>,
    layout: &Layout,
    generation: u64,
) -> Result<Arc<Buffer>, Error> {
    let (fourcc, modifier, size) = (layout.fourcc(), layout.modifier(), layout.size());
    // SAFETY: the memory is of libcamera's allocator, made for this stream alone. libcamera and its devices write it only
    // while it is in a queued request, and the engine puts it into a frame only after that request has completed and
    // queues it again only after that frame's lease has run. The claim that keeps others from making a frame of it
    // meanwhile ends no sooner, and never for a request that a lost camera did not give back.
    let buffer = unsafe {
        dmaframe_core::raw::private_buffer(fourcc, modifier, size, objects, layout.planes(), generation)
    };
    buffer.map(Arc::new)
}

/// The descriptor of one object of a buffer for libcamera to write into.
///
/// Of a private buffer the claim keeps frames from being made for as long as libcamera has it, so its views go on giving
/// slices. Of any other there may be handles that no claim excludes: its memory counts as lent from now on.
pub(crate) fn import_fd(claim: &DeviceClaim, object: usize) -> Result<BorrowedFd<'_>, Error> {
    let objects = claim.buffer().objects();
    let Some(memory) = objects.get(object) else {
        return Err(Error::OutOfRange {
            what: "object",
            index: object,
            limit: objects.len(),
        });
    };
    if claim.buffer().is_private() {
        // SAFETY: libcamera writes the memory only while the buffer is in a queued request. The engine holds a claim
        // on it then, and private memory that is claimed is in no frame, so no view of it is alive.
        Ok(unsafe { dmaframe_core::raw::import_fd(memory) })
    } else {
        memory.lend(object)
    }
}
