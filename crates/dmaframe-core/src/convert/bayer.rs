//! Bilinear demosaicing.
//!
//! No crate was good enough to lean on (2026-11): `bayer` 0.1.5 has been left alone for years, `demosaic` 0.3 works on
//! whole pictures of planar `f32`, 16 bytes of scratch a pixel. Bilinear is what a viewfinder needs of a fallback:
//! black level, white balance and the colour matrix are the sensor's business and not applied here either.

use super::error::ConvertError;
use super::planes::{grow, rows};
use super::source::Scratch;
use super::unpack::Packing;
use crate::layout::{Rect, Size};
use crate::view::ReadView;

/// Demosaics the band `at` into `to`, which holds whole strides. Samples around the band take part; beyond the
/// picture's edge the one two further in stands for them, which has the same colour.
pub(super) fn convert(
    view: &ReadView<'_>,
    (red, packing, bits): ((usize, usize), Packing, u8),
    at: Rect,
    to: &mut [u8],
    stride: usize,
    scratch: &mut Scratch,
) -> Result<(), ConvertError> {
    let coded = view.layout().size();
    let wide = coded.width as usize + 2;
    let (src, mosaic) = scratch.for_mosaic();
    // One row above, one below, one column on either side.
    let mosaic = grow(
        mosaic,
        Size::new(coded.width, at.height + 2),
        1,
        2 * (at.height as usize + 2),
    )?;
    for (i, line) in mosaic.chunks_exact_mut(wide).enumerate() {
        let row = mirror(i64::from(at.y) + i as i64 - 1, coded.height);
        let samples = rows(view, 0, (row, 1), 0, src)?;
        let inner = &mut line[1..wide - 1];
        packing.unpack(bits, samples.data, inner);
        for sample in inner {
            // To the full scale of 16 bits.
            *sample = (*sample << (16 - bits)) | (u32::from(*sample) >> (2 * bits - 16)) as u16;
        }
        line[0] = line[1 + mirror(-1, coded.width) as usize];
        line[wide - 1] = line[1 + mirror(i64::from(coded.width), coded.width) as usize];
    }
    let x0 = at.x as usize;
    for (i, to) in to.chunks_exact_mut(stride).take(at.height as usize).enumerate() {
        let y = at.y as usize + i;
        let line = |k: usize| mosaic[(i + k) * wide + x0..][..at.width as usize + 2].windows(3);
        let in_red_row = y % 2 == red.1;
        let around = line(0).zip(line(1)).zip(line(2));
        for ((x, pixel), ((above, line), below)) in to.chunks_exact_mut(4).enumerate().zip(around) {
            let own_column = ((x0 + x) % 2 == red.0) == in_red_row;
            let (own, green, other) = interpolate([above, line, below], own_column);
            let (r, b) = if in_red_row { (own, other) } else { (other, own) };
            pixel.copy_from_slice(&[eight(r), eight(green), eight(b), 255]);
        }
    }
    Ok(())
}

/// The row's own colour (red in a red row), green, and the other rows' colour in the middle of three by three samples.
fn interpolate([above, line, below]: [&[u16]; 3], own_column: bool) -> (u32, u32, u32) {
    let at = |row: &[u16], i: usize| u32::from(row[i]);
    let sides = at(line, 0) + at(line, 2);
    let ends = at(above, 1) + at(below, 1);
    if own_column {
        let corners = at(above, 0) + at(above, 2) + at(below, 0) + at(below, 2);
        (at(line, 1), (sides + ends + 2) / 4, (corners + 2) / 4)
    } else {
        (sides.div_ceil(2), at(line, 1), ends.div_ceil(2))
    }
}

/// 16 bits to 8, rounded.
fn eight(value: u32) -> u8 {
    ((value * 255 + 32767) / 65535) as u8
}

/// An index into `0..len` for one that may be one outside: as in a mirror on the last sample.
fn mirror(index: i64, len: u32) -> u32 {
    let last = i64::from(len) - 1;
    let inside = if index < 0 {
        -index
    } else if index > last {
        2 * last - index
    } else {
        index
    };
    inside.clamp(0, last) as u32
}

#[cfg(test)]
mod tests {
    use super::mirror;

    #[test]
    fn the_mirror_keeps_the_colour_where_there_are_two() {
        assert_eq!([-1, 0, 3, 4].map(|i| mirror(i, 4)), [1, 0, 3, 2]);
        assert_eq!([-1, 0, 1].map(|i| mirror(i, 1)), [0, 0, 0]);
        assert_eq!([-1, 2].map(|i| mirror(i, 2)), [1, 0]);
    }
}
