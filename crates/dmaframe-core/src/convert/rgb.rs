//! RGB of any order and depth to bytes R, G, B, A.

use super::planes::Rows;
use crate::format::Fourcc;

/// Whether `convert` knows the format.
pub(super) fn is(fourcc: Fourcc) -> bool {
    pixel_bytes(fourcc) != 0
}

/// Bytes of a pixel, or 0.
pub(super) fn pixel_bytes(fourcc: Fourcc) -> usize {
    match fourcc {
        Fourcc::GR88 | Fourcc::RG88 | Fourcc::RGB565 | Fourcc::BGR565 => 2,
        Fourcc::RGB888 | Fourcc::BGR888 => 3,
        Fourcc::XRGB8888
        | Fourcc::ARGB8888
        | Fourcc::XBGR8888
        | Fourcc::ABGR8888
        | Fourcc::RGBX8888
        | Fourcc::BGRX8888
        | Fourcc::RGBA8888
        | Fourcc::BGRA8888
        | Fourcc::XRGB2101010
        | Fourcc::XBGR2101010
        | Fourcc::ARGB2101010
        | Fourcc::ABGR2101010
        | Fourcc::GR1616
        | Fourcc::RG1616 => 4,
        Fourcc::XBGR16161616 | Fourcc::ABGR16161616 | Fourcc::XBGR16161616F | Fourcc::ABGR16161616F => 8,
        _ => 0,
    }
}

/// Converts `size` pixels of `from` into `to`, which holds whole strides, to full range. The `yuv` crate shuffles what it
/// knows the order of; the rest is here, rounded once, as a GPU reads it (UNORM: nearest of n / max * 255).
pub(super) fn convert(
    fourcc: Fourcc,
    limited: bool,
    from: Rows<'_>,
    (width, height): (u32, u32),
    to: &mut [u8],
    stride: usize,
) -> Result<(), yuv::YuvError> {
    let shuffle = match fourcc {
        Fourcc::ARGB8888 | Fourcc::XRGB8888 => Some(yuv::bgra_to_rgba as Shuffle),
        Fourcc::RGB888 => Some(yuv::bgr_to_rgba as Shuffle),
        Fourcc::BGR888 => Some(yuv::rgb_to_rgba as Shuffle),
        _ => None,
    };
    if let Some(shuffle) = shuffle {
        shuffle(
            from.data,
            from.stride32(),
            to,
            super::planes::stride32(stride),
            width,
            height,
        )?;
    }
    let bytes = pixel_bytes(fourcc) * width as usize;
    for (i, to) in to.chunks_exact_mut(stride).take(height as usize).enumerate() {
        let (from, to) = (from.row(i, bytes), &mut to[..4 * width as usize]);
        let eight = order_bytes(fourcc, from, to);
        match (eight, limited) {
            (true, true) => expand(to),
            (true, false) => {}
            (false, true) => reduce::<true>(fourcc, from, to),
            (false, false) => reduce::<false>(fourcc, from, to),
        }
    }
    Ok(())
}

type Shuffle = fn(&[u8], u32, &mut [u8], u32, u32, u32) -> Result<(), yuv::YuvError>;

/// A row of samples of 8 bits, which only change places. Whether it is one.
fn order_bytes(fourcc: Fourcc, from: &[u8], to: &mut [u8]) -> bool {
    match fourcc {
        // Shuffled already.
        Fourcc::ARGB8888 | Fourcc::RGB888 | Fourcc::BGR888 => {}
        Fourcc::XRGB8888 => opaque(to),
        Fourcc::ABGR8888 => to.copy_from_slice(from),
        Fourcc::XBGR8888 => {
            to.copy_from_slice(from);
            opaque(to);
        }
        Fourcc::RGBA8888 => each(from, to, |[a, b, g, r]| [r, g, b, a]),
        Fourcc::RGBX8888 => each(from, to, |[_, b, g, r]| [r, g, b, 255]),
        Fourcc::BGRA8888 => each(from, to, |[a, r, g, b]| [r, g, b, a]),
        Fourcc::BGRX8888 => each(from, to, |[_, r, g, b]| [r, g, b, 255]),
        Fourcc::GR88 => each(from, to, |[r, g]| [r, g, 0, 255]),
        Fourcc::RG88 => each(from, to, |[g, r]| [r, g, 0, 255]),
        _ => return false,
    }
    true
}

/// A row of any other samples.
fn reduce<const LIMITED: bool>(fourcc: Fourcc, from: &[u8], to: &mut [u8]) {
    match fourcc {
        Fourcc::GR1616 => each(from, to, |p: [u8; 4]| {
            [word::<LIMITED, 4>(p, 0), word::<LIMITED, 4>(p, 2), 0, 255]
        }),
        Fourcc::RG1616 => each(from, to, |p: [u8; 4]| {
            [word::<LIMITED, 4>(p, 2), word::<LIMITED, 4>(p, 0), 0, 255]
        }),
        Fourcc::RGB565 => each(from, to, |p| {
            let [high, mid, low] = five_six_five::<LIMITED>(p);
            [high, mid, low, 255]
        }),
        Fourcc::BGR565 => each(from, to, |p| {
            let [high, mid, low] = five_six_five::<LIMITED>(p);
            [low, mid, high, 255]
        }),
        Fourcc::XRGB2101010 | Fourcc::ARGB2101010 => {
            let solid = fourcc == Fourcc::XRGB2101010;
            each(from, to, |p| {
                let [low, mid, high, a] = two_ten::<LIMITED>(p);
                [high, mid, low, if solid { 255 } else { a }]
            });
        }
        Fourcc::XBGR2101010 | Fourcc::ABGR2101010 => {
            let solid = fourcc == Fourcc::XBGR2101010;
            each(from, to, |p| {
                let [low, mid, high, a] = two_ten::<LIMITED>(p);
                [low, mid, high, if solid { 255 } else { a }]
            });
        }
        Fourcc::XBGR16161616 | Fourcc::ABGR16161616 => {
            let solid = fourcc == Fourcc::XBGR16161616;
            each(from, to, |p: [u8; 8]| {
                let [r, g, b] = [0, 2, 4].map(|at| word::<LIMITED, 8>(p, at));
                [r, g, b, if solid { 255 } else { word::<false, 8>(p, 6) }]
            });
        }
        Fourcc::XBGR16161616F | Fourcc::ABGR16161616F => {
            let solid = fourcc == Fourcc::XBGR16161616F;
            each(from, to, |p: [u8; 8]| {
                let [r, g, b] = [0, 2, 4].map(|at| half::<LIMITED, 8>(p, at));
                [r, g, b, if solid { 255 } else { half::<false, 8>(p, 6) }]
            });
        }
        // `is` keeps the others out.
        _ => {}
    }
}

/// Limited-range RGB of 8 bits to full range, alpha untouched.
fn expand(row: &mut [u8]) {
    for pixel in row.chunks_exact_mut(4) {
        for c in &mut pixel[..3] {
            *c = level::<true, 8>(u32::from(*c));
        }
    }
}

/// A code value of `BITS` as one of 8 bits and full range, rounded once.
///
/// Limited range is H.273's (equations 20 to 22): 219 * 2^(n - 8) steps from 16 * 2^(n - 8) on. What is shallower than 8
/// bits has none there, and is read as its expansion to 8 bits, which need not be whole.
fn level<const LIMITED: bool, const BITS: u32>(value: u32) -> u8 {
    let max = (1u32 << BITS) - 1;
    let (above, steps) = match (LIMITED, BITS >= 8) {
        (false, _) => (value, max),
        (true, true) => (
            value.saturating_sub(16 << BITS.saturating_sub(8)),
            219 << BITS.saturating_sub(8),
        ),
        (true, false) => ((value * 255).saturating_sub(16 * max), 219 * max),
    };
    ((above * 255 + steps / 2) / steps).min(255) as u8
}

fn each<const N: usize>(from: &[u8], to: &mut [u8], f: impl Fn([u8; N]) -> [u8; 4]) {
    for (to, from) in to.chunks_exact_mut(4).zip(from.chunks_exact(N)) {
        let mut pixel = [0; N];
        pixel.copy_from_slice(from);
        to.copy_from_slice(&f(pixel));
    }
}

fn opaque(row: &mut [u8]) {
    for pixel in row.chunks_exact_mut(4) {
        pixel[3] = 255;
    }
}

fn five_six_five<const LIMITED: bool>(pixel: [u8; 2]) -> [u8; 3] {
    let word = u32::from(u16::from_le_bytes(pixel));
    [
        level::<LIMITED, 5>(word >> 11),
        level::<LIMITED, 6>((word >> 5) & 63),
        level::<LIMITED, 5>(word & 31),
    ]
}

/// From the lowest 10 bits up, then 2 bits of alpha.
fn two_ten<const LIMITED: bool>(pixel: [u8; 4]) -> [u8; 4] {
    let word = u32::from_le_bytes(pixel);
    let ten = |shift: u32| level::<LIMITED, 10>((word >> shift) & 0x3ff);
    [ten(0), ten(10), ten(20), (word >> 30) as u8 * 85]
}

fn word<const LIMITED: bool, const N: usize>(pixel: [u8; N], at: usize) -> u8 {
    level::<LIMITED, 16>(u32::from(u16::from_le_bytes([pixel[at], pixel[at + 1]])))
}

/// A half float, cut to 0..=1; NaN is 0. They have no code values: limited ones are read as if of 8 bits.
fn half<const LIMITED: bool, const N: usize>(pixel: [u8; N], at: usize) -> u8 {
    let bits = u16::from_le_bytes([pixel[at], pixel[at + 1]]);
    let (exponent, mantissa) = (u32::from(bits >> 10) & 31, u32::from(bits & 0x3ff));
    let negative = bits >> 15 != 0;
    if negative || (exponent == 31 && mantissa != 0) {
        return 0;
    }
    // Zero and subnormals are below 2^-14 and round to 0; the others get f32's bias.
    if exponent == 0 {
        return 0;
    }
    let value = f32::from_bits(((exponent + 112) << 23) | (mantissa << 13)).min(1.0) * 255.0;
    let value = if LIMITED {
        (value - 16.0) * (255.0 / 219.0)
    } else {
        value
    };
    (value + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_floats_are_cut_and_rounded() {
        let eight = |bits: u16| half::<false, 2>(bits.to_le_bytes(), 0);
        // 0, 1, 0.5, 2, infinity, -1, NaN, the smallest normal.
        let bits = [0, 0x3c00, 0x3800, 0x4000, 0x7c00, 0xbc00, 0x7e00, 0x0400];
        assert_eq!(bits.map(eight), [0, 255, 128, 255, 255, 0, 0, 0]);
    }
}
