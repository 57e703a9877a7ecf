//! The one copy of a frame that is in other memory.

use dmaframe_core::{Deadline, Frame};

use crate::error::Error;

/// Copies pixels and metadata.
pub(super) fn into_slot(frame: &Frame, slot: &mut Frame, deadline: Deadline) -> Result<(), Error> {
    slot.map_write(deadline)?.copy_from(&frame.map_read(deadline)?)?;
    slot.meta_mut()?.clone_from(frame.meta());
    slot.set_content_id(frame.content_id())?;
    Ok(())
}
