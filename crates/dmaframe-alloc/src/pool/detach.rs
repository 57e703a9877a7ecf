//! Copies of frames in the pool's own memory.

use dmaframe_core::{Deadline, Frame};

use super::{FramePool, lock};
use crate::error::Error;

impl FramePool {
    /// Copies a frame into a slot, so that its own buffer can go back to its producer while the copy can still be
    /// imported by devices, as the pool's memory is. Metadata and content id go with it: it is the same picture.
    ///
    /// Waits until `deadline` for a slot and for the frame's fences. Allocates nothing.
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
        copy.map_write(deadline)?.copy_from(&frame.map_read(deadline)?)?;
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
