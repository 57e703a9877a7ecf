//! Copies of frames in the pool's own memory.

use dmaframe_core::{Deadline, Frame};

use super::{FramePool, lock};
use crate::error::Error;

impl FramePool {
    /// Copies a frame into a slot, so that its own buffer can go back to its producer while the copy can still be
    /// imported by devices, as the pool's memory is. Metadata and content id go with it: it is the same picture.
    ///
    /// Waits until `deadline` for a slot and for the frame's fences. Allocates nothing, unless both memories have been
    /// lent to others, when a row at a time goes over a buffer.
    ///
    /// # Errors
    /// [`Error::Picture`] for another format or size than the pool's, [`Error::Starved`], [`Error::Core`] as
    /// [`Frame::map_read`] and [`Frame::map_write`] say. `frame` is untouched.
    pub fn detach_into(&self, frame: &Frame, deadline: impl Into<Deadline>) -> Result<Frame, Error> {
        let deadline = deadline.into();
        fits(frame, lock(&self.slots).layout())?;
        let mut copy = self.acquire(deadline)?;
        // Another thread may have renegotiated since.
        fits(frame, copy.layout())?;
        let from = frame.map_read(deadline)?;
        let mut to = copy.map_write(deadline)?;
        let mut between = Vec::new();
        for plane in 0..from.layout().planes().len() {
            for row in 0..from.layout().rows(plane) {
                if to.has_slices() {
                    from.copy_row(plane, row, to.row_mut(plane, row)?)?;
                } else if from.has_slices() {
                    to.write_row(plane, row, from.row(plane, row)?)?;
                } else {
                    between.resize(from.layout().row_bytes(plane), 0);
                    from.copy_row(plane, row, &mut between)?;
                    to.write_row(plane, row, &between)?;
                }
            }
        }
        drop((from, to));
        copy.meta_mut()?.clone_from(frame.meta());
        copy.set_content_id(frame.content_id())?;
        lock(&self.slots).stats.copied += 1;
        Ok(copy)
    }
}

fn fits(frame: &Frame, pool: &dmaframe_core::Layout) -> Result<(), Error> {
    let found = frame.layout();
    if (found.fourcc(), found.size()) == (pool.fourcc(), pool.size()) {
        return Ok(());
    }
    Err(Error::Picture {
        found: found.fourcc(),
        found_size: found.size(),
        pool: pool.fourcc(),
        pool_size: pool.size(),
    })
}
