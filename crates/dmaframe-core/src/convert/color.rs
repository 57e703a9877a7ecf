//! From H.273 code points to the `yuv` crate's matrix and range.

use yuv::{YuvRange, YuvStandardMatrix};

use super::error::ConvertError;
use super::kind::Kind;
use crate::format::Fourcc;
use crate::layout::Size;
use crate::meta::{ChromaSiting, ColorInfo, Range};

/// What to do about colour that a frame does not state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assume {
    /// Refuse the frame with [`ConvertError::Unspecified`].
    Refuse,
    /// Video custom: BT.709 from 1280 columns or 577 rows on and BT.601 below, both limited; one-channel formats full
    /// range.
    Auto,
    /// This description, for the fields the frame leaves open. Fields it leaves open too are refused.
    As(ColorInfo),
}

/// How a source's samples are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Complete where it matters for reading.
    pub(super) color: ColorInfo,
    /// Whether a part of it was assumed.
    pub(super) assumed: bool,
    pub(super) matrix: YuvStandardMatrix,
    pub(super) range: YuvRange,
}

impl Reading {
    pub(super) fn full(&self) -> bool {
        self.range == YuvRange::Full
    }

    pub(super) fn of(
        fourcc: Fourcc,
        kind: Kind,
        size: Size,
        said: ColorInfo,
        assume: Assume,
    ) -> Result<Self, ConvertError> {
        let custom = match assume {
            Assume::Refuse => ColorInfo::UNSPECIFIED,
            Assume::Auto => by_size(size),
            Assume::As(color) => color,
        };
        if matches!(kind, Kind::Rgb | Kind::Bayer { .. }) {
            // RGB has no matrix, and its range is full unless the producer says otherwise: nothing to assume.
            let range = if said.range == Range::Limited {
                Range::Limited
            } else {
                Range::Full
            };
            let color = ColorInfo {
                matrix: 0,
                range,
                ..said
            };
            return Ok(Self {
                color,
                assumed: false,
                matrix: YuvStandardMatrix::Bt709,
                range: yuv_range(range),
            });
        }
        let mut color = said;
        if color.range == Range::Unspecified {
            let gray_custom = !kind.is_yuv() && assume == Assume::Auto;
            color.range = if gray_custom { Range::Full } else { custom.range };
        }
        if color.range == Range::Unspecified {
            return Err(ConvertError::Unspecified {
                fourcc,
                what: "range",
            });
        }
        let matrix = if kind.is_yuv() {
            fill(&mut color.matrix, custom.matrix);
            if color.matrix == 2 {
                return Err(ConvertError::Unspecified {
                    fourcc,
                    what: "matrix",
                });
            }
            matrix_of(fourcc, color.matrix)?
        } else {
            YuvStandardMatrix::Bt709
        };
        let assumed = color != said;
        // What does not change a pixel goes along without counting as an assumption.
        if let Assume::Auto | Assume::As(_) = assume {
            fill(&mut color.primaries, custom.primaries);
            fill(&mut color.transfer, custom.transfer);
            if color.siting == ChromaSiting::Unspecified {
                color.siting = custom.siting;
            }
        }
        Ok(Self {
            color,
            assumed,
            matrix,
            range: yuv_range(color.range),
        })
    }
}

/// The custom of video: HD is BT.709, smaller is BT.601.
pub(super) fn by_size(size: Size) -> ColorInfo {
    if size.width >= 1280 || size.height > 576 {
        ColorInfo::BT709
    } else {
        ColorInfo::BT601
    }
}

/// The crate's name for a code point of H.273 table 4, for those with Kr and Kb.
pub(super) fn matrix_of(fourcc: Fourcc, matrix: u8) -> Result<YuvStandardMatrix, ConvertError> {
    Ok(match matrix {
        1 => YuvStandardMatrix::Bt709,
        4 => YuvStandardMatrix::Fcc,
        5 | 6 => YuvStandardMatrix::Bt601,
        // Kr and Kb, because the crate's own tables for `Smpte240` are off (0.8.20).
        7 => YuvStandardMatrix::Custom(0.212, 0.087),
        9 => YuvStandardMatrix::Bt2020,
        _ => return Err(ConvertError::Matrix { fourcc, matrix }),
    })
}

pub(super) fn yuv_range(range: Range) -> YuvRange {
    if range == Range::Full {
        YuvRange::Full
    } else {
        YuvRange::Limited
    }
}

fn fill(field: &mut u8, custom: u8) {
    if *field == 2 {
        *field = custom;
    }
}
