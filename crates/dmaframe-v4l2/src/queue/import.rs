//! Others' buffers for the driver to write into.

use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_core::Buffer;

use super::slots::{Memory, Slot, Slots};
use crate::device::Device;
use crate::error::Error;
use crate::format::Format;

impl Slots {
    /// Checks that the caller's buffer is what the driver is going to write, to the byte: there is no way to tell the
    /// driver of another stride or offset.
    pub(super) fn import(
        &self,
        device: &Device,
        format: &Format,
        index: usize,
        buffer: &Arc<Buffer>,
    ) -> Result<Slot, Error> {
        let differs = |reason: String| Error::BufferLayout {
            device: device.path().to_owned(),
            buffer: index,
            reason,
        };
        if self.codec.is_some() {
            return Err(differs(format!(
                "{} is encoded; import is for frames",
                format.pixel_format
            )));
        }
        if !buffer.is_dmabuf() {
            return Err(differs("it is no dma-buf".to_owned()));
        }
        let objects = buffer.objects();
        if objects.len() != format.memory_planes().len() {
            return Err(differs(format!(
                "{} memory objects, the driver writes {}",
                objects.len(),
                format.memory_planes().len()
            )));
        }
        let driver = format.layout(device)?;
        let (found, wanted) = (buffer.layout(), &driver);
        if (found.fourcc(), found.modifier(), found.size())
            != (wanted.fourcc(), wanted.modifier(), wanted.size())
        {
            return Err(differs(format!(
                "{} {} {}, the driver writes {} {} {}",
                found.fourcc(),
                found.size(),
                found.modifier(),
                wanted.fourcc(),
                wanted.size(),
                wanted.modifier()
            )));
        }
        if found.planes() != wanted.planes() {
            return Err(differs(format!(
                "planes {:?}, the driver writes {:?}",
                found.planes(),
                wanted.planes()
            )));
        }
        let mut lengths = ArrayVec::new();
        for (plane, (object, memory)) in objects.iter().zip(format.memory_planes()).enumerate() {
            check_size(device, index, plane, object.size(), u64::from(memory.size))?;
            lengths.push(u32::try_from(object.size()).unwrap_or(u32::MAX));
        }
        let memory = Memory::Imported(Arc::clone(buffer));
        Ok(Slot::new(memory, lengths))
    }
}

/// Refuses a memory plane that is smaller than the format's.
pub(super) fn check_size(
    device: &Device,
    buffer: usize,
    plane: usize,
    found: u64,
    needed: u64,
) -> Result<(), Error> {
    if found < needed {
        return Err(Error::BufferTooSmall {
            device: device.path().to_owned(),
            buffer,
            plane,
            found,
            needed,
        });
    }
    Ok(())
}
