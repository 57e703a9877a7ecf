//! The only module with `unsafe` in it: three ioctls, and the promise that freshly made memory is nobody else's.

#[cfg(any(feature = "drm", feature = "gbm"))]
pub(crate) mod drm;
#[cfg(feature = "drm")]
pub(crate) mod dumb;
#[cfg(feature = "gbm")]
pub(crate) mod gbm;
pub(crate) mod heap;
pub(crate) mod memfd;
pub(crate) mod udmabuf;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use dmaframe_core::{Buffer, Fourcc, Modifier, Object, Plane, Size};
use rustix::io::Errno;

/// Memory this module has just made: no other descriptor, mapping, device or process has it.
///
/// Only this module makes values of the type, each from a call that creates memory; the descriptor inside never gets
/// out except into a [`Buffer`].
#[derive(Debug)]
pub(crate) struct Fresh(OwnedFd);

impl Fresh {
    /// Asks the kernel what it is, as for any descriptor; `index` is its place in the buffer.
    pub(crate) fn into_object(self, index: usize) -> Result<FreshObject, dmaframe_core::Error> {
        Object::new(self.0, index).map(Arc::new).map(FreshObject)
    }
}

/// [`Fresh`] memory that the kernel has been asked about.
#[derive(Debug)]
pub(crate) struct FreshObject(Arc<Object>);

impl FreshObject {
    #[cfg(any(feature = "drm", feature = "gbm"))]
    pub(crate) fn size(&self) -> u64 {
        self.0.size()
    }

    /// Whether both are one kernel object: drivers export one descriptor per plane, often of the same memory.
    #[cfg(feature = "gbm")]
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0.identity() == other.0.identity()
    }
}

/// A buffer whose frames give CPU views as slices.
pub(crate) fn private_buffer(
    fourcc: Fourcc,
    modifier: Modifier,
    size: Size,
    objects: Vec<FreshObject>,
    planes: &[Plane],
    generation: u64,
) -> Result<Buffer, dmaframe_core::Error> {
    let objects = objects.into_iter().map(|object| object.0);
    // SAFETY: nobody else has the memory when it gets here (see `Fresh`), so whoever writes it later got it from the
    // buffer: through a frame's view, through `Object::lend`, which ends slices, or through `raw::import_fd`, whose
    // caller promises not to write under a view.
    unsafe { dmaframe_core::raw::private_buffer(fourcc, modifier, size, objects, planes, generation) }
}

/// Repeats a call that a signal cut short.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
