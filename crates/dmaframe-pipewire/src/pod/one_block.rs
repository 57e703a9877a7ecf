//! Several planes in one block, of which only the first one's stride is told: where the others are is a convention, and
//! there are two.

use arrayvec::ArrayVec;
use dmaframe_core::format::PlaneFormat;
use dmaframe_core::{Fourcc, MAX_PLANES, Plane, Size};

use super::blocks::Chunk;

/// All planes in one block, by the first one's stride: one behind another, with strides in proportion, as V4L2 lays them
/// out. `None` for a stride that does not divide.
pub(crate) fn in_proportion(
    fourcc: Fourcc,
    size: Size,
    offset: u64,
    stride: u32,
) -> Option<ArrayVec<Plane, MAX_PLANES>> {
    let formats = fourcc.info()?.planes();
    let (mut planes, mut end) = (ArrayVec::new(), offset);
    for format in formats {
        let stride = proportional(stride, &formats[0], format)?;
        planes.push(Plane {
            object: 0,
            offset: end,
            stride,
        });
        // Nothing that saturates here passes the core's check against the memory's true size.
        end = end.saturating_add(u64::from(stride) * u64::from(format.rows(size.height)));
    }
    Some(planes)
}

/// The stride of another plane in the same block: as many bytes as the first plane's stride holds samples for.
fn proportional(stride: u32, first: &PlaneFormat, other: &PlaneFormat) -> Option<u32> {
    if first == other {
        return Some(stride);
    }
    let columns = u64::from(stride) / u64::from(first.block_bytes) * u64::from(first.block_width);
    let scaled = columns
        .div_ceil(u64::from(other.h_sub))
        .div_ceil(u64::from(other.block_width));
    u32::try_from(scaled * u64::from(other.block_bytes)).ok()
}

/// All planes in one block as GStreamer has them by default (`gst_video_info_set_format`): each with a stride of its own,
/// a multiple of 4, and an even number of rows where chroma has half of them. At odd sizes that is not in proportion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GstreamersPlanes {
    pub(crate) planes: ArrayVec<Plane, MAX_PLANES>,
    /// Bytes of all.
    pub(crate) len: u64,
}

impl GstreamersPlanes {
    /// Whether the chunk is of exactly these.
    pub(super) fn is_all_of(&self, chunk: &Chunk) -> bool {
        u64::from(chunk.size) == self.len
            && self.planes.first().map(|plane| i64::from(plane.stride)) == Some(i64::from(chunk.stride))
    }

    pub(super) fn at(mut self, start: u64) -> ArrayVec<Plane, MAX_PLANES> {
        for plane in &mut self.planes {
            plane.offset = plane.offset.saturating_add(start);
        }
        self.planes
    }
}

/// GStreamer's default layout; `None` for a format without a table entry, or a size that overflows.
pub(crate) fn gstreamers_planes(fourcc: Fourcc, size: Size) -> Option<GstreamersPlanes> {
    let formats = fourcc.info()?.planes();
    let v_sub = formats.iter().map(|format| u32::from(format.v_sub)).max()?;
    let height = size.height.checked_next_multiple_of(v_sub)?;
    let (mut planes, mut len) = (ArrayVec::new(), 0u64);
    for format in formats {
        let stride = format.row_bytes(size.width).checked_next_multiple_of(4)?;
        let stride = u32::try_from(stride).ok()?;
        planes.push(Plane {
            object: 0,
            offset: len,
            stride,
        });
        len = len.checked_add(u64::from(stride) * u64::from(format.rows(height)))?;
    }
    Some(GstreamersPlanes { planes, len })
}
