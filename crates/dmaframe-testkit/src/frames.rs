//! Frames with a known picture, in memory made without the allocators under test.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use dmaframe_core::{Deadline, Error as FrameError, Fourcc, Frame, Layout, Object, Plane, Size};

use crate::{Device, find, memfd, skip, sys, udmabuf};

/// A picture in which no two neighbouring bytes, rows or planes look alike.
#[must_use]
pub fn picture(len: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) | 0x1000;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// How a test lays a picture out: in how many objects, at what offset, with how much padding in a row.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Memory objects; no more than the format has planes.
    pub objects: usize,
    /// First byte of each.
    pub offset: u64,
    /// Bytes behind each row.
    pub padding: u32,
}

/// One object, nothing between.
pub const TIGHT: Shape = Shape {
    objects: 1,
    offset: 0,
    padding: 0,
};

/// Planes of a shape, and each object's bytes.
///
/// # Panics
/// For a format that is not in the table.
#[must_use]
pub fn planes(fourcc: Fourcc, size: Size, shape: Shape) -> (Vec<Plane>, Vec<u64>) {
    let info = fourcc.info().unwrap();
    let objects = shape.objects.min(info.planes().len());
    let mut ends = vec![shape.offset; objects];
    let planes = info.planes().iter().enumerate().map(|(index, format)| {
        let object = index.min(objects - 1);
        let stride = u32::try_from(format.row_bytes(size.width)).unwrap() + shape.padding;
        let offset = ends[object];
        ends[object] += u64::from(stride) * u64::from(format.rows(size.height));
        Plane {
            object,
            offset,
            stride,
        }
    });
    let planes: Vec<_> = planes.collect();
    (planes, ends)
}

/// Private memory in which the picture of `bytes` (tight) has been written.
///
/// # Errors
/// As the core's, of objects and layouts that do not do.
pub fn frame_in(
    objects: Vec<OwnedFd>,
    fourcc: Fourcc,
    size: Size,
    planes: &[Plane],
    bytes: &[u8],
) -> Result<Frame, FrameError> {
    let objects = objects
        .into_iter()
        .enumerate()
        .map(|(index, fd)| Object::new(fd, index).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    let mut frame = sys::private_frame(fourcc, size, objects, planes)?;
    frame.map_write(Deadline::now())?.copy_from_tight(bytes)?;
    Ok(frame)
}

/// A udmabuf frame with a picture, and the picture; without a udmabuf device a skipped test and `None`.
///
/// # Panics
/// When the kernel refuses.
#[must_use]
pub fn udmabuf_frame(fourcc: Fourcc, size: Size, shape: Shape, seed: u8) -> Option<(Frame, Vec<u8>)> {
    let device = find(Device::Udmabuf).map_err(|reason| skip(&reason)).ok()?;
    let (planes, sizes) = planes(fourcc, size, shape);
    let fds = sizes.iter().map(|len| udmabuf(&device, *len).unwrap()).collect();
    let bytes = picture(tight_len(fourcc, size), seed);
    Some((frame_in(fds, fourcc, size, &planes, &bytes).unwrap(), bytes))
}

/// A memfd frame with a picture, and the picture.
///
/// # Panics
/// When the kernel refuses.
pub fn memfd_frame(fourcc: Fourcc, size: Size, shape: Shape, seed: u8) -> (Frame, Vec<u8>) {
    let (planes, sizes) = planes(fourcc, size, shape);
    let fds = sizes
        .iter()
        .map(|len| memfd(*len, true).unwrap().into())
        .collect();
    let bytes = picture(tight_len(fourcc, size), seed);
    (frame_in(fds, fourcc, size, &planes, &bytes).unwrap(), bytes)
}

/// Bytes of a picture without padding.
///
/// # Panics
/// For a format that is not in the table.
#[must_use]
pub fn tight_len(fourcc: Fourcc, size: Size) -> usize {
    usize::try_from(Layout::tight(fourcc, size).unwrap().tight_len()).unwrap()
}

/// Fails with the first difference instead of two megabytes of numbers.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn same(found: &[u8], wanted: &[u8], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}: length");
    let wrong = found.iter().zip(wanted).filter(|(a, b)| a != b).count();
    let first = found.iter().zip(wanted).position(|(a, b)| a != b);
    assert_eq!(
        wrong,
        0,
        "{what}: {wrong} of {} bytes wrong, the first at {first:?}",
        wanted.len()
    );
}
