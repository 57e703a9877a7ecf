//! The driver's four colour fields as the code points of ITU-T H.273.
//!
//! Source: `Documentation/userspace-api/media/v4l/colorspaces-defs.rst`, `colorspaces-details.rst`, and the
//! `V4L2_MAP_*_DEFAULT` macros of `include/uapi/linux/videodev2.h`, which say what a 0 in a field stands for.

use dmaframe_core::format::Model;
use dmaframe_core::{ChromaSiting, ColorInfo, Range};

use crate::pixelformat::PixelFormat;

/// `colorspace`, `xfer_func`, `ycbcr_enc` and `quantization` as the driver set them (`V4L2_COLORSPACE_*` and so on).
/// 0 in any of them is "the default of the colour space".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RawColor {
    /// `enum v4l2_colorspace`.
    pub colorspace: u32,
    /// `enum v4l2_xfer_func`.
    pub transfer: u32,
    /// `enum v4l2_ycbcr_encoding` (or `v4l2_hsv_encoding`).
    pub encoding: u32,
    /// `enum v4l2_quantization`.
    pub quantization: u32,
}

const CS_SMPTE170M: u32 = 1;
const CS_SMPTE240M: u32 = 2;
const CS_REC709: u32 = 3;
const CS_470_SYSTEM_M: u32 = 5;
const CS_470_SYSTEM_BG: u32 = 6;
const CS_JPEG: u32 = 7;
const CS_SRGB: u32 = 8;
const CS_OPRGB: u32 = 9;
const CS_BT2020: u32 = 10;
const CS_RAW: u32 = 11;
const CS_DCI_P3: u32 = 12;

const XFER_709: u32 = 1;
const XFER_SRGB: u32 = 2;
const XFER_OPRGB: u32 = 3;
const XFER_SMPTE240M: u32 = 4;
const XFER_NONE: u32 = 5;
const XFER_DCI_P3: u32 = 6;
const XFER_SMPTE2084: u32 = 7;

const ENC_601: u32 = 1;
const ENC_709: u32 = 2;
const ENC_XV601: u32 = 3;
const ENC_XV709: u32 = 4;
const ENC_SYCC: u32 = 5;
const ENC_BT2020: u32 = 6;
const ENC_BT2020_CONST_LUM: u32 = 7;
const ENC_SMPTE240M: u32 = 8;

const FULL_RANGE: u32 = 1;
const LIM_RANGE: u32 = 2;

/// "Unspecified" in each of H.273's tables.
const UNSPECIFIED: u8 = 2;

impl From<ColorInfo> for RawColor {
    /// The driver's fields for a description: what an encoder is told of its pictures. What V4L2 has no value for is 0.
    fn from(color: ColorInfo) -> Self {
        Self {
            colorspace: match (color.primaries, color.transfer) {
                (1, 13) => CS_SRGB,
                (1, _) => CS_REC709,
                (4, _) => CS_470_SYSTEM_M,
                (5, _) => CS_470_SYSTEM_BG,
                (6, _) => CS_SMPTE170M,
                (7, _) => CS_SMPTE240M,
                (9, _) => CS_BT2020,
                (11, _) => CS_DCI_P3,
                _ => 0,
            },
            // 6, 14 and 15 are 1's curve, for other systems and depths.
            transfer: match color.transfer {
                1 | 6 | 14 | 15 => XFER_709,
                4 => XFER_OPRGB,
                7 => XFER_SMPTE240M,
                8 => XFER_NONE,
                13 => XFER_SRGB,
                16 => XFER_SMPTE2084,
                17 => XFER_DCI_P3,
                _ => 0,
            },
            encoding: match color.matrix {
                1 => ENC_709,
                5 | 6 => ENC_601,
                7 => ENC_SMPTE240M,
                9 => ENC_BT2020,
                10 => ENC_BT2020_CONST_LUM,
                _ => 0,
            },
            quantization: match color.range {
                Range::Full => FULL_RANGE,
                Range::Limited => LIM_RANGE,
                Range::Unspecified => 0,
            },
        }
    }
}

impl RawColor {
    /// The H.273 description of pixels of `format`.
    ///
    /// Two V4L2 values have no H.273 code: opRGB's primaries come back as unspecified and its transfer (a pure power
    /// of 2.2) as 4, which is the same curve. Colour space 0 resolves to sRGB, as the kernel's macro does for whatever
    /// is neither SDTV nor HDTV. Values this crate does not know are unspecified.
    #[must_use]
    pub fn resolve(self, format: PixelFormat) -> ColorInfo {
        let model = format
            .frame()
            .and_then(|frame| frame.fourcc.info())
            .map(|info| info.model);
        let rgb = matches!(model, Some(Model::Rgb | Model::Bayer));
        // An encoded picture's own headers say more than the driver can; its samples are YUV all the same.
        let space = if self.colorspace == 0 {
            CS_SRGB
        } else {
            self.colorspace
        };
        let transfer = if self.transfer == 0 {
            default_transfer(space)
        } else {
            self.transfer
        };
        let encoding = if self.encoding == 0 {
            default_encoding(space)
        } else {
            self.encoding
        };
        let range = match self.quantization {
            FULL_RANGE => Range::Full,
            LIM_RANGE => Range::Limited,
            0 if rgb || space == CS_JPEG => Range::Full,
            0 => Range::Limited,
            _ => Range::Unspecified,
        };
        let (matrix, extended) = if rgb { (0, false) } else { matrix(encoding) };
        ColorInfo {
            primaries: primaries(space),
            // xvYCC is BT.601 or 709 with its own transfer (negative light allowed), which is how H.273 tells it.
            transfer: if extended { 11 } else { transfer_code(transfer) },
            matrix,
            range,
            siting: siting(model, space),
        }
    }
}

fn primaries(space: u32) -> u8 {
    match space {
        CS_SMPTE170M => 6,
        CS_SMPTE240M => 7,
        CS_REC709 | CS_JPEG | CS_SRGB => 1,
        CS_470_SYSTEM_M => 4,
        CS_470_SYSTEM_BG => 5,
        CS_BT2020 => 9,
        CS_DCI_P3 => 11,
        _ => UNSPECIFIED,
    }
}

/// `V4L2_MAP_XFER_FUNC_DEFAULT`.
fn default_transfer(space: u32) -> u32 {
    match space {
        CS_OPRGB => XFER_OPRGB,
        CS_SMPTE240M => XFER_SMPTE240M,
        CS_DCI_P3 => XFER_DCI_P3,
        CS_RAW => XFER_NONE,
        CS_SRGB | CS_JPEG => XFER_SRGB,
        _ => XFER_709,
    }
}

fn transfer_code(transfer: u32) -> u8 {
    match transfer {
        XFER_709 => 1,
        XFER_SRGB => 13,
        XFER_OPRGB => 4,
        XFER_SMPTE240M => 7,
        XFER_NONE => 8,
        XFER_DCI_P3 => 17,
        XFER_SMPTE2084 => 16,
        _ => UNSPECIFIED,
    }
}

/// `V4L2_MAP_YCBCR_ENC_DEFAULT`.
fn default_encoding(space: u32) -> u32 {
    match space {
        CS_REC709 | CS_DCI_P3 => ENC_709,
        CS_BT2020 => ENC_BT2020,
        CS_SMPTE240M => ENC_SMPTE240M,
        _ => ENC_601,
    }
}

/// The matrix, and whether it is one of the extended gamut (xvYCC) pair.
fn matrix(encoding: u32) -> (u8, bool) {
    match encoding {
        ENC_601 | ENC_SYCC => (6, false),
        ENC_709 => (1, false),
        ENC_XV601 => (6, true),
        ENC_XV709 => (1, true),
        ENC_BT2020 => (9, false),
        ENC_BT2020_CONST_LUM => (10, false),
        ENC_SMPTE240M => (7, false),
        _ => (UNSPECIFIED, false),
    }
}

/// V4L2 has no field for it. The kernel's documentation of the YUV formats puts chroma centred for JPEG's colour
/// space and says nothing reliable otherwise.
fn siting(model: Option<Model>, space: u32) -> ChromaSiting {
    match (model, space) {
        (Some(Model::Yuv), CS_JPEG) => ChromaSiting::Center,
        _ => ChromaSiting::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(format: PixelFormat, colorspace: u32, transfer: u32, encoding: u32, quantization: u32) -> [u8; 4] {
        let color = RawColor {
            colorspace,
            transfer,
            encoding,
            quantization,
        }
        .resolve(format);
        [color.primaries, color.transfer, color.matrix, color.range as u8]
    }

    const LIMITED: u8 = Range::Limited as u8;
    const FULL: u8 = Range::Full as u8;

    /// Each colour space with every other field 0, against the comments in videodev2.h.
    #[test]
    fn zero_fields_resolve_by_the_kernels_macros() {
        let yuv = PixelFormat::YUYV;
        assert_eq!(of(yuv, CS_SMPTE170M, 0, 0, 0), [6, 1, 6, LIMITED]);
        assert_eq!(of(yuv, CS_REC709, 0, 0, 0), [1, 1, 1, LIMITED]);
        assert_eq!(of(yuv, CS_SRGB, 0, 0, 0), [1, 13, 6, LIMITED]);
        assert_eq!(of(yuv, CS_JPEG, 0, 0, 0), [1, 13, 6, FULL]);
        assert_eq!(of(yuv, CS_BT2020, 0, 0, 0), [9, 1, 9, LIMITED]);
        assert_eq!(of(yuv, CS_SMPTE240M, 0, 0, 0), [7, 7, 7, LIMITED]);
        assert_eq!(of(yuv, CS_470_SYSTEM_M, 0, 0, 0), [4, 1, 6, LIMITED]);
        assert_eq!(of(yuv, CS_470_SYSTEM_BG, 0, 0, 0), [5, 1, 6, LIMITED]);
        assert_eq!(of(yuv, CS_OPRGB, 0, 0, 0), [2, 4, 6, LIMITED]);
        assert_eq!(of(yuv, CS_DCI_P3, 0, 0, 0), [11, 17, 1, LIMITED]);
        assert_eq!(of(yuv, 0, 0, 0, 0), of(yuv, CS_SRGB, 0, 0, 0));
    }

    #[test]
    fn rgb_and_bayer_are_full_range_without_a_matrix() {
        assert_eq!(of(PixelFormat::RGB24, CS_SRGB, 0, 0, 0), [1, 13, 0, FULL]);
        assert_eq!(
            of(PixelFormat::RGB24, CS_SRGB, 0, 0, LIM_RANGE),
            [1, 13, 0, LIMITED]
        );
        assert_eq!(of(PixelFormat::new(b"RGGB"), CS_RAW, 0, 0, 0), [2, 8, 0, FULL]);
    }

    #[test]
    fn what_the_driver_says_beats_the_default() {
        assert_eq!(
            of(PixelFormat::NV12, CS_SRGB, XFER_709, ENC_709, FULL_RANGE),
            [1, 1, 1, FULL]
        );
        assert_eq!(
            of(
                PixelFormat::NV12,
                CS_BT2020,
                XFER_SMPTE2084,
                ENC_BT2020_CONST_LUM,
                0
            ),
            [9, 16, 10, LIMITED]
        );
        assert_eq!(
            of(PixelFormat::NV12, CS_REC709, 0, ENC_XV709, 0),
            [1, 11, 1, LIMITED]
        );
    }

    /// What an encoder is told, and its decoder reports, is what the picture had.
    #[test]
    fn descriptions_survive_the_way_through_a_drivers_fields() {
        let pq = ColorInfo {
            primaries: 9,
            transfer: 16,
            matrix: 9,
            ..ColorInfo::BT709
        };
        let bt601 = ColorInfo {
            transfer: 1,
            ..ColorInfo::BT601
        };
        for color in [ColorInfo::BT709, ColorInfo::JFIF, bt601, pq] {
            let back = RawColor::from(color).resolve(PixelFormat::NV12);
            let siting = back.siting;
            assert_eq!(back, ColorInfo { siting, ..color });
        }
        assert_eq!(
            RawColor::from(ColorInfo::BT601),
            RawColor::from(bt601),
            "one curve, two codes"
        );
        assert_eq!(RawColor::from(ColorInfo::UNSPECIFIED), RawColor::default());
    }

    #[test]
    fn values_nobody_knows_are_unspecified() {
        assert_eq!(
            of(PixelFormat::NV12, 99, 99, 99, 99),
            [2, 2, 2, Range::Unspecified as u8]
        );
    }
}
