//! What can go wrong, and with which numbers.

use dmaframe_core::{Codec, Size};

/// Everything this crate refuses or passes on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The access unit is of another codec.
    #[error("an access unit of {found}; this decodes MJPG and JPEG")]
    Codec {
        /// The codec found.
        found: Codec,
    },
    /// The bytes are no JPEG, or its headers do not hold together.
    #[error("no JPEG header at byte {at}: {reason}")]
    Header {
        /// Where it went wrong.
        at: usize,
        /// What.
        reason: &'static str,
    },
    /// A picture larger than the decoder was told to take: the header claims it, and memory would follow.
    #[error("the JPEG claims {found}, the limit is {limit} and {pixels} pixels (Limits)")]
    TooLarge {
        /// The size claimed.
        found: Size,
        /// The largest width and height.
        limit: Size,
        /// The most pixels.
        pixels: u64,
    },
    /// A JPEG of a kind that no frame can show, or that no camera sends.
    #[error("JPEG with {what} is not supported")]
    Unsupported {
        /// What it has.
        what: &'static str,
    },
    /// Chroma that is subsampled in a way no frame format has.
    #[error(
        "JPEG with chroma subsampled {horizontal}x{vertical} has no frame format (1x1, 2x1 and 2x2 have)"
    )]
    Subsampling {
        /// Luma columns for one of chroma, 0 when that is no whole number.
        horizontal: u8,
        /// Luma rows for one of chroma, 0 when that is no whole number.
        vertical: u8,
    },
    /// The data ends before the picture does.
    #[error("the JPEG of {bytes} bytes ends before its picture does")]
    Truncated {
        /// Bytes there are.
        bytes: usize,
    },
    /// The data contradicts itself: a part of the picture would be wrong.
    #[error("the JPEG is damaged: {reason}")]
    Damaged {
        /// The decoder's word.
        reason: String,
    },
    /// A frame to decode into that has another format or size.
    #[error("the frame to decode into does not fit the JPEG: {reason}")]
    Frame {
        /// What differs.
        reason: String,
    },
    /// The pool has no free slot, or no memory for pictures of this size.
    #[error(transparent)]
    Pool(#[from] dmaframe_alloc::Error),
    /// The core refused: a view of the bytes or of the frame.
    #[error(transparent)]
    Core(#[from] dmaframe_core::Error),
}
