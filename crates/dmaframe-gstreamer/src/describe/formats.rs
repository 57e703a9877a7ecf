//! GStreamer's names of pixel formats, and where GStreamer puts planes when nobody says otherwise.

use arrayvec::ArrayVec;
use dmaframe_core::{Fourcc, MAX_PLANES, Size};

use super::DescribeError;

/// One format that both sides have.
#[derive(Debug)]
pub(crate) struct Known {
    /// `GstVideoFormat`'s name, as in caps.
    pub(crate) name: &'static str,
    pub(crate) fourcc: Fourcc,
    fill: Fill,
}

/// How `gst_video_info_set_format` lays planes out (`video-info.c`, `fill_planes`).
#[derive(Clone, Copy, Debug)]
enum Fill {
    /// One plane, so many bytes a pixel, rows in multiples of 4 bytes.
    Packed(u64),
    /// One plane, 8 bytes for two pixels.
    Pairs,
    /// Y, then two planes at half width and height.
    Planar420,
    /// Y, then two planes at half width.
    Planar422,
    /// Three planes at full size.
    Planar444,
    /// Y of so many bytes a sample, then interleaved chroma at half width; half height too if the flag says so.
    Semi { bytes: u64, half_height: bool },
    /// Y, then interleaved chroma at full size.
    Semi444,
    /// [`Fill::Semi`] with 10-bit samples, four in five bytes.
    Semi10 { half_height: bool },
}

const fn known(name: &'static str, fourcc: Fourcc, fill: Fill) -> Known {
    Known { name, fourcc, fill }
}

const fn semi(bytes: u64, half_height: bool) -> Fill {
    Fill::Semi { bytes, half_height }
}

/// `GstVideoFormat` names bytes in memory order, DRM names bits of a little-endian word: `BGRA` is `ARGB8888`.
static TABLE: &[Known] = &[
    known("NV12", Fourcc::NV12, semi(1, true)),
    known("YUY2", Fourcc::YUYV, Fill::Packed(2)),
    known("BGRx", Fourcc::XRGB8888, Fill::Packed(4)),
    known("BGRA", Fourcc::ARGB8888, Fill::Packed(4)),
    known("RGBA", Fourcc::ABGR8888, Fill::Packed(4)),
    known("RGBx", Fourcc::XBGR8888, Fill::Packed(4)),
    known("I420", Fourcc::YUV420, Fill::Planar420),
    known("NV21", Fourcc::NV21, semi(1, true)),
    known("NV16", Fourcc::NV16, semi(1, false)),
    known("NV61", Fourcc::NV61, semi(1, false)),
    known("NV24", Fourcc::NV24, Fill::Semi444),
    known("P010_10LE", Fourcc::P010, semi(2, true)),
    known("P012_LE", Fourcc::P012, semi(2, true)),
    known("P016_LE", Fourcc::P016, semi(2, true)),
    known("NV12_10LE40", Fourcc::NV15, Fill::Semi10 { half_height: true }),
    known("NV16_10LE40", Fourcc::NV20, Fill::Semi10 { half_height: false }),
    known("YV12", Fourcc::YVU420, Fill::Planar420),
    known("Y42B", Fourcc::YUV422, Fill::Planar422),
    known("Y444", Fourcc::YUV444, Fill::Planar444),
    known("YVYU", Fourcc::YVYU, Fill::Packed(2)),
    known("UYVY", Fourcc::UYVY, Fill::Packed(2)),
    known("VYUY", Fourcc::VYUY, Fill::Packed(2)),
    known("Y210", Fourcc::Y210, Fill::Pairs),
    known("VUYA", Fourcc::AYUV, Fill::Packed(4)),
    known("GRAY8", Fourcc::R8, Fill::Packed(1)),
    known("GRAY16_LE", Fourcc::R16, Fill::Packed(2)),
    known("RGB16", Fourcc::RGB565, Fill::Packed(2)),
    known("BGR16", Fourcc::BGR565, Fill::Packed(2)),
    known("BGR", Fourcc::RGB888, Fill::Packed(3)),
    known("RGB", Fourcc::BGR888, Fill::Packed(3)),
    known("xBGR", Fourcc::RGBX8888, Fill::Packed(4)),
    known("xRGB", Fourcc::BGRX8888, Fill::Packed(4)),
    known("ABGR", Fourcc::RGBA8888, Fill::Packed(4)),
    known("ARGB", Fourcc::BGRA8888, Fill::Packed(4)),
    known("BGR10A2_LE", Fourcc::ARGB2101010, Fill::Packed(4)),
    known("RGB10A2_LE", Fourcc::ABGR2101010, Fill::Packed(4)),
    known("RGBA64_LE", Fourcc::ABGR16161616, Fill::Packed(8)),
];

/// Every format both sides have, GStreamer's name and DRM's code.
pub fn formats() -> impl Iterator<Item = (&'static str, Fourcc)> {
    TABLE.iter().map(|known| (known.name, known.fourcc))
}

pub(crate) fn by_name(name: &str) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.name == name)
}

pub(crate) fn by_fourcc(fourcc: Fourcc) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.fourcc == fourcc)
}

/// Planes as GStreamer lays them out when there is no `GstVideoMeta`: all in one piece of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultPlanes {
    /// First byte of each plane.
    pub offsets: ArrayVec<u64, MAX_PLANES>,
    /// Bytes from one row to the next.
    pub strides: ArrayVec<i32, MAX_PLANES>,
    /// Bytes of the whole.
    pub size: u64,
}

/// GStreamer's own layout of a format and size.
///
/// # Errors
/// [`DescribeError::UnknownFormat`], and [`DescribeError::TooLarge`] for strides that do not fit GStreamer's `gint`.
pub fn default_planes(fourcc: Fourcc, size: Size) -> Result<DefaultPlanes, DescribeError> {
    let known = by_fourcc(fourcc).ok_or_else(|| DescribeError::UnknownFormat {
        name: fourcc.to_string(),
    })?;
    let (width, height) = (u64::from(size.width), u64::from(size.height));
    let (even_height, half_height) = (height.next_multiple_of(2), height.div_ceil(2));
    let align = |bytes: u64| bytes.next_multiple_of(4);
    // Stride and rows of each plane.
    let planes: ArrayVec<(u64, u64), MAX_PLANES> = match known.fill {
        Fill::Packed(bytes) => [(align(width * bytes), height)].into_iter().collect(),
        Fill::Pairs => [((width * 4).next_multiple_of(8), height)].into_iter().collect(),
        Fill::Planar420 => {
            let chroma = (align(width.div_ceil(2)), half_height);
            [(align(width), even_height), chroma, chroma]
                .into_iter()
                .collect()
        }
        Fill::Planar422 => {
            let chroma = (width.next_multiple_of(8) / 2, height);
            [(align(width), height), chroma, chroma].into_iter().collect()
        }
        Fill::Planar444 => [(align(width), height); 3].into_iter().collect(),
        Fill::Semi {
            bytes,
            half_height: half,
        } => {
            let (luma, chroma) = if half {
                (even_height, half_height)
            } else {
                (height, height)
            };
            let stride = align(width * bytes);
            [(stride, luma), (stride, chroma)].into_iter().collect()
        }
        Fill::Semi444 => [(align(width), height), (align(width * 2), height)]
            .into_iter()
            .collect(),
        Fill::Semi10 { half_height: half } => {
            let (luma, chroma) = if half {
                (even_height, half_height)
            } else {
                (height, height)
            };
            let stride = ((width * 5) >> 2).next_multiple_of(5);
            [(stride, luma), (stride, chroma)].into_iter().collect()
        }
    };
    let mut all = DefaultPlanes {
        offsets: ArrayVec::new(),
        strides: ArrayVec::new(),
        size: 0,
    };
    for (stride, rows) in planes {
        all.offsets.push(all.size);
        all.strides
            .push(i32::try_from(stride).map_err(|_| DescribeError::TooLarge { size })?);
        // Width and height are below 2^32 and a pixel has 8 bytes at most: no overflow in u64 but in the last product.
        let len = stride.checked_mul(rows).ok_or(DescribeError::TooLarge { size })?;
        all.size = all
            .size
            .checked_add(len)
            .ok_or(DescribeError::TooLarge { size })?;
    }
    Ok(all)
}
