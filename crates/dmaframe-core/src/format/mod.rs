//! Pixel formats and layout modifiers as the kernel names them.
//!
//! A [`Fourcc`] is an open newtype: a code nobody here has heard of survives a round trip. What the crate knows
//! about a format's geometry stands in one table ([`FormatInfo::of`]) and is used everywhere, so nobody writes
//! `width / 2` again. Source: `include/uapi/drm/drm_fourcc.h`; for raw Bayer `include/uapi/linux/videodev2.h`.

mod modifier;
mod table;

pub use modifier::Modifier;
pub use table::{FormatInfo, Model, PlaneFormat, all as all_formats};

use std::fmt;

/// A pixel format code (`DRM_FORMAT_*`), little endian.
///
/// The order in the name is from the most to the least significant bit of a little-endian word, as everywhere in
/// DRM: [`Fourcc::ARGB8888`] is the bytes B, G, R, A in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Fourcc(pub u32);

impl Fourcc {
    /// The code written as its four characters, for example `Fourcc::new(b"NV12")`.
    #[must_use]
    pub const fn new(code: &[u8; 4]) -> Self {
        Self(u32::from_le_bytes(*code))
    }

    /// What the table knows about this format: `None` for a code it does not have.
    #[must_use]
    pub fn info(self) -> Option<&'static FormatInfo> {
        FormatInfo::of(self)
    }

    /// The same format without its alpha channel's meaning (`ARGB8888` -> `XRGB8888`), or itself.
    #[must_use]
    pub fn opaque(self) -> Self {
        match self {
            Self::ARGB8888 => Self::XRGB8888,
            Self::ABGR8888 => Self::XBGR8888,
            Self::RGBA8888 => Self::RGBX8888,
            Self::BGRA8888 => Self::BGRX8888,
            Self::ARGB2101010 => Self::XRGB2101010,
            Self::ABGR2101010 => Self::XBGR2101010,
            Self::ABGR16161616 => Self::XBGR16161616,
            Self::ABGR16161616F => Self::XBGR16161616F,
            other => other,
        }
    }
}

impl fmt::Display for Fourcc {
    /// Four characters; anything unprintable as hex, so that a log line stays a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.to_le_bytes();
        if bytes.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
            let text: String = bytes.iter().map(|b| char::from(*b)).collect();
            f.write_str(text.trim_end())
        } else {
            write!(f, "{:#010x}", self.0)
        }
    }
}

impl fmt::Debug for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fourcc({self})")
    }
}

impl From<drm_fourcc::DrmFourcc> for Fourcc {
    fn from(code: drm_fourcc::DrmFourcc) -> Self {
        Self(code as u32)
    }
}

impl TryFrom<Fourcc> for drm_fourcc::DrmFourcc {
    type Error = drm_fourcc::UnrecognizedFourcc;

    /// `drm-fourcc` is a closed enum of 2021: newer codes (P030, NV20, AVUY8888 ...) come back as its error.
    fn try_from(code: Fourcc) -> Result<Self, Self::Error> {
        Self::try_from(code.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_code_survives_and_prints_on_one_line() {
        let code = Fourcc(0x0102_0304);
        assert_eq!(code.info(), None);
        assert_eq!(code.to_string(), "0x01020304");
        assert_eq!(Fourcc::new(b"R8  ").to_string(), "R8");
    }

    #[test]
    fn codes_and_their_names_agree_with_drm_fourcc() {
        use drm_fourcc::DrmFourcc as Theirs;
        let pairs = [
            (Theirs::Nv12, Fourcc::NV12),
            (Theirs::Yuyv, Fourcc::YUYV),
            (Theirs::Uyvy, Fourcc::UYVY),
            (Theirs::Yuv420, Fourcc::YUV420),
            (Theirs::Yvu422, Fourcc::YVU422),
            (Theirs::P010, Fourcc::P010),
            (Theirs::Nv15, Fourcc::NV15),
            (Theirs::Xrgb8888, Fourcc::XRGB8888),
            (Theirs::Abgr8888, Fourcc::ABGR8888),
            (Theirs::Bgra8888, Fourcc::BGRA8888),
            (Theirs::Rgb888, Fourcc::RGB888),
            (Theirs::Bgr888, Fourcc::BGR888),
            (Theirs::Rgb565, Fourcc::RGB565),
            (Theirs::Xbgr2101010, Fourcc::XBGR2101010),
            (Theirs::Abgr16161616f, Fourcc::ABGR16161616F),
            (Theirs::R8, Fourcc::R8),
            (Theirs::Gr88, Fourcc::GR88),
            (Theirs::R16, Fourcc::R16),
        ];
        for (theirs, ours) in pairs {
            assert_eq!(Fourcc::from(theirs), ours);
            assert_eq!(Theirs::try_from(ours).unwrap(), theirs);
        }
    }
}
