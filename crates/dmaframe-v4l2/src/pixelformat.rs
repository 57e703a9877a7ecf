//! V4L2 pixel formats, and which DRM format and modifier each one is.
//!
//! V4L2 names most packed RGB formats by the order of bytes in memory, DRM by the order of bits in a little-endian
//! word, so the same letters can mean opposite things: V4L2's `AYUV` is DRM's nothing, V4L2's `VUYA` is DRM's
//! `AYUV`, and `RGB3` is `BGR888`. Some codes are even spelled alike and mean different formats (V4L2's `RG16` is
//! raw Bayer, DRM's is RGB565), which is why a [`PixelFormat`] is another type than a [`Fourcc`] and never becomes
//! one except through the table here.
//!
//! Source: `Documentation/userspace-api/media/v4l/pixfmt-rgb.rst`, `pixfmt-packed-yuv.rst`, `pixfmt-yuv-planar.rst`,
//! and the comments of `include/uapi/drm/drm_fourcc.h`.

use std::fmt;

use dmaframe_core::{Codec, Fourcc, Modifier};

use crate::error::Error;

/// A V4L2 pixel format code (`V4L2_PIX_FMT_*`), open: one nobody here has heard of survives unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PixelFormat(pub u32);

/// Which frame a pixel format is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameFormat {
    /// The DRM code of the samples.
    pub fourcc: Fourcc,
    /// How they lie in memory.
    pub modifier: Modifier,
    /// Memory planes (dma-bufs) a buffer of it has: 1 for the contiguous formats, however many colour planes they
    /// have; 2 or 3 for the `M` variants of the multi-planar API.
    pub memory_planes: u8,
}

impl std::str::FromStr for PixelFormat {
    type Err = Error;

    /// Its four characters, as `v4l2-ctl` lists them, with `-BE` behind them for the big-endian ones; spaces at the end may
    /// be left out.
    ///
    /// # Errors
    /// [`Error::NoPixelFormat`].
    fn from_str(text: &str) -> Result<Self, Error> {
        let (code, big_endian) = match text.strip_suffix("-BE") {
            Some(code) => (code, 1 << 31),
            None => (text, 0),
        };
        match <[u8; 4]>::try_from(format!("{code:4}").as_bytes()) {
            Ok(four) if !code.is_empty() && code.is_ascii() => Ok(Self(Self::new(&four).0 | big_endian)),
            _ => Err(Error::NoPixelFormat {
                text: text.to_owned(),
            }),
        }
    }
}

impl PixelFormat {
    /// The code written as its four characters, for example `PixelFormat::new(b"NM12")`.
    #[must_use]
    pub const fn new(code: &[u8; 4]) -> Self {
        Self(u32::from_le_bytes(*code))
    }

    /// The frame this is: `None` for encoded formats and for those DRM has no code for.
    #[must_use]
    pub fn frame(self) -> Option<FrameFormat> {
        TABLE.iter().find(|row| row.0 == self).map(|row| row.1)
    }

    /// The pixel format for DRM format `fourcc` and `modifier` in `memory_planes` dma-bufs, if V4L2 has one.
    ///
    /// Where V4L2 has an old name and a new one for the same bytes (`BGR4` and `XR24`), the new one comes back.
    #[must_use]
    pub fn of(fourcc: Fourcc, modifier: Modifier, memory_planes: u8) -> Option<Self> {
        let wanted = FrameFormat {
            fourcc,
            modifier,
            memory_planes,
        };
        TABLE.iter().find(|row| row.1 == wanted).map(|row| row.0)
    }

    /// Every V4L2 spelling of linear `fourcc`: the contiguous one first, then the `M` variant, then old names.
    pub fn spellings(fourcc: Fourcc) -> impl Iterator<Item = Self> {
        TABLE
            .iter()
            .filter(move |row| row.1.fourcc == fourcc && row.1.modifier.is_linear())
            .map(|row| row.0)
    }

    /// The codec of an encoded format (MJPG, H264 ...), which has the same code; `None` for every other. A driver can
    /// have encoded formats this list does not know: [`OfferedFormat::compressed`](crate::OfferedFormat::compressed).
    #[must_use]
    pub fn codec(self) -> Option<Codec> {
        CODECS.contains(&self).then_some(Codec(self.0))
    }
}

impl fmt::Display for PixelFormat {
    /// Four characters (the big-endian bit as `-BE`, as in the kernel's `%p4cc`); anything unprintable as hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = (self.0 & 0x7fff_ffff).to_le_bytes();
        if bytes.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
            let text: String = bytes.iter().map(|b| char::from(*b)).collect();
            write!(
                f,
                "{}{}",
                text.trim_end(),
                if self.0 >> 31 == 1 { "-BE" } else { "" }
            )
        } else {
            write!(f, "{:#010x}", self.0)
        }
    }
}

impl fmt::Debug for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PixelFormat({self})")
    }
}

macro_rules! constants {
    ($($name:ident $code:literal $doc:literal;)*) => {
        impl PixelFormat { $(#[doc = $doc] pub const $name: Self = Self::new($code);)* }
    };
}

// The ones callers name; the table below is written in codes, which is how the kernel's header reads.
constants! {
    YUYV b"YUYV" "Packed 4:2:2: what most webcams send uncompressed.";
    UYVY b"UYVY" "Packed 4:2:2, chroma first.";
    NV12 b"NV12" "4:2:0 in two colour planes of one memory plane.";
    NV12M b"NM12" "4:2:0 in two colour planes, each in a memory plane of its own (multi-planar API).";
    YUV420 b"YU12" "4:2:0 in three colour planes of one memory plane (I420).";
    YUV420M b"YM12" "4:2:0 in three memory planes (multi-planar API).";
    GREY b"GREY" "8-bit luma.";
    RGB24 b"RGB3" "Bytes R, G, B.";
    BGR24 b"BGR3" "Bytes B, G, R.";
    MJPEG b"MJPG" "Motion JPEG: what most webcams send at high resolutions.";
    JPEG b"JPEG" "JFIF still pictures.";
    H264 b"H264" "H.264 with start codes.";
    HEVC b"HEVC" "H.265 with start codes.";
}

const fn row(v4l2: &[u8; 4], drm: &[u8; 4], memory_planes: u8) -> (PixelFormat, FrameFormat) {
    tiled(v4l2, drm, memory_planes, Modifier::LINEAR)
}

const fn tiled(
    v4l2: &[u8; 4],
    drm: &[u8; 4],
    memory_planes: u8,
    modifier: Modifier,
) -> (PixelFormat, FrameFormat) {
    (
        PixelFormat::new(v4l2),
        FrameFormat {
            fourcc: Fourcc::new(drm),
            modifier,
            memory_planes,
        },
    )
}

/// The kernel's `fourcc_mod_code(vendor, value)`.
const fn vendor(vendor: u8, value: u64) -> Modifier {
    Modifier((vendor as u64) << 56 | value)
}

/// First row wins in both directions, so today's names stand before the deprecated ones for the same bytes.
static TABLE: &[(PixelFormat, FrameFormat)] = &[
    // Two colour planes, one memory plane or two.
    row(b"NV12", b"NV12", 1),
    row(b"NM12", b"NV12", 2),
    row(b"NV21", b"NV21", 1),
    row(b"NM21", b"NV21", 2),
    row(b"NV16", b"NV16", 1),
    row(b"NM16", b"NV16", 2),
    row(b"NV61", b"NV61", 1),
    row(b"NM61", b"NV61", 2),
    row(b"NV24", b"NV24", 1),
    row(b"NV42", b"NV42", 1),
    row(b"NV15", b"NV15", 1),
    row(b"NV20", b"NV20", 1),
    row(b"P010", b"P010", 1),
    row(b"P012", b"P012", 1),
    row(b"PM12", b"P012", 2),
    // Three colour planes.
    row(b"YU12", b"YU12", 1),
    row(b"YM12", b"YU12", 3),
    row(b"YV12", b"YV12", 1),
    row(b"YM21", b"YV12", 3),
    row(b"422P", b"YU16", 1),
    row(b"YM16", b"YU16", 3),
    row(b"YM61", b"YV16", 3),
    row(b"YM24", b"YU24", 3),
    row(b"YM42", b"YV24", 3),
    row(b"411P", b"YU11", 1),
    row(b"YUV9", b"YUV9", 1),
    row(b"YVU9", b"YVU9", 1),
    // Packed YUV: 4:2:2 is spelled alike, 4:4:4 is in byte order here and in word order there. V4L2's AYUV, XYUV and
    // YUV4 (bytes A, Y, U, V) have no DRM code.
    row(b"YUYV", b"YUYV", 1),
    row(b"YVYU", b"YVYU", 1),
    row(b"UYVY", b"UYVY", 1),
    row(b"VYUY", b"VYUY", 1),
    row(b"Y210", b"Y210", 1),
    row(b"Y212", b"Y212", 1),
    row(b"Y216", b"Y216", 1),
    row(b"VUYA", b"AYUV", 1),
    row(b"VUYX", b"XYUV", 1),
    row(b"YUVA", b"AVUY", 1),
    row(b"YUVX", b"XVUY", 1),
    row(b"YUV3", b"VU24", 1),
    // 8 bits a channel. The four-byte names were borrowed from DRM and agree with it; the three-byte ones and the
    // old BGR4 and RGB4 are in byte order.
    row(b"XR24", b"XR24", 1),
    row(b"AR24", b"AR24", 1),
    row(b"XB24", b"XB24", 1),
    row(b"AB24", b"AB24", 1),
    row(b"RX24", b"RX24", 1),
    row(b"RA24", b"RA24", 1),
    row(b"BX24", b"BX24", 1),
    row(b"BA24", b"BA24", 1),
    row(b"BGR3", b"RG24", 1),
    row(b"RGB3", b"BG24", 1),
    row(b"BGR4", b"XR24", 1),
    row(b"RGB4", b"BX24", 1),
    // 10 and 16 bits a channel.
    row(b"RX30", b"RX30", 1),
    row(b"RA30", b"RA30", 1),
    row(b"AR30", b"AR30", 1),
    row(b"BGR6", b"RG48", 1),
    row(b"RGB6", b"BG48", 1),
    // 16 bits a pixel. V4L2's BGRA444 (GA12) is DRM's BA12, which the frame table keeps for raw Bayer: left out.
    row(b"RGBP", b"RG16", 1),
    row(b"XR15", b"XR15", 1),
    row(b"AR15", b"AR15", 1),
    row(b"RX15", b"RX15", 1),
    row(b"RA15", b"RA15", 1),
    row(b"XB15", b"XB15", 1),
    row(b"AB15", b"AB15", 1),
    row(b"BX15", b"BX15", 1),
    row(b"BA15", b"BA15", 1),
    row(b"RGBO", b"XR15", 1),
    row(b"XR12", b"XR12", 1),
    row(b"AR12", b"AR12", 1),
    row(b"RX12", b"RX12", 1),
    row(b"RA12", b"RA12", 1),
    row(b"XB12", b"XB12", 1),
    row(b"AB12", b"AB12", 1),
    row(b"BX12", b"BX12", 1),
    row(b"R444", b"XR12", 1),
    row(b"RGB1", b"RGB8", 1),
    // Luma: DRM's R formats, as every importer knows them.
    row(b"GREY", b"R8  ", 1),
    row(b"Y10 ", b"R10 ", 1),
    row(b"Y12 ", b"R12 ", 1),
    row(b"Y16 ", b"R16 ", 1),
    // Raw Bayer: V4L2's codes, except for 16 bits, where they are taken by DRM's RGB565 and its kin.
    row(b"RGGB", b"RGGB", 1),
    row(b"GRBG", b"GRBG", 1),
    row(b"GBRG", b"GBRG", 1),
    row(b"BA81", b"BA81", 1),
    row(b"RG10", b"RG10", 1),
    row(b"BA10", b"BA10", 1),
    row(b"GB10", b"GB10", 1),
    row(b"BG10", b"BG10", 1),
    row(b"RG12", b"RG12", 1),
    row(b"BA12", b"BA12", 1),
    row(b"GB12", b"GB12", 1),
    row(b"BG12", b"BG12", 1),
    row(b"RG14", b"RG14", 1),
    row(b"GR14", b"GR14", 1),
    row(b"GB14", b"GB14", 1),
    row(b"BG14", b"BG14", 1),
    row(b"RG16", b"RGB6", 1),
    row(b"GR16", b"GRB6", 1),
    row(b"GB16", b"GBR6", 1),
    row(b"BYR2", b"BYR6", 1),
    row(b"pRAA", b"pRAA", 1),
    row(b"pgAA", b"pgAA", 1),
    row(b"pGAA", b"pGAA", 1),
    row(b"pBAA", b"pBAA", 1),
    row(b"pRCC", b"pRCC", 1),
    row(b"pgCC", b"pgCC", 1),
    row(b"pGCC", b"pGCC", 1),
    row(b"pBCC", b"pBCC", 1),
    row(b"pREE", b"pREE", 1),
    row(b"pgEE", b"pgEE", 1),
    row(b"pGEE", b"pGEE", 1),
    row(b"pBEE", b"pBEE", 1),
    // Tiled, where the V4L2 code says in four letters what DRM says with a modifier.
    tiled(b"TM12", b"NV12", 2, vendor(0x04, 1)),
    tiled(b"VM12", b"NV12", 2, vendor(0x04, 2)),
    tiled(b"ST12", b"NV12", 1, vendor(0x09, 1)),
    tiled(b"Q08C", b"NV12", 1, vendor(0x05, 1)),
];

/// Formats whose buffers hold one encoded access unit each.
static CODECS: &[PixelFormat] = &[
    PixelFormat::MJPEG,
    PixelFormat::JPEG,
    PixelFormat::new(b"PJPG"),
    PixelFormat::H264,
    PixelFormat::new(b"AVC1"),
    PixelFormat::HEVC,
    PixelFormat::new(b"VP80"),
    PixelFormat::new(b"VP90"),
    PixelFormat::new(b"AV01"),
    PixelFormat::new(b"H263"),
    PixelFormat::new(b"MPG1"),
    PixelFormat::new(b"MPG2"),
    PixelFormat::new(b"MPG4"),
    PixelFormat::new(b"XVID"),
    PixelFormat::new(b"MPEG"),
    PixelFormat::new(b"FWHT"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn drm(v4l2: &[u8; 4]) -> Option<Fourcc> {
        PixelFormat::new(v4l2).frame().map(|frame| frame.fourcc)
    }

    /// Names that mean opposite things on the two sides: bytes in memory decide.
    #[test]
    fn byte_order_and_word_order_names_are_not_confused() {
        // Bytes R, G, B and B, G, R.
        assert_eq!(drm(b"RGB3"), Some(Fourcc::BGR888));
        assert_eq!(drm(b"BGR3"), Some(Fourcc::RGB888));
        // Bytes B, G, R, x, old name and new.
        assert_eq!(drm(b"BGR4"), Some(Fourcc::XRGB8888));
        assert_eq!(drm(b"XR24"), Some(Fourcc::XRGB8888));
        // Bytes x, R, G, B.
        assert_eq!(drm(b"RGB4"), Some(Fourcc::BGRX8888));
        // V4L2_PIX_FMT_RGBA32: bytes R, G, B, A.
        assert_eq!(drm(b"AB24"), Some(Fourcc::ABGR8888));
        // Bytes V, U, Y, A are DRM's AYUV; V4L2's AYUV are the bytes A, Y, U, V, for which DRM has nothing.
        assert_eq!(drm(b"VUYA"), Some(Fourcc::AYUV));
        assert_eq!(drm(b"AYUV"), None);
        assert_eq!(drm(b"XYUV"), None);
        // Bytes Y, U, V.
        assert_eq!(drm(b"YUV3"), Some(Fourcc::VUY888));
    }

    /// Codes spelled alike on both sides for different formats.
    #[test]
    fn colliding_codes_never_pass_through() {
        assert_eq!(drm(b"RG16"), Some(Fourcc::SRGGB16));
        assert_eq!(drm(b"RGBP"), Some(Fourcc::RGB565));
        assert_eq!(drm(b"BYR2"), Some(Fourcc::SBGGR16));
        assert_eq!(drm(b"BA12"), Some(Fourcc::SGRBG12));
        // V4L2's BGR666 is spelled as DRM's half-float BGR161616F.
        assert_eq!(drm(b"BGRH"), None);
    }

    #[test]
    fn non_contiguous_variants_say_how_many_memory_planes_they_have() {
        for (code, fourcc, planes) in [
            (b"NM12", Fourcc::NV12, 2),
            (b"NM21", Fourcc::NV21, 2),
            (b"NM16", Fourcc::NV16, 2),
            (b"NM61", Fourcc::NV61, 2),
            (b"YM12", Fourcc::YUV420, 3),
            (b"YM21", Fourcc::YVU420, 3),
            (b"YM16", Fourcc::YUV422, 3),
            (b"YM61", Fourcc::YVU422, 3),
            (b"YM24", Fourcc::YUV444, 3),
            (b"YM42", Fourcc::YVU444, 3),
        ] {
            let frame = PixelFormat::new(code).frame().unwrap();
            assert_eq!((frame.fourcc, frame.memory_planes), (fourcc, planes));
            assert_eq!(
                PixelFormat::of(fourcc, Modifier::LINEAR, planes),
                Some(PixelFormat::new(code))
            );
        }
    }

    #[test]
    fn memory_planes_are_the_colour_planes_or_one() {
        for (code, frame) in TABLE {
            let Some(info) = frame.fourcc.info() else { continue };
            let planes = usize::from(frame.memory_planes);
            assert!(planes == 1 || planes == info.planes().len(), "{code}");
        }
    }

    #[test]
    fn every_frame_format_comes_back_to_a_pixel_format_of_the_same_bytes() {
        for (code, frame) in TABLE {
            let back = PixelFormat::of(frame.fourcc, frame.modifier, frame.memory_planes).unwrap();
            assert_eq!(back.frame(), Some(*frame), "{code}");
            // Only the deprecated names come back as another.
            let old = [b"BGR4", b"RGB4", b"RGBO", b"R444"].map(PixelFormat::new);
            assert!(back == *code || old.contains(code), "{code} came back as {back}");
            assert_eq!(code.codec(), None);
        }
        for (i, a) in TABLE.iter().enumerate() {
            assert!(TABLE[i + 1..].iter().all(|b| b.0 != a.0), "{} stands twice", a.0);
        }
    }

    #[test]
    fn every_bayer_format_of_the_core_has_a_pixel_format() {
        use dmaframe_core::format::{Model, all_formats};
        let bayer = all_formats().iter().filter(|info| info.model == Model::Bayer);
        for info in bayer {
            assert!(
                PixelFormat::of(info.fourcc, Modifier::LINEAR, 1).is_some(),
                "{}",
                info.name
            );
        }
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        for (code, _) in TABLE {
            assert_eq!(code.to_string().parse(), Ok(*code));
        }
        assert_eq!("NV12".parse(), Ok(PixelFormat::new(b"NV12")));
        assert_eq!("Y16".parse(), Ok(PixelFormat::new(b"Y16 ")));
        for bad in ["", "-BE", "NV", "NV12M", "\u{e4}\u{e4}"] {
            let read = bad.parse::<PixelFormat>();
            // Two characters, and two spaces: as good as any.
            assert_eq!(read.is_err(), bad != "NV", "{bad:?} {read:?}");
        }
    }

    #[test]
    fn unknown_codes_survive_and_print_on_one_line() {
        let code = PixelFormat(0x0102_0304);
        assert_eq!(
            (code.frame(), code.codec(), code.to_string().as_str()),
            (None, None, "0x01020304")
        );
        assert_eq!(
            PixelFormat(PixelFormat::new(b"Y16 ").0 | 1 << 31).to_string(),
            "Y16-BE"
        );
        assert_eq!(PixelFormat(PixelFormat::new(b"Y16 ").0 | 1 << 31).frame(), None);
    }

    #[test]
    fn encoded_formats_are_no_frames() {
        for code in CODECS {
            assert_eq!(
                (code.codec(), code.frame()),
                (Some(Codec(code.0)), None),
                "{code}"
            );
        }
        assert_eq!(PixelFormat::MJPEG.codec(), Some(Codec::MJPEG));
        assert_eq!(PixelFormat::HEVC.codec(), Some(Codec::HEVC));
    }
}
