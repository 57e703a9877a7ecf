//! What conversion refuses.

use dmaframe_core::{Fourcc, Rect, Size};

/// Why a frame was not converted. Nothing was recorded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A source format that is not in the core's table.
    #[error("no conversion from {fourcc}")]
    Format {
        /// The format found.
        fourcc: Fourcc,
    },
    /// The frame does not say how to read its samples, and no assumption was allowed.
    #[error("the {what} of this {fourcc} frame is unspecified, and nothing was to be assumed")]
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
    /// A transfer that cannot be turned into the light that was asked for.
    #[error("transfer {transfer} (H.273 table 3) cannot become {wanted}")]
    Transfer {
        /// The code point found.
        transfer: u8,
        /// What was asked for.
        wanted: &'static str,
    },
    /// PQ or HLG for a target that would be shown as if it were neither.
    #[error(
        "the frame's transfer is {transfer} (H.273 table 3: 16 is PQ, 18 is HLG), which was to be refused"
    )]
    HighRange {
        /// The code point found.
        transfer: u8,
    },
    /// A crop outside of the picture.
    #[error("crop of {}x{} at {}, {} in a picture of {size}", .rect.width, .rect.height, .rect.x, .rect.y)]
    Crop {
        /// The crop.
        rect: Rect,
        /// The coded size.
        size: Size,
    },
    /// An area that is empty, not finite, or beyond what targets can be.
    #[error("an area of {width}x{height} at {x}, {y} is no place in a target")]
    Area {
        /// Left edge.
        x: f32,
        /// Top edge.
        y: f32,
        /// Width.
        width: f32,
        /// Height.
        height: f32,
    },
    /// The frame was imported on another device than the converter's.
    #[error("the import belongs to another wgpu device than the converter")]
    OtherDevice,
    /// Fewer planes than the format has.
    #[error("{found} planes; {fourcc} has {needed}")]
    Planes {
        /// The format.
        fourcc: Fourcc,
        /// Planes found.
        found: usize,
        /// Planes needed.
        needed: usize,
    },
    /// A plane that reaches beyond its buffer.
    #[error("plane {plane} ends at byte {needed} of a buffer of {found}")]
    Range {
        /// The plane.
        plane: usize,
        /// Where its last sample ends, rounded up to 4.
        needed: u64,
        /// The buffer's size.
        found: u64,
    },
    /// A plane larger than the device binds at once.
    #[error(
        "plane {plane} spans {needed} bytes, and the device's max_storage_buffer_binding_size is {limit}"
    )]
    Binding {
        /// The plane.
        plane: usize,
        /// Bytes from its first sample to its last.
        needed: u64,
        /// The device's limit.
        limit: u64,
    },
    /// A texture whose texels are not the plane's samples.
    #[error("plane {plane} of a {fourcc} frame in a texture of {found}: texels of {needed} bytes are needed")]
    Texture {
        /// The plane.
        plane: usize,
        /// The source format.
        fourcc: Fourcc,
        /// The texture's format.
        found: String,
        /// Bytes of a texel; 0 if no texel holds whole samples of this format.
        needed: u32,
    },
    /// A texture smaller than the plane.
    #[error("plane {plane} needs {needed} texels; its texture has {found}")]
    TextureSize {
        /// The plane.
        plane: usize,
        /// Texels needed.
        needed: Size,
        /// Texels found.
        found: Size,
    },
    /// A target that shaders cannot render to, or not with colours.
    #[error("cannot render to a target of {format} with {samples} samples on this device")]
    Target {
        /// Its format.
        format: String,
        /// Samples a pixel.
        samples: u32,
    },
}
