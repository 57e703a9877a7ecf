//! Conversion, as far as it is the same for every version of wgpu.

mod color;
mod error;
mod geometry;
mod kind;
mod params;
mod shader;

pub use dmaframe_core::Assume;
pub use error::ConvertError;
pub use geometry::Area;

pub(crate) use color::Reading;
pub(crate) use geometry::{pair_rows, place, site, upright};
pub(crate) use kind::Kind;
pub(crate) use params::{LEN, Params};
pub(crate) use shader::{Input, Stage, Texel, Variant};

use dmaframe_core::{ColorInfo, Orientation, Rect, Size};

/// How source pixels become target pixels at another scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The nearest source pixel.
    Nearest,
    /// Bilinear when enlarging; when shrinking, a tent twice as wide as the target's pixels, so that what is finer
    /// than they can show becomes its mean. In encoded values, as compositors and samplers do it.
    #[default]
    Smooth,
}

/// How sub-sampled chroma becomes each pixel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChromaFilter {
    /// Each chroma sample serves the pixels it stands for, whatever its siting: what the core's CPU conversion does.
    #[default]
    Nearest,
    /// Bilinear between chroma samples, whose places are the frame's siting; unspecified is left (type 0 of H.273).
    Linear,
}

/// What the target's numbers mean. Primaries are never converted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Light {
    /// Encoded as in the source, whatever its transfer: an sRGB target holds these code values in its bytes too.
    #[default]
    Encoded,
    /// Linear light, by the inverse of the source's transfer; wants a float target, or an sRGB one, which encodes it.
    /// PQ gives 1 for 203 cd/m² and needs more than 1 above; HLG gives the scene's light.
    Linear,
    /// Encoded with sRGB's transfer. PQ and HLG are refused: they need a tone map.
    Srgb,
}

/// What to do with PQ and HLG under [`Light::Encoded`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HighRange {
    /// Hand code values on, and say so in [`Converted::result`].
    #[default]
    Pass,
    /// Refuse with [`ConvertError::HighRange`]: for targets that will be shown as they are.
    Refuse,
}

/// What is to be done with a frame. The default shows all of it upright, smoothly scaled, and refuses unknown colour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Conversion {
    /// The part to take, in pixels of the coded picture, before the turn; `None` is the visible rect.
    pub crop: Option<Rect>,
    /// How to turn it; `None` is as the frame says.
    pub orientation: Option<Orientation>,
    /// How it is scaled.
    pub filter: Filter,
    /// How its chroma is.
    pub chroma: ChromaFilter,
    /// What to assume about colour that the frame does not state.
    pub assume: Assume,
    /// What the target's numbers mean.
    pub light: Light,
    /// Whether PQ and HLG may pass.
    pub high_range: HighRange,
}

impl Conversion {
    /// With this for colour that frames do not state.
    #[must_use]
    pub fn assuming(assume: Assume) -> Self {
        Self {
            assume,
            ..Self::default()
        }
    }
}

/// What a conversion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Converted {
    /// Size of the part that was taken, upright.
    pub size: Size,
    /// How the source was read: what the frame said, and for the rest what was assumed.
    pub source: ColorInfo,
    /// What the target holds.
    pub result: ColorInfo,
    /// Whether the matrix or the range the samples were read with was not the frame's own word.
    pub assumed: bool,
}
