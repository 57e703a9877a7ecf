//! What conversion refuses.

use crate::error::Error;
use crate::format::Fourcc;
use crate::layout::Size;

/// Why a frame was not converted. The destination may have been written in part, the source is untouched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The source or the destination could not be mapped: a tiled modifier, a deadline, a shared destination.
    #[error(transparent)]
    Frame(#[from] Error),
    /// A source format nobody has written a reader for.
    #[error("no CPU conversion from {fourcc}")]
    Source {
        /// The format found.
        fourcc: Fourcc,
    },
    /// A destination format other than the three there are.
    #[error("no CPU conversion to {fourcc}: only to AB24 (RGBA bytes), NV12 and YU12")]
    Target {
        /// The format found.
        fourcc: Fourcc,
    },
    /// The frame does not say how to read its samples, and no assumption was allowed.
    #[error("the {what} of this {fourcc} frame is unspecified, and Assume::Refuse was asked for")]
    Unspecified {
        /// The source format.
        fourcc: Fourcc,
        /// The field of `ColorInfo`.
        what: &'static str,
    },
    /// Matrix coefficients that are not Kr/Kb ones, or reserved.
    #[error("matrix {matrix} (H.273 table 4) of a {fourcc} frame is not supported: 1, 4, 5, 6, 7 and 9 are")]
    Matrix {
        /// The format.
        fourcc: Fourcc,
        /// The code point found.
        matrix: u8,
    },
    /// A destination stride shorter than a row.
    #[error("destination stride {found} is below the {needed} bytes of a row")]
    Stride {
        /// Stride given.
        found: usize,
        /// Bytes a row needs.
        needed: usize,
    },
    /// A destination slice that does not hold the picture.
    #[error("destination of {found} bytes; a {size} picture at this stride needs {needed}")]
    TooSmall {
        /// Bytes given.
        found: usize,
        /// Bytes needed (the last row's padding need not be there).
        needed: usize,
        /// The picture's size, upright.
        size: Size,
    },
    /// A destination frame whose visible part is not exactly the picture, starting at its first pixel.
    #[error(
        "destination shows {found} from column {x}, row {y}; the upright picture is {needed} and starts at 0, 0"
    )]
    TargetSize {
        /// Visible size found.
        found: Size,
        /// Its left column.
        x: u32,
        /// Its top row.
        y: u32,
        /// Size needed.
        needed: Size,
    },
    /// The picture does not fit this machine's memory.
    #[error("{size} pixels of {bytes_per_pixel} bytes do not fit in memory")]
    TooLarge {
        /// The picture's (or band's) size.
        size: Size,
        /// Bytes of a pixel.
        bytes_per_pixel: usize,
    },
    /// The `yuv` crate refused planes that were checked before: a bug here.
    #[error("internal: the yuv crate refused a {fourcc} band: {detail}")]
    Backend {
        /// The source format.
        fourcc: Fourcc,
        /// What it said.
        detail: String,
    },
}
