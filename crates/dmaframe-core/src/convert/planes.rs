//! From CPU views to the exact row blocks the `yuv` crate takes.
//!
//! Its functions walk planes with `chunks_exact(stride)`: a last row without padding (V4L2 and GStreamer hand out
//! such planes, [`Layout::check`](crate::Layout::check) allows them) would be skipped, or end in an `unwrap`. So a
//! [`Rows`] is always a whole number of strides, and the band that does not have that much is copied first.

use super::error::ConvertError;
use crate::layout::Size;
use crate::view::ReadView;

/// Rows of samples, exactly `stride` samples each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a, T = u8> {
    pub(super) data: &'a [T],
    pub(super) stride: usize,
}

impl<'a, T> Rows<'a, T> {
    /// Row `index` to the end of the data.
    pub(super) fn from(&self, index: usize) -> &'a [T] {
        &self.data[index * self.stride..]
    }

    /// The first `len` samples of row `index`.
    pub(super) fn row(&self, index: usize, len: usize) -> &'a [T] {
        &self.from(index)[..len]
    }

    /// As the crate wants it. What does not fit makes the crate refuse.
    pub(super) fn stride32(&self) -> u32 {
        stride32(self.stride)
    }
}

pub(super) fn stride32(stride: usize) -> u32 {
    u32::try_from(stride).unwrap_or(u32::MAX)
}

/// `count` rows of a plane from row `first` on, each from its byte `skip` on: borrowed where the view lends slices and
/// the rows are whole, copied into `scratch` otherwise.
pub(super) fn rows<'a>(
    view: &'a ReadView<'_>,
    plane: usize,
    (first, count): (u32, u32),
    skip: usize,
    scratch: &'a mut Vec<u8>,
) -> Result<Rows<'a>, ConvertError> {
    let layout = view.layout();
    if view.has_slices() {
        let stride = layout.planes().get(plane).map_or(0, |p| p.stride as usize);
        let start = first as usize * stride + skip;
        let whole = view.plane(plane)?;
        if let Some(data) = whole.get(start..start + count as usize * stride) {
            return Ok(Rows { data, stride });
        }
    }
    let stride = layout.row_bytes(plane);
    let data = grow(scratch, Size::new(stride32(stride), count), 1, skip)?;
    for (i, row) in (first..first + count).enumerate() {
        view.copy_row(plane, row, &mut data[i * stride..])?;
    }
    Ok(Rows {
        data: &data[skip..skip + stride * count as usize],
        stride,
    })
}

/// Bytes or words for `size` pixels of `each`, and `extra`: grows once, then stays.
pub(super) fn grow<T: Copy + Default>(
    scratch: &mut Vec<T>,
    size: Size,
    each: usize,
    extra: usize,
) -> Result<&mut [T], ConvertError> {
    let too_large = ConvertError::TooLarge {
        size,
        bytes_per_pixel: each * std::mem::size_of::<T>(),
    };
    let len = (size.width as usize)
        .checked_mul(size.height as usize)
        .and_then(|n| n.checked_mul(each))
        .and_then(|n| n.checked_add(extra));
    let Some(len) = len else { return Err(too_large) };
    if scratch.len() < len {
        if scratch.try_reserve_exact(len - scratch.len()).is_err() {
            return Err(too_large);
        }
        scratch.resize(len, T::default());
    }
    Ok(&mut scratch[..len])
}
