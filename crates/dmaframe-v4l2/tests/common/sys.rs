//! A promise only a buffer's maker can make.

use std::sync::Arc;

use dmaframe_core::{Buffer, Layout, Object, raw};

/// A buffer whose frames give slices, of memory that `objects` alone have.
pub(crate) fn private(layout: &Layout, objects: Vec<Arc<Object>>, generation: u64) -> Buffer {
    let (fourcc, modifier, size) = (layout.fourcc(), layout.modifier(), layout.size());
    // SAFETY: the tests allocate the memory for this buffer, map it nowhere else, and only a capture that claims the
    // buffer has a driver write it.
    unsafe { raw::private_buffer(fourcc, modifier, size, objects, layout.planes(), generation) }.unwrap()
}
