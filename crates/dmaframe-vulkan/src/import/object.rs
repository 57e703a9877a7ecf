//! A frame's memory object as the memory of a buffer or an image.

use std::sync::Arc;

use dmaframe_core::{Access, Buffer as FrameBuffer};

use crate::error::Refusal;
use crate::sys::context::Context;
use crate::sys::memory::{self, Dedicated, Memory, Needs};

/// The first `size` bytes of dma-buf `index`, for `resource`, whose needs these are. `only_dedicated`: the driver takes
/// nothing but memory of the resource's own.
pub(super) fn import(
    context: &Arc<Context>,
    frame: &FrameBuffer,
    index: usize,
    (needs, size): (Needs, u64),
    (resource, only_dedicated): (Dedicated, bool),
    access: Access,
) -> Result<Memory, Refusal> {
    let object = &frame.objects()[index];
    // Before the import, since a driver that finds out itself may close descriptors that are not its own.
    if size > object.size() {
        return Err(Refusal::TooSmall {
            object: index,
            needed: size,
            found: object.size(),
        });
    }
    let dedicated = match only_dedicated || needs.dedicated {
        true => resource,
        false => Dedicated::No,
    };
    let fd = memory::descriptor(context, object, index, access)?;
    Memory::import_dmabuf(context, fd, size, needs, dedicated, index)
}
