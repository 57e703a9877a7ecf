//! Others' buffers for the camera to write into.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use dmaframe_core::{Buffer, DeviceClaim};

use crate::error::Error;
use crate::format::StreamFormat;
use crate::sys::{self, FrameMemory};

/// Whether the camera can be told to write the picture where the buffer has it.
pub(super) fn fits(format: &StreamFormat, buffer: &Buffer) -> Result<(), String> {
    if !buffer.is_dmabuf() {
        return Err("it is no dma-buf".to_owned());
    }
    if buffer.objects().len() != 1 {
        return Err(format!(
            "{} memory objects, the camera writes one",
            buffer.objects().len()
        ));
    }
    let wanted = format.layout().map_err(|error| error.to_string())?;
    let found = buffer.layout();
    if (found.fourcc(), found.modifier(), found.size()) != (wanted.fourcc(), wanted.modifier(), wanted.size())
    {
        return Err(format!(
            "{} {} {}, the camera writes {} {} {}",
            found.fourcc(),
            found.size(),
            found.modifier(),
            wanted.fourcc(),
            wanted.size(),
            wanted.modifier()
        ));
    }
    if found.planes() != wanted.planes() {
        return Err(format!(
            "planes {:?}, the camera writes {:?}",
            found.planes(),
            wanted.planes()
        ));
    }
    let (size, needed) = (buffer.objects()[0].size(), u64::from(format.frame_size));
    if size < needed {
        return Err(format!("{size} bytes, the camera writes {needed}"));
    }
    Ok(())
}

/// libcamera's frame buffer of one of the caller's, a plane for each of the format's. What lies behind the last plane
/// (padding that the device writes) belongs to that one.
pub(super) fn import_one(
    camera: &str,
    format: &StreamFormat,
    buffer: &Arc<Buffer>,
) -> Result<FrameMemory, Error> {
    let claim: DeviceClaim = buffer.claim_for_device().map_err(Error::core(camera))?;
    let layout = buffer.layout();
    let end = layout.object_len(0).max(u64::from(format.frame_size));
    let too_long = || Error::Core {
        camera: camera.to_owned(),
        error: dmaframe_core::Error::OutOfRange {
            what: "byte of an imported buffer",
            index: usize::try_from(end).unwrap_or(usize::MAX),
            limit: u32::MAX as usize,
        },
    };
    let mut planes: Vec<(BorrowedFd<'_>, u32, u32)> = Vec::new();
    for (index, plane) in layout.planes().iter().enumerate() {
        let fd = sys::import_fd(&claim, plane.object).map_err(Error::core(camera))?;
        let next = layout.planes().get(index + 1).map_or(end, |next| next.offset);
        let (Ok(offset), Ok(len)) = (
            u32::try_from(plane.offset),
            u32::try_from(next.saturating_sub(plane.offset)),
        ) else {
            return Err(too_long());
        };
        planes.push((fd, offset, len));
    }
    sys::import(&planes)
        .map_err(|error| Error::from_errno(camera, "FrameBuffer", crate::error::errno_of(&error)))
}
