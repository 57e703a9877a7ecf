//! Others' buffers for the camera to write into.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use dmaframe_core::{Buffer, DeviceClaim};

use crate::error::Error;
use crate::format::StreamFormat;
use crate::sys::{self, FrameMemory};

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
