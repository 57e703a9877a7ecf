//! Others' buffers for the driver to write into.

use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_core::Buffer;

use super::slots::{Memory, Slot, Slots};
use crate::device::Device;
use crate::error::Error;
use crate::format::Format;
use crate::sys::abi;

impl Slots {
    /// Checks that the caller's buffer is what the driver is going to write: there is no way to tell it of another
    /// stride or offset.
    pub(super) fn import(
        &self,
        device: &Device,
        format: &Format,
        index: usize,
        buffer: &Arc<Buffer>,
    ) -> Result<Slot, Error> {
        if self.codec.is_some() {
            return Err(Error::ImportEncoded {
                device: device.path().to_owned(),
                format: format.pixel_format,
            });
        }
        let sizes: ArrayVec<u64, { abi::VIDEO_MAX_PLANES }> = format
            .memory_planes()
            .iter()
            .map(|plane| u64::from(plane.size))
            .collect();
        buffer
            .check_for_device(&format.layout(device)?, &sizes)
            .map_err(|error| Error::BufferLayout {
                device: device.path().to_owned(),
                buffer: index,
                error,
            })?;
        let objects = buffer.objects().iter();
        let lengths = objects.map(|object| u32::try_from(object.size()).unwrap_or(u32::MAX));
        let memory = Memory::Imported(Arc::clone(buffer));
        Ok(Slot::new(memory, lengths.collect()))
    }
}
