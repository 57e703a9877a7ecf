//! What caps, video metadata and memory sizes say, as plain data: nothing in here needs GStreamer.
//!
//! Everything that comes from another element goes through [`Picture::from_caps`] and [`Picture::planes`] before a
//! descriptor is looked at. Both are pure functions that allocate nothing when they succeed, and are fuzzed
//! (`fuzz/fuzz_targets/gst_caps.rs`).

mod color;
mod drm;
mod error;
mod formats;
mod picture;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;
use dmaframe_core::{MAX_PLANES, Size};

pub use color::{chroma_site, colorimetry, parse_chroma_site, parse_colorimetry};
pub use drm::{drm_format, parse_drm_format};
pub use error::DescribeError;
pub use formats::{DefaultPlanes, default_planes, formats};
pub(crate) use formats::{by_fourcc, by_name};
pub use picture::{Picture, Placed};

/// The fields of fixed video caps that say what a picture is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CapsFields<'a> {
    /// `video/x-raw`.
    pub media_type: &'a str,
    /// The caps' memory feature; `None` for system memory.
    pub feature: Option<&'a str>,
    /// `format`.
    pub format: Option<&'a str>,
    /// `drm-format`.
    pub drm_format: Option<&'a str>,
    /// `width`, 0 if missing.
    pub width: i32,
    /// `height`, 0 if missing.
    pub height: i32,
    /// `interlace-mode`.
    pub interlace_mode: Option<&'a str>,
    /// `colorimetry`.
    pub colorimetry: Option<&'a str>,
    /// `chroma-site`.
    pub chroma_site: Option<&'a str>,
}

/// What a `GstVideoMeta` and a `GstVideoCropMeta` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetaFields {
    /// Size of the whole picture in memory; caps have the size to show.
    pub size: Size,
    /// First byte of each plane, counted through all memories of the buffer.
    pub offsets: ArrayVec<u64, MAX_PLANES>,
    /// Bytes from one row to the next.
    pub strides: ArrayVec<i32, MAX_PLANES>,
}

/// The part of a descriptor's bytes that a `GstMemory` stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryWindow {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

impl MemoryWindow {
    /// `size` bytes from `offset` on.
    #[must_use]
    pub const fn new(offset: u64, size: u64) -> Self {
        Self { offset, size }
    }
}
