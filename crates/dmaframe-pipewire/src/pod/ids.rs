//! SPA's video formats and DRM's fourccs. SPA names bytes in memory order, DRM bits of a little-endian word.

use dmaframe_core::Fourcc;

/// `SPA_VIDEO_FORMAT_*` (`spa/param/video/raw.h`) and the fourcc of the same bytes.
const TABLE: &[(u32, Fourcc)] = &[
    (2, Fourcc::YUV420),
    (3, Fourcc::YVU420),
    (4, Fourcc::YUYV),
    (5, Fourcc::UYVY),
    // 6 is GStreamer's AYUV (bytes A, Y, U, V), which DRM does not have: its AYUV is the reverse.
    (7, Fourcc::XBGR8888),
    (8, Fourcc::XRGB8888),
    (9, Fourcc::BGRX8888),
    (10, Fourcc::RGBX8888),
    (11, Fourcc::ABGR8888),
    (12, Fourcc::ARGB8888),
    (13, Fourcc::BGRA8888),
    (14, Fourcc::RGBA8888),
    (15, Fourcc::BGR888),
    (16, Fourcc::RGB888),
    (18, Fourcc::YUV422),
    (19, Fourcc::YVYU),
    (20, Fourcc::YUV444),
    (23, Fourcc::NV12),
    (24, Fourcc::NV21),
    (25, Fourcc::R8),
    (27, Fourcc::R16),
    (28, Fourcc::VUY888),
    (29, Fourcc::RGB565),
    (30, Fourcc::BGR565),
    (51, Fourcc::NV16),
    (52, Fourcc::NV24),
    (60, Fourcc::NV61),
    (62, Fourcc::P010),
    (64, Fourcc::VYUY),
    (78, Fourcc::ABGR16161616F),
    (80, Fourcc::XRGB2101010),
    (81, Fourcc::XBGR2101010),
    (84, Fourcc::ARGB2101010),
    (85, Fourcc::ABGR2101010),
];

/// The fourcc of an SPA video format.
#[must_use]
pub fn fourcc_of_spa(id: u32) -> Option<Fourcc> {
    TABLE
        .iter()
        .find(|(spa, _)| *spa == id)
        .map(|(_, fourcc)| *fourcc)
}

/// The SPA video format of a fourcc; PipeWire has none for many (raw Bayer, 10-bit packed).
#[must_use]
pub fn spa_of_fourcc(fourcc: Fourcc) -> Option<u32> {
    TABLE.iter().find(|(_, drm)| *drm == fourcc).map(|(spa, _)| *spa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_format_stands_twice_and_each_has_a_geometry() {
        for (i, (spa, fourcc)) in TABLE.iter().enumerate() {
            assert!(fourcc.info().is_some(), "{fourcc}");
            assert!(
                TABLE[i + 1..].iter().all(|(s, f)| s != spa && f != fourcc),
                "{fourcc}"
            );
            assert_eq!(spa_of_fourcc(fourcc_of_spa(*spa).unwrap()), Some(*spa));
        }
    }
}
