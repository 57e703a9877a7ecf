//! How many bytes of a buffer are the picture.

use std::path::Path;

use arrayvec::ArrayVec;
use dmaframe_core::{Fourcc, Layout, MAX_PLANES, Modifier, Plane, Size};

use crate::error::Error;

/// Encoded bytes as one row, which is how [`dmaframe_core::Bitstream`] carries them.
pub(crate) fn carrier(device: &Path, sizes: &[u64], starts: &[u32]) -> Result<Layout, Error> {
    let start = starts.first().copied().unwrap_or(0);
    let room = sizes.first().copied().unwrap_or(0).saturating_sub(start.into());
    let width = u32::try_from(room).unwrap_or(u32::MAX);
    let plane = Plane {
        object: 0,
        offset: start.into(),
        stride: width,
    };
    let layout = Layout::check(Fourcc::R8, Modifier::LINEAR, Size::new(width, 1), &[plane], sizes);
    layout.map_err(|error| Error::Layout {
        device: device.to_owned(),
        error,
    })
}

/// Bytes each object holds up to the last sample of the picture.
pub(crate) fn needed(layout: &Layout) -> ArrayVec<u64, MAX_PLANES> {
    let objects = layout
        .planes()
        .iter()
        .map(|plane| plane.object + 1)
        .max()
        .unwrap_or(0);
    let mut needed: ArrayVec<u64, MAX_PLANES> = std::iter::repeat_n(0, objects.min(MAX_PLANES)).collect();
    if !layout.modifier().is_linear() {
        return needed;
    }
    for (index, plane) in layout.planes().iter().enumerate() {
        let rows = u64::from(layout.rows(index)).saturating_sub(1);
        // The layout was checked: none of this overflows.
        let end = plane.offset + u64::from(plane.stride) * rows + layout.row_bytes(index) as u64;
        if let Some(entry) = needed.get_mut(plane.object) {
            *entry = (*entry).max(end);
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No kernel driver that a test machine has captures encoded pictures (vicodec and visl are mem2mem), so this is as
    /// far as they can be tested without a webcam.
    #[test]
    fn encoded_bytes_are_one_row_behind_their_header() {
        let of = |size, start| carrier(Path::new("/dev/video-test"), &[size], &[start]);
        let layout = of(4096, 0).unwrap();
        assert_eq!(
            (layout.fourcc(), layout.row_bytes(0), layout.planes()[0].offset),
            (Fourcc::R8, 4096, 0)
        );
        let layout = of(4096, 128).unwrap();
        assert_eq!((layout.row_bytes(0), layout.planes()[0].offset), (3968, 128));
        assert!(of(4096, 4096).is_err() && of(4096, u32::MAX).is_err() && of(0, 0).is_err());
        assert_eq!(of(u64::MAX, 0).unwrap().row_bytes(0), u32::MAX as usize);
    }

    #[test]
    fn a_picture_is_whole_at_its_last_sample_not_at_its_last_padding() {
        let planes = [
            Plane {
                object: 0,
                offset: 0,
                stride: 704,
            },
            Plane {
                object: 0,
                offset: 704 * 360,
                stride: 704,
            },
        ];
        let (size, objects) = (Size::new(640, 360), [1 << 20]);
        let layout = Layout::check(Fourcc::NV12, Modifier::LINEAR, size, &planes, &objects).unwrap();
        assert_eq!(needed(&layout).as_slice(), [704 * 539 + 640]);
        let apart = [
            Plane {
                object: 0,
                offset: 0,
                stride: 640,
            },
            Plane {
                object: 1,
                offset: 64,
                stride: 640,
            },
        ];
        let layout =
            Layout::check(Fourcc::NV12, Modifier::LINEAR, size, &apart, &[1 << 20, 1 << 20]).unwrap();
        assert_eq!(needed(&layout).as_slice(), [640 * 360, 640 * 180 + 64]);
        let tiled = Modifier(0x0900_0000_0000_0001);
        let layout = Layout::check(Fourcc::NV12, tiled, size, &planes, &objects).unwrap();
        assert_eq!(
            needed(&layout).as_slice(),
            [0],
            "nobody knows where a tiled picture ends"
        );
    }
}
