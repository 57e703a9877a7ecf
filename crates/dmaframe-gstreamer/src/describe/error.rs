//! Why something does not describe a picture.

use dmaframe_core::{Fourcc, LayoutError, Modifier, Size};

/// Caps, metadata or memories that do not describe a picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// Not raw video.
    #[error("caps are {found}, not video/x-raw")]
    MediaType {
        /// What they are.
        found: String,
    },
    /// Memory that is neither mappable nor a dma-buf (`memory:GLMemory`, `memory:VAMemory` ...).
    #[error(
        "caps feature {found} is no memory that descriptors describe; only memory:DMABuf and system memory are"
    )]
    Feature {
        /// The feature found.
        found: String,
    },
    /// A field that fixed caps must have, or whose value is out of range.
    #[error("caps field {field} is missing or out of range ({found})")]
    Field {
        /// Which.
        field: &'static str,
        /// Its value.
        found: i64,
    },
    /// A format that has no DRM code, or one whose geometry is not known.
    #[error("format {name} has no known DRM format")]
    UnknownFormat {
        /// Its name.
        name: String,
    },
    /// `drm-format` is not `CODE` or `CODE:0xMODIFIER`.
    #[error("drm-format {text:?} is not CODE or CODE:0xMODIFIER")]
    DrmFormat {
        /// What it is.
        text: String,
    },
    /// `format=DMA_DRM` outside `memory:DMABuf`, where it means nothing.
    #[error("format=DMA_DRM without the feature memory:DMABuf")]
    DrmWithoutFeature,
    /// `colorimetry` is neither a name nor four numbers.
    #[error("colorimetry {text:?} is neither a known name nor range:matrix:transfer:primaries")]
    Colorimetry {
        /// What it is.
        text: String,
    },
    /// Fields of two moments in one picture.
    #[error("interlace-mode {mode} is not progressive")]
    Interlaced {
        /// The mode.
        mode: String,
    },
    /// Strides of a picture this large do not fit GStreamer's own layout.
    #[error("GStreamer has no layout for a picture of {size}")]
    TooLarge {
        /// The size.
        size: Size,
    },
    /// The layout is the driver's own and only metadata could say where planes lie.
    #[error("{fourcc} {modifier} without a GstVideoMeta: nothing says where its planes are")]
    NoMeta {
        /// The format.
        fourcc: Fourcc,
        /// The modifier.
        modifier: Modifier,
    },
    /// Rows from bottom to top.
    #[error("plane {plane} has stride {stride}; rows must follow each other downwards")]
    Stride {
        /// The plane.
        plane: usize,
        /// The stride found.
        stride: i32,
    },
    /// A plane starts behind the buffer's last byte.
    #[error("plane {plane} starts at byte {offset} of a buffer of {len} bytes in {memories} memories")]
    Offset {
        /// The plane.
        plane: usize,
        /// Where.
        offset: u64,
        /// Bytes there are.
        len: u64,
        /// Memories there are.
        memories: usize,
    },
    /// Planes that do not lie inside the memories.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}
