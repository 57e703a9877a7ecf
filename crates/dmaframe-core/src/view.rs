//! CPU views of frames.
//!
//! A view waits for fences first, with the caller's deadline, because `DMA_BUF_SYNC_START` would wait without one;
//! then it brackets the access and ends it in `Drop`, also while unwinding. Rows come as slices only from private
//! memory, where nobody else writes while the frame lives; from foreign memory they are copied out.

use std::ops::Range;

use arrayvec::ArrayVec;

use crate::deadline::Deadline;
use crate::error::Error;
use crate::frame::Frame;
use crate::layout::{Layout, MAX_PLANES};
use crate::object::Access;
use crate::sys::access::View;

/// Reading by the CPU; made by [`Frame::map_read`].
#[derive(Debug)]
#[must_use = "the view ends CPU access when it drops"]
pub struct ReadView<'a> {
    inner: View<'a>,
}

/// Writing by the CPU; made by [`Frame::map_write`].
#[derive(Debug)]
#[must_use = "the view ends CPU access when it drops"]
pub struct WriteView<'a> {
    inner: View<'a>,
}

macro_rules! reading {
    () => {
        /// The layout being read.
        #[must_use]
        pub fn layout(&self) -> &Layout {
            self.inner.layout()
        }

        /// Whether rows can be borrowed, or have to be copied out because others may write the memory.
        #[must_use]
        pub fn has_slices(&self) -> bool {
            self.inner.has_slices()
        }

        /// The samples of one row, without padding.
        ///
        /// # Errors
        /// [`Error::Foreign`] when rows have to be copied out, [`Error::OutOfRange`].
        pub fn row(&self, plane: usize, row: u32) -> Result<&[u8], Error> {
            self.inner.slice(self.inner.row(plane, row)?)
        }

        /// All rows of a plane, without padding.
        ///
        /// # Errors
        /// As [`Self::row`].
        pub fn rows(&self, plane: usize) -> Result<impl Iterator<Item = &[u8]>, Error> {
            let stride = self
                .layout()
                .planes()
                .get(plane)
                .map_or(1, |p| p.stride as usize);
            let len = self.layout().row_bytes(plane);
            Ok(self
                .plane(plane)?
                .chunks(stride)
                .map(move |row| &row[..len]))
        }

        /// A plane from its first to its last sample, with the padding between rows ([`crate::Plane`]'s `stride` bytes
        /// apart).
        ///
        /// # Errors
        /// As [`Self::row`].
        pub fn plane(&self, plane: usize) -> Result<&[u8], Error> {
            self.inner.slice(self.inner.span(plane)?)
        }

        /// Copies one row's samples to the front of `to` and gives their length in bytes.
        ///
        /// # Errors
        /// [`Error::TooSmall`], [`Error::OutOfRange`].
        pub fn copy_row(&self, plane: usize, row: u32, to: &mut [u8]) -> Result<usize, Error> {
            self.inner.copy(plane, row..row.saturating_add(1), to)
        }

        /// Copies rows' samples, one row after the other and without padding, to the front of `to`, and gives their
        /// length in bytes. One copy where the plane has no padding either.
        ///
        /// # Errors
        /// [`Error::TooSmall`], [`Error::OutOfRange`].
        pub fn copy_rows(&self, plane: usize, rows: Range<u32>, to: &mut [u8]) -> Result<usize, Error> {
            self.inner.copy(plane, rows, to)
        }

        /// Copies the whole picture without padding, plane after plane.
        ///
        /// # Errors
        /// [`Error::TooSmall`] when `to` is shorter than [`Layout::tight_len`].
        pub fn copy_tight(&self, to: &mut [u8]) -> Result<(), Error> {
            let needed = usize::try_from(self.layout().tight_len()).unwrap_or(usize::MAX);
            if to.len() < needed {
                return Err(Error::TooSmall {
                    what: "picture destination",
                    found: to.len(),
                    needed,
                });
            }
            let mut rest = to;
            for plane in 0..self.layout().planes().len() {
                let len = self.copy_rows(plane, 0..self.layout().rows(plane), rest)?;
                rest = &mut rest[len..];
            }
            Ok(())
        }

        /// [`Self::copy_tight`] into a new vector.
        ///
        /// # Errors
        /// [`Error::NoMemory`] when there is none for a picture of this size.
        pub fn to_tight(&self) -> Result<Vec<u8>, Error> {
            let needed = usize::try_from(self.layout().tight_len()).unwrap_or(usize::MAX);
            let mut bytes = Vec::new();
            bytes
                .try_reserve_exact(needed)
                .map_err(|_| Error::NoMemory { bytes: needed })?;
            bytes.resize(needed, 0);
            self.copy_tight(&mut bytes)?;
            Ok(bytes)
        }
    };
}

impl<'a> ReadView<'a> {
    pub(crate) fn begin(frame: &'a Frame, deadline: Deadline) -> Result<Self, Error> {
        View::begin(frame, Access::Read, deadline).map(|inner| Self { inner })
    }

    /// Copies the first samples of the first row, no more than there are.
    pub(crate) fn copy_start(&self, to: &mut [u8]) -> Result<(), Error> {
        self.inner.copy_part(to)
    }

    reading!();
}

impl<'a> WriteView<'a> {
    pub(crate) fn begin(frame: &'a mut Frame, deadline: Deadline) -> Result<Self, Error> {
        if !frame.is_unique() {
            return Err(Error::Shared {
                reason: "it has other clones",
            });
        }
        if !frame.buffer().is_private() {
            return Err(Error::Shared {
                reason: "its memory came from outside",
            });
        }
        let inner = View::begin(frame, Access::Write, deadline)?;
        Ok(Self { inner })
    }

    reading!();

    /// Writes the front of `from` as one row's samples; also into memory whose descriptor has been lent, where rows
    /// cannot be borrowed.
    ///
    /// # Errors
    /// [`Error::TooSmall`], [`Error::OutOfRange`].
    pub fn write_row(&mut self, plane: usize, row: u32, from: &[u8]) -> Result<(), Error> {
        self.inner.write(plane, row..row.saturating_add(1), from)
    }

    /// The samples of one row, to write.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::Foreign`] once the descriptor has been lent ([`Self::write_row`] still works).
    pub fn row_mut(&mut self, plane: usize, row: u32) -> Result<&mut [u8], Error> {
        let at = self.inner.row(plane, row)?;
        self.inner.slice_mut(at)
    }

    /// A plane from its first to its last sample, with the padding between rows, to write.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn plane_mut(&mut self, plane: usize) -> Result<&mut [u8], Error> {
        let at = self.inner.span(plane)?;
        self.inner.slice_mut(at)
    }

    /// Fills the picture from tight bytes, plane after plane.
    ///
    /// # Errors
    /// [`Error::TooSmall`] when `from` is shorter than [`Layout::tight_len`].
    pub fn copy_from_tight(&mut self, from: &[u8]) -> Result<(), Error> {
        let needed = usize::try_from(self.layout().tight_len()).unwrap_or(usize::MAX);
        if from.len() < needed {
            return Err(Error::TooSmall {
                what: "picture source",
                found: from.len(),
                needed,
            });
        }
        let mut rest = from;
        for plane in 0..self.layout().planes().len() {
            let len = self.layout().row_bytes(plane);
            let rows = self.layout().rows(plane);
            let (now, later) = rest.split_at(len * rows as usize);
            self.inner.write(plane, 0..rows, now)?;
            rest = later;
        }
        Ok(())
    }

    /// Copies the picture of another view, of the same format and size, between any two strides, and without an
    /// allocation. Padding is left as it is. One copy a plane where neither has padding.
    ///
    /// # Errors
    /// [`Error::Picture`] for another format or size.
    pub fn copy_from(&mut self, from: &ReadView<'_>) -> Result<(), Error> {
        let (mine, theirs) = (self.layout(), from.layout());
        if (mine.fourcc(), mine.size()) != (theirs.fourcc(), theirs.size()) {
            return Err(Error::Picture {
                found: theirs.fourcc(),
                found_size: theirs.size(),
                wanted: mine.fourcc(),
                wanted_size: mine.size(),
            });
        }
        (0..mine.planes().len()).try_for_each(|plane| self.inner.copy_plane(&from.inner, plane))
    }

    /// All planes at once, each from its first to its last sample, to write: what converters take.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when two planes share bytes (interleaved rows).
    pub fn planes_mut(&mut self) -> Result<ArrayVec<&mut [u8], MAX_PLANES>, Error> {
        self.inner.planes_mut()
    }
}
