//! Waiting for a picture, and copying one that the driver cannot read where it is.

use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_alloc::{Allocator, Chain, Request};
use dmaframe_core::{Access, Buffer, Deadline, Frame, Layout, MAX_PLANES, Waited, WriteView};

use super::input::core;
use crate::device::Device;
use crate::error::Error;
use crate::format::Format;
use crate::queue::carrier;
use crate::sys;

/// Waits for the acquire fence and for fences that others put on the dma-bufs.
pub(super) fn wait_for(frame: &Frame, deadline: Deadline) -> Result<(), dmaframe_core::Error> {
    let done = |waited, what| match waited {
        Waited::Signaled => Ok(()),
        Waited::Failed(errno) => Err(dmaframe_core::Error::FenceFailed { errno }),
        Waited::TimedOut => Err(dmaframe_core::Error::Timeout { what }),
    };
    done(frame.wait(deadline)?, "acquire fence")?;
    for object in frame.buffer().objects() {
        done(object.wait_idle(Access::Read, deadline)?, "dma-buf's own fence")?;
    }
    Ok(())
}

/// Copies a picture's rows into the driver's layout, whose rows may be longer; what is past the picture is zero.
pub(super) fn copy_picture(
    frame: &Frame,
    to: &mut WriteView<'_>,
    row: &mut Vec<u8>,
    deadline: Deadline,
) -> Result<(), dmaframe_core::Error> {
    let from = frame.map_read(deadline)?;
    for plane in 0..from.layout().planes().len().min(to.layout().planes().len()) {
        let (found, wanted) = (from.layout().row_bytes(plane), to.layout().row_bytes(plane));
        let rows = from.layout().rows(plane).min(to.layout().rows(plane));
        for y in 0..rows {
            if found == wanted && to.has_slices() {
                from.copy_row(plane, y, to.row_mut(plane, y)?)?;
            } else {
                row.clear();
                row.resize(found.max(wanted), 0);
                from.copy_row(plane, y, row)?;
                to.write_row(plane, y, row)?;
            }
        }
    }
    Ok(())
}

/// A buffer of as many bytes as the driver wants, in dma-bufs of this process.
pub(super) fn own_memory(device: &Device, format: &Format, layout: &Layout) -> Result<Arc<Buffer>, Error> {
    let failed = |error: dmaframe_alloc::Error| Error::NoMemory {
        device: device.path().to_owned(),
        reason: error.to_string(),
    };
    let chain = Chain::dmabuf();
    let mut fresh = ArrayVec::<Buffer, MAX_PLANES>::new();
    for (index, plane) in format.memory_planes().iter().enumerate().take(MAX_PLANES) {
        let bytes = u64::from(plane.size).max(layout.object_len(index));
        let row = carrier(device.path(), &[bytes], &[])?;
        fresh.push(
            chain
                .allocate(&chain.plan(&Request::exact(row.clone())).map_err(failed)?, 0)
                .map_err(failed)?,
        );
    }
    sys::own_buffer(fresh, layout).map_err(core(device))
}
