//! libcamera's colour space as the code points of ITU-T H.273.
//!
//! Source: `src/libcamera/color_space.cpp`.

use dmaframe_core::format::Model;
use dmaframe_core::{ChromaSiting, ColorInfo, Fourcc, Range};
use libcamera::color_space::{ColorSpace, Primaries, Range as TheirRange, TransferFunction, YcbcrEncoding};

/// "Unspecified" in each of H.273's tables.
const UNSPECIFIED: u8 = 2;

/// The description of `format`'s pixels; everything unspecified when libcamera says nothing.
pub(crate) fn resolve(space: Option<ColorSpace>, format: Option<Fourcc>) -> ColorInfo {
    let Some(space) = space else {
        return ColorInfo::UNSPECIFIED;
    };
    let info = format.and_then(Fourcc::info);
    let model = info.map(|info| info.model);
    let matrix = match space.ycbcr_encoding {
        YcbcrEncoding::Rec601 => 6,
        YcbcrEncoding::Rec709 => 1,
        YcbcrEncoding::Rec2020 => 9,
        YcbcrEncoding::None if matches!(model, Some(Model::Rgb | Model::Bayer)) => 0,
        YcbcrEncoding::None => UNSPECIFIED,
    };
    ColorInfo {
        primaries: match space.primaries {
            Primaries::Raw => UNSPECIFIED,
            Primaries::Smpte170m => 6,
            Primaries::Rec709 => 1,
            Primaries::Rec2020 => 9,
        },
        transfer: match space.transfer_function {
            TransferFunction::Linear => 8,
            TransferFunction::Srgb => 13,
            TransferFunction::Rec709 => 1,
        },
        matrix,
        range: match space.range {
            TheirRange::Full => Range::Full,
            TheirRange::Limited => Range::Limited,
        },
        siting: siting(&space, model == Some(Model::Yuv)),
    }
}

/// libcamera does not say; by custom sYCC (JPEG's) is centred and BT.2020 lies top left.
fn siting(space: &ColorSpace, yuv: bool) -> ChromaSiting {
    match (space.ycbcr_encoding, space.transfer_function, space.range) {
        _ if !yuv => ChromaSiting::Unspecified,
        (YcbcrEncoding::Rec601, TransferFunction::Srgb, TheirRange::Full) => ChromaSiting::Center,
        (YcbcrEncoding::Rec2020, ..) => ChromaSiting::TopLeft,
        _ => ChromaSiting::Left,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libcameras_named_spaces_are_ours() {
        let of = |space, fourcc| resolve(Some(space), Some(fourcc));
        assert_eq!(of(ColorSpace::sycc(), Fourcc::NV12), ColorInfo::JFIF);
        assert_eq!(of(ColorSpace::rec709(), Fourcc::NV12), ColorInfo::BT709);
        assert_eq!(of(ColorSpace::srgb(), Fourcc::BGR888), ColorInfo::SRGB);
        let sd = of(ColorSpace::smpte170m(), Fourcc::YUYV);
        assert_eq!(
            (sd.primaries, sd.transfer, sd.matrix, sd.range),
            (6, 1, 6, Range::Limited)
        );
        let wide = of(ColorSpace::rec2020(), Fourcc::P010);
        assert_eq!(
            (wide.primaries, wide.matrix, wide.siting),
            (9, 9, ChromaSiting::TopLeft)
        );
        let raw = of(ColorSpace::raw(), Fourcc::SRGGB10);
        assert_eq!(
            (raw.primaries, raw.transfer, raw.matrix, raw.range),
            (2, 8, 0, Range::Full)
        );
        assert_eq!(resolve(None, Some(Fourcc::NV12)), ColorInfo::UNSPECIFIED);
    }
}
