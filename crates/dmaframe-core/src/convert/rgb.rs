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

/// Converts `size` pixels of `from` into `to`, which holds whole strides. The `yuv` crate shuffles what it knows the
/// order of; the rest is here, rounded as a GPU reads it (UNORM: nearest of n / max * 255).
pub(super) fn convert(
    fourcc: Fourcc,
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
        match fourcc {
            // Shuffled above.
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
            Fourcc::GR1616 => each(from, to, |p: [u8; 4]| [word(p, 0), word(p, 2), 0, 255]),
            Fourcc::RG1616 => each(from, to, |p: [u8; 4]| [word(p, 2), word(p, 0), 0, 255]),
            Fourcc::RGB565 => each(from, to, |p| {
                let [high, mid, low] = five_six_five(p);
                [high, mid, low, 255]
            }),
            Fourcc::BGR565 => each(from, to, |p| {
                let [high, mid, low] = five_six_five(p);
                [low, mid, high, 255]
            }),
            Fourcc::XRGB2101010 | Fourcc::ARGB2101010 => {
                let solid = fourcc == Fourcc::XRGB2101010;
                each(from, to, |p| {
                    let [low, mid, high, a] = two_ten(p);
                    [high, mid, low, if solid { 255 } else { a }]
                });
            }
            Fourcc::XBGR2101010 | Fourcc::ABGR2101010 => {
                let solid = fourcc == Fourcc::XBGR2101010;
                each(from, to, |p| {
                    let [low, mid, high, a] = two_ten(p);
                    [low, mid, high, if solid { 255 } else { a }]
                });
            }
            Fourcc::ABGR16161616 => {
                each(from, to, |p: [u8; 8]| {
                    [word(p, 0), word(p, 2), word(p, 4), word(p, 6)]
                });
            }
            Fourcc::XBGR16161616 => each(from, to, |p: [u8; 8]| [word(p, 0), word(p, 2), word(p, 4), 255]),
            Fourcc::ABGR16161616F => {
                each(from, to, |p: [u8; 8]| {
                    [half(p, 0), half(p, 2), half(p, 4), half(p, 6)]
                });
            }
            Fourcc::XBGR16161616F => each(from, to, |p: [u8; 8]| [half(p, 0), half(p, 2), half(p, 4), 255]),
            // `is` keeps the others out.
            _ => {}
        }
    }
    Ok(())
}

type Shuffle = fn(&[u8], u32, &mut [u8], u32, u32, u32) -> Result<(), yuv::YuvError>;

/// Limited-range RGB to full range, alpha untouched.
pub(super) fn expand_limited(row: &mut [u8]) {
    for pixel in row.chunks_exact_mut(4) {
        for c in &mut pixel[..3] {
            let level = u32::from(c.saturating_sub(16)) * 255;
            *c = ((level + 109) / 219).min(255) as u8;
        }
    }
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

fn unorm(value: u32, max: u32) -> u8 {
    ((value * 255 + max / 2) / max) as u8
}

fn five_six_five(pixel: [u8; 2]) -> [u8; 3] {
    let word = u32::from(u16::from_le_bytes(pixel));
    [
        unorm(word >> 11, 31),
        unorm((word >> 5) & 63, 63),
        unorm(word & 31, 31),
    ]
}

/// From the lowest 10 bits up, then 2 bits of alpha.
fn two_ten(pixel: [u8; 4]) -> [u8; 4] {
    let word = u32::from_le_bytes(pixel);
    let ten = |shift: u32| unorm((word >> shift) & 0x3ff, 1023);
    [ten(0), ten(10), ten(20), (word >> 30) as u8 * 85]
}

fn word<const N: usize>(pixel: [u8; N], at: usize) -> u8 {
    unorm(u32::from(u16::from_le_bytes([pixel[at], pixel[at + 1]])), 65535)
}

/// A half float, cut to 0..=1; NaN is 0.
fn half<const N: usize>(pixel: [u8; N], at: usize) -> u8 {
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
    let value = f32::from_bits(((exponent + 112) << 23) | (mantissa << 13));
    (value.min(1.0) * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_floats_are_cut_and_rounded() {
        let eight = |bits: u16| half(bits.to_le_bytes(), 0);
        // 0, 1, 0.5, 2, infinity, -1, NaN, the smallest normal.
        let bits = [0, 0x3c00, 0x3800, 0x4000, 0x7c00, 0xbc00, 0x7e00, 0x0400];
        assert_eq!(bits.map(eight), [0, 255, 128, 255, 255, 0, 0, 0]);
    }
}
