//! Promises that only the caller can make. Adapters use these; applications do not need them.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::buffer::Buffer;
use crate::error::{Error, LayoutError};
use crate::format::{Fourcc, Modifier};
use crate::layout::Size;
use crate::layout::{Layout, MAX_PLANES, Plane};
use crate::object::Object;

/// A buffer whose frames give CPU views as slices.
///
/// # Errors
/// As [`Buffer::new`].
///
/// # Safety
/// From the moment the buffer is put into a frame until that frame's lease has run, nothing but that frame's views
/// and work submitted by its consumers writes the memory: no device still has it queued for writing after the
/// acquire fence, no other process and no other buffer or mapping of this process writes it. Descriptors that
/// frames hand out through [`Object::lend`] are taken care of. Of several `Object`s of one kernel object the buffer keeps
/// one (the first that can be written): the others' descriptors are not lent or written through either.
pub unsafe fn private_buffer(
    fourcc: Fourcc,
    modifier: Modifier,
    size: Size,
    objects: impl IntoIterator<Item = Arc<Object>>,
    planes: &[Plane],
    generation: u64,
) -> Result<Buffer, Error> {
    let objects: ArrayVec<_, { MAX_PLANES + 1 }> = objects.into_iter().take(MAX_PLANES + 1).collect();
    if objects.len() > MAX_PLANES {
        return Err(LayoutError::ObjectCount {
            found: objects.len(),
            limit: MAX_PLANES,
        }
        .into());
    }
    let objects: ArrayVec<_, MAX_PLANES> = objects.into_iter().collect();
    let sizes: ArrayVec<u64, MAX_PLANES> = objects.iter().map(|o| o.size()).collect();
    let layout = Layout::check(fourcc, modifier, size, planes, &sizes)?;
    Buffer::with_layout(objects, layout, generation, true)
}

/// The descriptor, for an import that only reads, without turning CPU views into copies as [`Object::lend`] does.
///
/// # Safety
/// Whoever gets the descriptor (or a duplicate of it) does not write the memory while a CPU view of it is alive in
/// this process.
#[must_use]
pub unsafe fn import_fd(object: &Object) -> BorrowedFd<'_> {
    object.fd()
}
