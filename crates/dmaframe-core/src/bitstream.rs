//! Encoded pictures: not frames.

mod keyframe;

use std::fmt;
use std::sync::Arc;

use crate::buffer::Buffer;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::fence::Fence;
use crate::format::Fourcc;
use crate::frame::Frame;
use crate::lease::{Lease, ReturnQueue};
use crate::meta::{FrameMeta, Timestamp};
use crate::view::ReadView;

/// How the bytes are encoded, by V4L2's pixel format codes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Codec(pub u32);

impl Codec {
    /// Motion JPEG: one JPEG an access unit.
    pub const MJPEG: Self = Self(u32::from_le_bytes(*b"MJPG"));
    /// JPEG.
    pub const JPEG: Self = Self(u32::from_le_bytes(*b"JPEG"));
    /// H.264 byte stream.
    pub const H264: Self = Self(u32::from_le_bytes(*b"H264"));
    /// H.265 byte stream.
    pub const HEVC: Self = Self(u32::from_le_bytes(*b"HEVC"));
    /// VP8.
    pub const VP8: Self = Self(u32::from_le_bytes(*b"VP80"));
    /// VP9.
    pub const VP9: Self = Self(u32::from_le_bytes(*b"VP90"));
    /// FWHT, the codec of the kernel's test driver vicodec.
    pub const FWHT: Self = Self(u32::from_le_bytes(*b"FWHT"));

    /// Whether an access unit that begins with these bytes can be decoded without another one, by its own headers: FWHT's
    /// flags, the first slice of an H.264 or H.265 byte stream, VP8's and VP9's frame headers; always for JPEG. `None` where
    /// the bytes do not say, and for other codecs.
    ///
    /// ```
    /// use dmaframe_core::Codec;
    /// assert_eq!(Codec::H264.stands_alone(&[0, 0, 0, 1, 0x65, 0x88]), Some(true));
    /// assert_eq!(Codec::H264.stands_alone(&[0, 0, 0, 1, 0x41, 0x9a]), Some(false));
    /// ```
    #[must_use]
    pub fn stands_alone(self, start: &[u8]) -> Option<bool> {
        keyframe::stands_alone(self, start)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fourcc(self.0).fmt(f)
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Codec({self})")
    }
}

/// One encoded access unit, in a dma-buf or in bytes, with the same lease and clock as a frame.
#[derive(Clone)]
#[must_use = "dropping the last clone gives the buffer back to its producer"]
pub struct Bitstream {
    /// The bytes as one row of an `R8` picture: one kind of memory, lease and view for both.
    carrier: Frame,
    codec: Codec,
    len: usize,
    keyframe: bool,
}

impl Bitstream {
    /// The first `len` bytes of a buffer whose layout is one row of [`Fourcc::R8`], from a slot of a source.
    ///
    /// # Errors
    /// [`Error::TooSmall`] when the buffer has fewer bytes; as [`ReturnQueue::frame`].
    pub fn from_slot(
        queue: &Arc<ReturnQueue>,
        slot: usize,
        buffer: &Arc<Buffer>,
        codec: Codec,
        len: usize,
        keyframe: bool,
        meta: FrameMeta,
    ) -> Result<Self, Error> {
        let found = buffer.layout().row_bytes(0);
        if len > found || buffer.layout().fourcc() != Fourcc::R8 {
            return Err(Error::TooSmall {
                what: "bitstream buffer",
                found,
                needed: len,
            });
        }
        let carrier = queue.frame(slot, buffer, meta, Fence::Signaled)?;
        Ok(Self {
            carrier,
            codec,
            len,
            keyframe,
        })
    }

    /// Bytes of our own.
    ///
    /// # Errors
    /// [`Error::Layout`] when there are none, or more than `u32::MAX`.
    pub fn from_bytes(bytes: Vec<u8>, codec: Codec, keyframe: bool, meta: FrameMeta) -> Result<Self, Error> {
        let len = bytes.len();
        let size = crate::Size::new(u32::try_from(len).unwrap_or(u32::MAX), 1);
        let layout = crate::Layout::tight(Fourcc::R8, size)?;
        let buffer = Buffer::from_bytes(bytes.into_boxed_slice(), &layout)?;
        let carrier = Frame::new(Arc::new(buffer), meta, Fence::Signaled, Lease::none())?;
        Ok(Self {
            carrier,
            codec,
            len,
            keyframe,
        })
    }

    /// How it is encoded.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes (a driver's way to say that the picture was lost).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it can be decoded without another one.
    #[must_use]
    pub fn is_keyframe(&self) -> bool {
        self.keyframe
    }

    /// Says whether it can be decoded without another one: for producers that know better than its buffer's driver.
    pub fn set_keyframe(&mut self, keyframe: bool) {
        self.keyframe = keyframe;
    }

    /// Whether its own bytes say that it can be decoded without another one ([`Codec::stands_alone`]); reads the first
    /// few thousand of them.
    ///
    /// # Errors
    /// As [`Frame::map_read`].
    pub fn stands_alone(&self, deadline: impl Into<Deadline>) -> Result<Option<bool>, Error> {
        // Nothing to be read.
        if let known @ Some(_) = self.codec.stands_alone(&[]) {
            return Ok(known);
        }
        let mut start = [0; keyframe::LOOK];
        let found = self.map_read(deadline)?.copy_start(&mut start)?;
        Ok(self.codec.stands_alone(&start[..found]))
    }

    /// What the bytes lie in: one row of [`Fourcc::R8`], of which the first [`Bitstream::len`] are the unit's. For devices
    /// that read the unit where it is: a clone of it keeps the producer's buffer.
    pub fn frame(&self) -> &Frame {
        &self.carrier
    }

    /// When it was captured.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.carrier.meta().timestamp
    }

    /// Sequence, orientation, colour and so on.
    #[must_use]
    pub fn meta(&self) -> &FrameMeta {
        self.carrier.meta()
    }

    /// Whether the bytes lie in a dma-buf.
    #[must_use]
    pub fn is_dmabuf(&self) -> bool {
        self.carrier.as_dmabuf().is_some()
    }

    /// A CPU view of the bytes; waits as [`Frame::map_read`] does.
    ///
    /// # Errors
    /// As [`Frame::map_read`].
    pub fn map_read(&self, deadline: impl Into<Deadline>) -> Result<BitstreamView<'_>, Error> {
        Ok(BitstreamView {
            view: self.carrier.map_read(deadline)?,
            len: self.len,
        })
    }

    /// Adds a consumer's completion, as [`Frame::release_after`].
    pub fn release_after(&self, fence: Fence) {
        self.carrier.release_after(fence);
    }

    /// The same bytes in memory of our own, so that the producer's buffer goes back.
    ///
    /// # Errors
    /// As [`Frame::map_read`].
    pub fn detach(&self, deadline: impl Into<Deadline>) -> Result<Self, Error> {
        let bytes = self.map_read(deadline)?.to_vec()?;
        Self::from_bytes(bytes, self.codec, self.keyframe, self.meta().clone())
    }
}

impl fmt::Debug for Bitstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Bitstream({}, {} bytes, keyframe {})",
            self.codec, self.len, self.keyframe
        )
    }
}

/// Reading an access unit; made by [`Bitstream::map_read`].
#[derive(Debug)]
pub struct BitstreamView<'a> {
    view: ReadView<'a>,
    len: usize,
}

impl BitstreamView<'_> {
    /// The bytes.
    ///
    /// # Errors
    /// [`Error::Foreign`] when others may write the memory: use [`BitstreamView::to_vec`].
    pub fn bytes(&self) -> Result<&[u8], Error> {
        Ok(&self.view.row(0, 0)?[..self.len])
    }

    /// Copies as many of the first bytes as `to` takes, and gives their number.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn copy_start(&self, to: &mut [u8]) -> Result<usize, Error> {
        let len = to.len().min(self.len);
        self.view.copy_start(&mut to[..len])?;
        Ok(len)
    }

    /// A copy of the bytes, and of no more of the buffer.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn to_vec(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(self.len)
            .map_err(|_| Error::NoMemory { bytes: self.len })?;
        bytes.resize(self.len, 0);
        self.view.copy_start(&mut bytes)?;
        Ok(bytes)
    }
}
