//! Bitstreams in, frames of a pool out.

use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_alloc::{Allocator, Chain, FramePool, Request};
use dmaframe_core::report::Hop;
use dmaframe_core::{Bitstream, Codec, ColorInfo, Deadline, Frame, FrameMeta, MAX_PLANES, Size, WriteView};

use crate::error::Error;
use crate::header::Header;
use crate::planes;
use crate::shared::Shared;

/// What a JPEG's headers may claim before any memory follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest width and height.
    pub size: Size,
    /// The most pixels.
    pub pixels: u64,
    /// The most scans of a progressive JPEG, each of which walks the whole picture.
    pub scans: usize,
}

impl Default for Limits {
    /// 16384x16384, 100 million pixels, 64 scans: more than any camera.
    fn default() -> Self {
        Self {
            size: Size::new(16384, 16384),
            pixels: 100_000_000,
            scans: 64,
        }
    }
}

impl Limits {
    fn check(&self, found: Size) -> Result<(), Error> {
        let pixels = u64::from(found.width) * u64::from(found.height);
        if found.width > self.size.width || found.height > self.size.height || pixels > self.pixels {
            return Err(Error::TooLarge {
                found,
                limit: self.size,
                pixels: self.pixels,
            });
        }
        Ok(())
    }
}

/// Choices before the first picture; made by [`Decoder::builder`].
#[derive(Debug)]
#[must_use = "a builder decodes nothing"]
pub struct DecoderBuilder {
    slots: usize,
    allocator: Shared,
    limits: Limits,
}

impl DecoderBuilder {
    /// How many pictures can be out at once; 4 by default.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Where the pictures' memory comes from; [`Chain::standard`], dma-bufs if the machine gives them, by default.
    pub fn allocator(mut self, allocator: impl Allocator + 'static) -> Self {
        self.allocator = Shared(Arc::new(allocator));
        self
    }

    /// What headers may claim.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The decoder. Memory comes with the first picture, whose headers say how much.
    pub fn build(self) -> Decoder {
        Decoder {
            pool: None,
            allocator: self.allocator,
            slots: self.slots,
            limits: self.limits,
            scratch: Vec::new(),
            clean: Vec::new(),
            hop: Hop::new("jpeg"),
        }
    }
}

/// Decodes Motion JPEG into frames of its own pool.
///
/// Pictures have the JPEG's own subsampling and its full range (JFIF), and are written once, by the decoder itself, into
/// the memory that consumers get. When a stream changes its size or format the pool is made anew; frames of the old one
/// stay valid.
///
/// Works on the thread that calls it, for as long as a picture takes.
#[derive(Debug)]
pub struct Decoder {
    pool: Option<FramePool>,
    allocator: Shared,
    slots: usize,
    limits: Limits,
    /// For pool memory that was lent and cannot be borrowed any more.
    scratch: Vec<u8>,
    /// The JPEG as it is decoded.
    clean: Vec<u8>,
    hop: Arc<Hop>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Decoder {
    /// A decoder to be set up.
    pub fn builder() -> DecoderBuilder {
        DecoderBuilder {
            slots: 4,
            allocator: Shared(Arc::new(Chain::standard())),
            limits: Limits::default(),
        }
    }

    /// The picture of an access unit, with its timestamp, sequence, orientation and extensions. Colour is JFIF's.
    ///
    /// Waits until `deadline` for the access unit's fences and for a free slot. Bytes behind the picture, application
    /// segments and a missing end marker are no matter; missing Huffman tables are the standard ones.
    ///
    /// # Errors
    /// [`Error::Codec`]; every other about the headers, the data, and the pool ([`Error::Pool`] with `Starved` when
    /// consumers hold all slots). Nothing is lost but the picture: the next one decodes.
    pub fn decode(&mut self, unit: &Bitstream, deadline: impl Into<Deadline>) -> Result<Frame, Error> {
        let deadline = deadline.into();
        if !matches!(unit.codec(), Codec::MJPEG | Codec::JPEG) {
            return Err(Error::Codec { found: unit.codec() });
        }
        let view = unit.map_read(deadline)?;
        let copy;
        let bytes = match view.bytes() {
            Ok(bytes) => bytes,
            Err(_) => {
                copy = view.to_vec()?;
                &copy
            }
        };
        self.decode_bytes(bytes, unit.meta().clone(), deadline)
    }

    /// [`Decoder::decode`] of bytes from elsewhere. The colour in `meta` is replaced.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode_bytes(
        &mut self,
        bytes: &[u8],
        mut meta: FrameMeta,
        deadline: impl Into<Deadline>,
    ) -> Result<Frame, Error> {
        let deadline = deadline.into();
        let header = Header::parse(bytes)?;
        self.limits.check(header.size)?;
        let mut frame = self.cleaned(bytes, &header, |decoder, clean| {
            // Only now, when the data can be what the header claims: a bad header costs no pool, nor the one there is.
            let mut frame = decoder.slot(&header, deadline)?;
            decoder.fill(clean, &header, &mut frame, deadline)?;
            Ok(frame)
        })?;
        meta.color = ColorInfo::JFIF;
        // An encoded picture has no coded size of its own.
        meta.visible = None;
        *frame.meta_mut()? = meta;
        Ok(frame)
    }

    /// Decodes into a frame of the caller's, whose metadata stay but for the colour.
    ///
    /// # Errors
    /// [`Error::Frame`] for another format or size than the JPEG's ([`Header::parse`] tells it); as [`Decoder::decode`].
    /// The frame's pixels are undefined after an error.
    pub fn decode_into(
        &mut self,
        bytes: &[u8],
        frame: &mut Frame,
        deadline: impl Into<Deadline>,
    ) -> Result<(), Error> {
        let header = Header::parse(bytes)?;
        self.limits.check(header.size)?;
        let (found, wanted) = (
            (frame.fourcc(), frame.layout().size()),
            (header.fourcc, header.size),
        );
        if found != wanted {
            let reason = format!("{} {}, the JPEG is {} {}", found.0, found.1, wanted.0, wanted.1);
            return Err(Error::Frame { reason });
        }
        let deadline = deadline.into();
        self.cleaned(bytes, &header, |decoder, clean| {
            decoder.fill(clean, &header, frame, deadline)
        })?;
        frame.meta_mut()?.color = ColorInfo::JFIF;
        Ok(())
    }

    /// The hop from the access unit to the frame, for a [`PathReport`](dmaframe_core::report::PathReport): decoding is a
    /// copy by the CPU.
    #[must_use]
    pub fn hop(&self) -> &Arc<Hop> {
        &self.hop
    }

    /// The pool, once there was a picture.
    #[must_use]
    pub fn pool(&self) -> Option<&FramePool> {
        self.pool.as_ref()
    }

    /// A free slot of the JPEG's format and size.
    fn slot(&mut self, header: &Header, deadline: Deadline) -> Result<Frame, Error> {
        let request = || Request::new(header.fourcc, header.size);
        let pool = match &mut self.pool {
            Some(pool) => {
                let layout = pool.layout();
                if (layout.fourcc(), layout.size()) != (header.fourcc, header.size) {
                    pool.renegotiate(request())?;
                }
                pool
            }
            empty => {
                let builder = FramePool::builder(request()).slots(self.slots);
                match builder.allocator(self.allocator.clone()).build() {
                    Ok(pool) => empty.insert(pool),
                    Err(rejected) => return Err(rejected.error.into()),
                }
            }
        };
        Ok(pool.acquire(deadline)?)
    }

    /// Does something with the JPEG as the decoder likes it ([`Header::clean`]).
    fn cleaned<T>(
        &mut self,
        bytes: &[u8],
        header: &Header,
        work: impl FnOnce(&mut Self, &[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // Out of the decoder for as long as it is read, so that the rest can be written.
        let mut clean = std::mem::take(&mut self.clean);
        let done = header.clean(bytes, &mut clean).and_then(|()| work(self, &clean));
        self.clean = clean;
        match done {
            // The length the caller knows.
            Err(Error::Truncated { .. }) => Err(Error::Truncated { bytes: bytes.len() }),
            other => other,
        }
    }

    fn fill(
        &mut self,
        bytes: &[u8],
        header: &Header,
        frame: &mut Frame,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let len = frame.layout().tight_len();
        let mut view = frame.map_write(deadline)?;
        if view.has_slices() {
            self.fill_planes(bytes, header, &mut view)?;
            self.hop.cpu_copy(len, "decoded by the CPU");
        } else {
            self.fill_rows(bytes, header, &mut view)?;
            self.hop.cpu_copy(
                2 * len,
                "decoded aside: the pool's memory was lent and cannot be borrowed",
            );
        }
        Ok(())
    }

    /// Straight into the frame's memory.
    fn fill_planes(&self, bytes: &[u8], header: &Header, view: &mut WriteView<'_>) -> Result<(), Error> {
        let (strides, rows) = geometry(view);
        let mut slices = view.planes_mut()?;
        planes::decode(bytes, self.limits, header.size, &mut slices, &strides, &rows)
    }

    /// Into memory of our own, then row by row.
    fn fill_rows(&mut self, bytes: &[u8], header: &Header, view: &mut WriteView<'_>) -> Result<(), Error> {
        let layout = header.layout()?;
        let needed = usize::try_from(layout.tight_len()).unwrap_or(usize::MAX);
        if self.scratch.len() < needed {
            let more = needed - self.scratch.len();
            self.scratch
                .try_reserve_exact(more)
                .map_err(|_| dmaframe_core::Error::NoMemory { bytes: needed })?;
            self.scratch.resize(needed, 0);
        }
        let rows: ArrayVec<usize, MAX_PLANES> = geometry(view).1;
        let strides: ArrayVec<usize, MAX_PLANES> =
            (0..rows.len()).map(|plane| layout.row_bytes(plane)).collect();
        let mut rest = &mut self.scratch[..needed];
        let mut slices = ArrayVec::<&mut [u8], MAX_PLANES>::new();
        for (stride, rows) in strides.iter().zip(&rows) {
            let (plane, behind) = rest.split_at_mut(stride * rows);
            slices.push(plane);
            rest = behind;
        }
        planes::decode(bytes, self.limits, header.size, &mut slices, &strides, &rows)?;
        drop(slices);
        Ok(view.copy_from_tight(&self.scratch[..needed])?)
    }
}

/// Bytes from row to row, and rows, of each plane.
fn geometry(view: &WriteView<'_>) -> (ArrayVec<usize, MAX_PLANES>, ArrayVec<usize, MAX_PLANES>) {
    let layout = view.layout();
    let strides = layout
        .planes()
        .iter()
        .map(|plane| plane.stride as usize)
        .collect();
    let rows = (0..layout.planes().len())
        .map(|plane| layout.rows(plane) as usize)
        .collect();
    (strides, rows)
}
