//! Buffers' memory: the driver's own, exported (`VIDIOC_EXPBUF`), and others' for the driver.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_core::{Buffer, DeviceClaim, Layout, MAX_PLANES, Object};
use rustix::io::Errno;

use super::abi::{self, Plain};
use super::{raw, retry};

/// A memory plane of a driver's own buffer, fresh from `VIDIOC_EXPBUF` and in nobody else's hands.
#[derive(Debug)]
pub(crate) struct Exported(OwnedFd);

/// `VIDIOC_EXPBUF`: memory plane `plane` of buffer `index` as a new dma-buf, close-on-exec, readable and writable.
pub(crate) fn expbuf(fd: BorrowedFd<'_>, kind: u32, index: u32, plane: u32) -> Result<Exported, Errno> {
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::RDWR;
    let mut arg = abi::ExportBuffer {
        kind,
        index,
        plane,
        flags: flags.bits(),
        ..abi::ExportBuffer::zeroed()
    };
    // SAFETY: as in `calls!`.
    retry(|| unsafe { raw::expbuf(fd.as_raw_fd(), &mut arg) })?;
    if arg.fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the call succeeded, so the kernel made this descriptor for us and nobody else owns it.
    Ok(Exported(unsafe { OwnedFd::from_raw_fd(arg.fd) }))
}

/// A buffer of the driver's own, whose frames give slices.
///
/// Made from fresh exports only, so that nobody else has its memory. Only the capture engine has these, and it keeps the
/// promise below: it makes frames of one only between `VIDIOC_DQBUF` and the `VIDIOC_QBUF` that follows the lease's
/// return.
#[derive(Debug)]
pub(crate) struct ExportedBuffer(Arc<Buffer>);

impl ExportedBuffer {
    /// Takes the planes of one buffer. `layout` sees the objects' true sizes and says where the picture lies.
    pub(crate) fn new<E: From<dmaframe_core::Error>>(
        planes: impl IntoIterator<Item = Exported>,
        generation: u64,
        layout: impl FnOnce(&[u64]) -> Result<Layout, E>,
    ) -> Result<Self, E> {
        let mut objects = ArrayVec::<_, MAX_PLANES>::new();
        for (index, plane) in planes.into_iter().take(MAX_PLANES).enumerate() {
            objects.push(Arc::new(Object::new(plane.0, index)?));
        }
        let sizes: ArrayVec<u64, MAX_PLANES> =
            objects.iter().map(|object: &Arc<Object>| object.size()).collect();
        Ok(Self(private(objects, &layout(&sizes)?, generation)?))
    }

    /// The same memory with the picture at another place. The engine does this only while the buffer is in no frame,
    /// and uses the old handle no more.
    pub(crate) fn relaid(&self, layout: &Layout) -> Result<Self, dmaframe_core::Error> {
        let objects = self.0.objects().iter().cloned().collect();
        private(objects, layout, self.0.id().generation()).map(Self)
    }

    pub(crate) fn buffer(&self) -> &Arc<Buffer> {
        &self.0
    }
}

fn private(
    objects: ArrayVec<Arc<Object>, MAX_PLANES>,
    layout: &Layout,
    generation: u64,
) -> Result<Arc<Buffer>, dmaframe_core::Error> {
    let (fourcc, modifier, size) = (layout.fourcc(), layout.modifier(), layout.size());
    // SAFETY: the memory is the driver's own, exported to us alone (`Exported` comes from nowhere else), each plane
    // once, or an allocator's that promised the same and gave it up (`own_buffer`). The driver writes it only while the
    // buffer is queued, and the engine puts it into a frame only after DQBUF named it and queues it again only after
    // that frame's lease has run. The claim that keeps others from making a frame of it meanwhile ends with DQBUF, a
    // STREAMOFF that succeeded, or after the device was closed.
    let buffer = unsafe {
        dmaframe_core::raw::private_buffer(fourcc, modifier, size, objects, layout.planes(), generation)
    };
    buffer.map(Arc::new)
}

/// The descriptor of one plane for the driver to write into.
///
/// A private buffer's frames go on giving slices: the claim keeps frames from being made of it for as long as the driver
/// has it. Of any other buffer there may be handles that no claim excludes, so its memory counts as lent from now on
/// and views copy.
///
/// The engine keeps the claim from before QBUF until the frame that follows DQBUF takes it, or STREAMOFF has succeeded,
/// or the device is closed.
pub(crate) fn import_fd(claim: &DeviceClaim, plane: usize) -> Result<BorrowedFd<'_>, dmaframe_core::Error> {
    let object = object(claim.buffer(), plane)?;
    if claim.buffer().is_private() {
        // SAFETY: the driver writes between QBUF and DQBUF only, and for that time the claim keeps this buffer out of
        // frames, so that no view of it is alive. That no other buffer or mapping of this process is written or read
        // through is what the private buffer's maker promised.
        Ok(unsafe { dmaframe_core::raw::import_fd(object) })
    } else {
        object.lend(plane)
    }
}

/// The descriptor of one plane for the driver to read from: no view has to stop giving slices for that.
///
/// The engine keeps the frame, or the claim of its own buffer, from before QBUF until DQBUF or STREAMOFF has succeeded, or
/// the device is closed.
pub(crate) fn output_fd(buffer: &Buffer, plane: usize) -> Result<BorrowedFd<'_>, dmaframe_core::Error> {
    let object = object(buffer, plane)?;
    // SAFETY: a driver only reads the buffers of an OUTPUT queue (`DMA_TO_DEVICE`), and nobody else gets the descriptor.
    Ok(unsafe { dmaframe_core::raw::import_fd(object) })
}

fn object(buffer: &Buffer, plane: usize) -> Result<&Object, dmaframe_core::Error> {
    let objects = buffer.objects();
    let object = objects.get(plane).map(|object| &**object);
    object.ok_or(dmaframe_core::Error::OutOfRange {
        what: "object",
        index: plane,
        limit: objects.len(),
    })
}

/// A buffer over memory that was allocated for it, whose frames give slices.
///
/// `fresh` are buffers of this process's own allocator, each of one object, in no frame and given up here.
pub(crate) fn own_buffer(
    fresh: impl IntoIterator<Item = Buffer>,
    layout: &Layout,
) -> Result<Arc<Buffer>, dmaframe_core::Error> {
    let objects: ArrayVec<Arc<Object>, MAX_PLANES> = fresh
        .into_iter()
        .take(MAX_PLANES)
        .filter_map(|buffer| buffer.is_private().then(|| buffer.objects().first().cloned())?)
        .collect();
    // Every buffer was private: its maker promised that the memory has no other users, and this takes its place.
    private(objects, layout, dmaframe_core::next_generation())
}
