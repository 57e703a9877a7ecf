//! The one copy of a frame that is in other memory.

use dmaframe_core::{Deadline, Frame};

use crate::error::Error;

/// Copies pixels and metadata.
pub(super) fn into_slot(frame: &Frame, slot: &mut Frame, deadline: Deadline) -> Result<(), Error> {
    let from = frame.map_read(deadline)?;
    {
        let mut to = slot.map_write(deadline)?;
        let mut between = Vec::new();
        for plane in 0..from.layout().planes().len() {
            between.resize(from.layout().row_bytes(plane), 0);
            for row in 0..from.layout().rows(plane) {
                if from.has_slices() {
                    to.write_row(plane, row, from.row(plane, row)?)?;
                } else {
                    from.copy_row(plane, row, &mut between)?;
                    to.write_row(plane, row, &between)?;
                }
            }
        }
    }
    slot.meta_mut()?.clone_from(frame.meta());
    slot.set_content_id(frame.content_id())?;
    Ok(())
}
