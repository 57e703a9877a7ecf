//! Colour that a frame does not state.

use crate::format::Model;
use crate::layout::Size;
use crate::meta::{ChromaSiting, ColorInfo, Range};

/// What to do about colour that a frame does not state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Assume {
    /// Refuse the frame.
    #[default]
    Refuse,
    /// Video custom: BT.709 from 1280 columns or 577 rows on and BT.601 below, both limited; one-channel formats full
    /// range.
    Auto,
    /// This description, for the fields the frame leaves open. Fields it leaves open too are refused.
    As(ColorInfo),
}

impl Assume {
    /// What Y'CbCr and gray samples are read by, where their frame says `said`, and whether a field that pixels depend
    /// on (range, and for Y'CbCr the matrix) was assumed. Other models leave nothing open that pixels depend on: theirs
    /// comes back as it is.
    ///
    /// # Errors
    /// The name of the field that stays open: `"range"` or `"matrix"`.
    pub fn complete(
        self,
        said: ColorInfo,
        model: Model,
        size: Size,
    ) -> Result<(ColorInfo, bool), &'static str> {
        if matches!(model, Model::Rgb | Model::Bayer) {
            return Ok((said, false));
        }
        let custom = match self {
            Self::Refuse => ColorInfo::UNSPECIFIED,
            Self::Auto => ColorInfo {
                range: if model == Model::Gray {
                    Range::Full
                } else {
                    Range::Limited
                },
                ..by_size(size)
            },
            Self::As(color) => color,
        };
        let mut color = said;
        if color.range == Range::Unspecified {
            color.range = custom.range;
        }
        if color.range == Range::Unspecified {
            return Err("range");
        }
        if model == Model::Yuv {
            fill(&mut color.matrix, custom.matrix);
            if color.matrix == 2 {
                return Err("matrix");
            }
        }
        let assumed = color != said;
        // What does not change how samples are read goes along without counting as an assumption.
        fill(&mut color.primaries, custom.primaries);
        fill(&mut color.transfer, custom.transfer);
        if color.siting == ChromaSiting::Unspecified {
            color.siting = custom.siting;
        }
        Ok((color, assumed))
    }
}

/// The custom of video: HD is BT.709, smaller is BT.601.
pub(crate) fn by_size(size: Size) -> ColorInfo {
    if size.width >= 1280 || size.height > 576 {
        ColorInfo::BT709
    } else {
        ColorInfo::BT601
    }
}

fn fill(field: &mut u8, custom: u8) {
    if *field == 2 {
        *field = custom;
    }
}
