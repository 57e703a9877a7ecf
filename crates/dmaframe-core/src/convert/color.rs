//! From H.273 code points to the `yuv` crate's matrix and range.

use yuv::{YuvRange, YuvStandardMatrix};

use super::error::ConvertError;
use super::kind::Kind;
use crate::assume::Assume;
use crate::format::{Fourcc, Model};
use crate::layout::Size;
use crate::meta::{ColorInfo, Range};

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
        let model = fourcc.info().map_or(Model::Yuv, |info| info.model);
        let (color, assumed) = assume
            .complete(said, model, size)
            .map_err(|what| ConvertError::Unspecified { fourcc, what })?;
        let matrix = match kind.is_yuv() {
            true => matrix_of(fourcc, color.matrix)?,
            false => YuvStandardMatrix::Bt709,
        };
        Ok(Self {
            color,
            assumed,
            matrix,
            range: yuv_range(color.range),
        })
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
