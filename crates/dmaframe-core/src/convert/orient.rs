//! Turning while storing.

use super::planes::Rows;
use crate::layout::Size;
use crate::meta::{Orientation, Rotation};

/// From a picture's own coordinates to the upright ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    orientation: Orientation,
    /// Size before turning.
    size: Size,
}

impl Turn {
    pub(super) fn new(orientation: Orientation, size: Size) -> Self {
        Self { orientation, size }
    }

    /// The same turn of a picture of another size: a chroma plane.
    pub(super) fn resized(self, size: Size) -> Self {
        Self { size, ..self }
    }

    pub(super) fn is_identity(self) -> bool {
        self.orientation == Orientation::IDENTITY
    }

    /// Whether rows become columns.
    pub(super) fn swaps_axes(self) -> bool {
        self.orientation.swaps_axes()
    }

    /// Size after turning.
    pub(super) fn upright(self) -> Size {
        if self.orientation.swaps_axes() {
            Size::new(self.size.height, self.size.width)
        } else {
            self.size
        }
    }

    /// Whether the first column ends up last (as a column or as a row).
    pub(super) fn reverses_columns(self) -> bool {
        self.orientation.mirror != matches!(self.orientation.rotation, Rotation::R180 | Rotation::R270)
    }

    /// Whether the first row ends up last (as a row or as a column).
    pub(super) fn reverses_rows(self) -> bool {
        matches!(self.orientation.rotation, Rotation::R90 | Rotation::R180)
    }

    /// Stores `count` rows of `N`-byte pixels, which start with pixel `skip` of each of `rows`, as rows `first..` of
    /// the picture into `out`, the upright picture with `stride` bytes a row.
    pub(super) fn store<const N: usize>(
        self,
        (first, count): (usize, usize),
        rows: Rows<'_>,
        skip: usize,
        out: &mut [u8],
        stride: usize,
    ) {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let (flip_x, flip_y) = (self.reverses_columns(), self.reverses_rows());
        let place = |index: usize, len: usize, flip: bool| if flip { len - 1 - index } else { index };
        let from = |i: usize| &rows.from(i)[skip * N..][..width * N];
        if self.orientation.swaps_axes() {
            // Column by column of a low band: each upright row gets `count` neighbouring pixels.
            let left = if flip_y { height - first - count } else { first };
            for x in 0..width {
                let to = &mut out[place(x, width, flip_x) * stride + left * N..][..count * N];
                for (i, to) in to.chunks_exact_mut(N).enumerate() {
                    let row = place(i, count, flip_y) * rows.stride;
                    to.copy_from_slice(&rows.data[row + (skip + x) * N..][..N]);
                }
            }
            return;
        }
        for i in 0..count {
            let to = &mut out[place(first + i, height, flip_y) * stride..][..width * N];
            if flip_x {
                for (to, from) in to.chunks_exact_mut(N).zip(from(i).chunks_exact(N).rev()) {
                    to.copy_from_slice(from);
                }
            } else {
                to.copy_from_slice(from(i));
            }
        }
    }
}
