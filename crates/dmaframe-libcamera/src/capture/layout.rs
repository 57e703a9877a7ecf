//! From libcamera's planes to objects and a layout.

use std::sync::Arc;

use dmaframe_core::{Fourcc, Layout, LayoutError, Modifier, Object, Plane, Size};

use crate::error::{Error, errno_of};
use crate::format::{StreamFormat, contiguous, plane_stride};
use crate::sys::{FrameMemory, PlaneOf};

/// Objects (each dma-buf once, however many descriptors it came by) and where the picture lies in them.
pub(crate) fn of(
    camera: &str,
    stream: usize,
    format: &StreamFormat,
    memory: &FrameMemory,
) -> Result<(Vec<Arc<Object>>, Layout), Error> {
    let planes = memory
        .planes()
        .map_err(|error| Error::from_errno(camera, "FrameBuffer::planes", errno_of(&error)))?;
    let mut objects: Vec<Arc<Object>> = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    for (index, PlaneOf { memory, offset, len }) in planes.into_iter().enumerate() {
        let object = match memory {
            Ok(earlier) => places.get(earlier).map_or(0, |place| place.object),
            Err(fd) => {
                let object = Object::new(fd, index).map_err(Error::core(camera))?;
                let same = |o: &Arc<Object>| o.identity() == object.identity();
                objects.iter().position(same).unwrap_or_else(|| {
                    objects.push(Arc::new(object));
                    objects.len() - 1
                })
            }
        };
        places.push(Place { object, offset, len });
    }
    let sizes: Vec<u64> = objects.iter().map(|object| object.size()).collect();
    let layout = arrange(format, &places, &sizes).map_err(|error| Error::Layout {
        camera: camera.to_owned(),
        stream,
        error,
    })?;
    // Objects that only empty planes were on.
    objects.truncate(
        layout
            .planes()
            .iter()
            .map(|plane| plane.object + 1)
            .max()
            .unwrap_or(0),
    );
    Ok((objects, layout))
}

/// One of libcamera's planes.
#[derive(Clone, Copy, Debug)]
struct Place {
    object: usize,
    offset: Option<u64>,
    len: u64,
}

/// Pipelines differ: as many planes as the format has; more, the last of them empty (the virtual pipeline's NV12 has
/// three); or one with all of the format's one behind another.
fn arrange(format: &StreamFormat, places: &[Place], sizes: &[u64]) -> Result<Layout, LayoutError> {
    let used = places
        .iter()
        .rposition(|place| place.len > 0)
        .map_or(0, |last| last + 1);
    let places = &places[..used];
    let Some((fourcc, modifier)) = format.format.frame() else {
        return encoded(places, sizes);
    };
    let info = fourcc.info().ok_or(LayoutError::UnknownFormat { fourcc })?;
    let mut planes = Vec::new();
    match places {
        [only] if info.planes().len() > 1 => {
            planes = contiguous(fourcc, format.size, format.stride, only.offset.unwrap_or(0))?;
            planes.iter_mut().for_each(|plane| plane.object = only.object);
        }
        _ => {
            for (index, place) in places.iter().enumerate() {
                planes.push(Plane {
                    object: place.object,
                    offset: place.offset.unwrap_or(0),
                    stride: plane_stride(info.planes(), index, format.stride)?,
                });
            }
        }
    }
    let objects = planes.iter().map(|plane| plane.object + 1).max().unwrap_or(0);
    Layout::check(
        fourcc,
        modifier,
        format.size,
        &planes,
        sizes.get(..objects).unwrap_or(sizes),
    )
}

/// Encoded bytes as one row, which is how [`dmaframe_core::Bitstream`] carries them.
fn encoded(places: &[Place], sizes: &[u64]) -> Result<Layout, LayoutError> {
    let (start, room) = places.first().map_or((0, 0), |place| {
        let start = place.offset.unwrap_or(0);
        let size = sizes.get(place.object).copied().unwrap_or(0);
        (start, size.saturating_sub(start).min(place.len))
    });
    let width = u32::try_from(room).unwrap_or(u32::MAX);
    let plane = Plane {
        object: 0,
        offset: start,
        stride: width,
    };
    let sizes = sizes.get(..1).unwrap_or(sizes);
    Layout::check(Fourcc::R8, Modifier::LINEAR, Size::new(width, 1), &[plane], sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Role;
    use dmaframe_core::{Codec, ColorInfo};

    fn format(of: impl Into<crate::PixelFormat>, stride: u32) -> StreamFormat {
        StreamFormat {
            role: Role::ViewFinder,
            format: of.into(),
            size: Size::new(640, 360),
            stride,
            frame_size: 345_600,
            buffers: 4,
            color: ColorInfo::UNSPECIFIED,
        }
    }

    fn place(object: usize, offset: u64, len: u64) -> Place {
        Place {
            object,
            offset: Some(offset),
            len,
        }
    }

    #[test]
    fn an_empty_third_plane_is_none_and_one_plane_can_hold_two() {
        let nv12 = format(Fourcc::NV12, 640);
        let three = [
            place(0, 0, 230_400),
            place(0, 230_400, 115_200),
            place(0, 345_600, 0),
        ];
        let two = arrange(&nv12, &three, &[348_160]).unwrap();
        assert_eq!(two.planes().len(), 2);
        assert_eq!(two.planes()[1].offset, 230_400);
        let one = arrange(&nv12, &[place(0, 0, 345_600)], &[348_160]).unwrap();
        assert_eq!(one, two);
        let disjoint = arrange(
            &nv12,
            &[place(0, 0, 230_400), place(1, 0, 115_200)],
            &[230_400, 115_200],
        );
        assert_eq!(disjoint.unwrap().planes()[1].object, 1);
    }

    #[test]
    fn planes_that_reach_out_of_their_memory_are_refused() {
        let nv12 = format(Fourcc::NV12, 640);
        let planes = [place(0, 0, 230_400), place(0, 230_400, 115_200)];
        assert!(matches!(
            arrange(&nv12, &planes, &[345_599]),
            Err(LayoutError::PastEnd { plane: 1, .. })
        ));
        assert!(matches!(
            arrange(&format(Fourcc::NV12, 600), &planes, &[400_000]),
            Err(LayoutError::StrideTooSmall { .. })
        ));
        assert!(arrange(&nv12, &[], &[]).is_err(), "no planes at all");
        assert!(
            arrange(&nv12, &[place(0, 0, 0)], &[4096]).is_err(),
            "only empty ones"
        );
    }

    #[test]
    fn encoded_bytes_are_one_row() {
        let mjpeg = arrange(&format(Codec::MJPEG, 0), &[place(0, 0, 100_000)], &[102_400]).unwrap();
        assert_eq!(
            (mjpeg.fourcc(), mjpeg.size()),
            (Fourcc::R8, Size::new(100_000, 1))
        );
    }
}
