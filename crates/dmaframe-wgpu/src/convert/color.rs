//! From H.273 code points to the three rows that make red, green and blue of a sample's code values.

use dmaframe_core::format::Model;
use dmaframe_core::{Assume, ColorInfo, Fourcc, Range, Size};

use super::ConvertError;
use super::kind::Kind;

/// How a source's samples are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// What the frame said, and for the rest what was assumed.
    pub(crate) color: ColorInfo,
    /// Whether matrix or range was assumed.
    pub(crate) assumed: bool,
    /// Red, green and blue from (first, second, third sample, 1): luma, Cb and Cr as code values, or red, green and
    /// blue from 0 to 1.
    pub(crate) rows: [[f32; 4]; 3],
}

impl Reading {
    /// The same rules as the core's CPU conversion.
    pub(crate) fn of(
        fourcc: Fourcc,
        kind: Kind,
        size: Size,
        said: ColorInfo,
        assume: Assume,
    ) -> Result<Self, ConvertError> {
        if !kind.is_yuv() && !matches!(kind, Kind::Gray { .. }) {
            // RGB has no matrix, and its range is full unless the producer says otherwise: nothing to assume.
            let mut color = said;
            color.matrix = 0;
            if color.range != Range::Limited || matches!(kind, Kind::Bayer { .. }) {
                color.range = Range::Full;
            }
            if assume != Assume::Refuse {
                let custom = match assume {
                    Assume::As(color) => color,
                    _ => ColorInfo::SRGB,
                };
                fill(&mut color.primaries, custom.primaries);
                fill(&mut color.transfer, custom.transfer);
            }
            return Ok(Self {
                color,
                assumed: false,
                rows: rgb_rows(color.range, kind.bits()),
            });
        }
        let model = fourcc.info().map_or(Model::Yuv, |info| info.model);
        let (color, assumed) = assume
            .complete(said, model, size)
            .map_err(|what| ConvertError::Unspecified { fourcc, what })?;
        let mut weights = (0.2126, 0.0722);
        if kind.is_yuv() {
            weights = kr_kb(color.matrix).ok_or(ConvertError::Matrix {
                fourcc,
                matrix: color.matrix,
            })?;
        }
        Ok(Self {
            color,
            assumed,
            rows: if kind.is_yuv() {
                yuv_rows(weights, color.range, kind.bits())
            } else {
                gray_rows(color.range, kind.bits())
            },
        })
    }
}

/// Kr and Kb of H.273 table 4, where a matrix is made of them.
fn kr_kb(matrix: u8) -> Option<(f64, f64)> {
    Some(match matrix {
        1 => (0.2126, 0.0722),
        4 => (0.30, 0.11),
        5 | 6 => (0.299, 0.114),
        7 => (0.212, 0.087),
        9 => (0.2627, 0.0593),
        _ => return None,
    })
}

/// H.273 8.3 (equations 23 ff.) turned around, for code values of `bits`.
fn yuv_rows((kr, kb): (f64, f64), range: Range, bits: u32) -> [[f32; 4]; 3] {
    let scale = f64::from(1u32 << (bits - 8));
    let max = f64::from((1u32 << bits) - 1);
    let (black, luma, chroma) = if range == Range::Full {
        (0.0, max, max)
    } else {
        (16.0 * scale, 219.0 * scale, 224.0 * scale)
    };
    let (ky, neutral) = (1.0 / luma, 128.0 * scale);
    let kg = 1.0 - kr - kb;
    let (rv, bu) = (2.0 * (1.0 - kr) / chroma, 2.0 * (1.0 - kb) / chroma);
    let (gu, gv) = (-kb * bu / kg, -kr * rv / kg);
    let row = |u: f64, v: f64| [ky, u, v, -ky * black - (u + v) * neutral].map(|x| x as f32);
    [row(0.0, rv), row(gu, gv), row(bu, 0.0)]
}

/// Luma alone: nothing is neutral that would have to be taken off.
fn gray_rows(range: Range, bits: u32) -> [[f32; 4]; 3] {
    let scale = f64::from(1u32 << (bits - 8));
    let (black, luma) = if range == Range::Full {
        (0.0, f64::from((1u32 << bits) - 1))
    } else {
        (16.0 * scale, 219.0 * scale)
    };
    [[1.0 / luma, 0.0, 0.0, -black / luma].map(|x| x as f32); 3]
}

/// For samples from 0 to 1, made of code values of `bits`. What is shallower than 8 bits is read as its 8-bit expansion.
fn rgb_rows(range: Range, bits: u32) -> [[f32; 4]; 3] {
    let bits = bits.clamp(8, 16);
    let max = f64::from((1u32 << bits) - 1);
    let (scale, offset) = if range == Range::Limited {
        let luma = f64::from(219u32 << (bits - 8));
        ((max / luma) as f32, (-16.0 / 219.0) as f32)
    } else {
        (1.0, 0.0)
    };
    std::array::from_fn(|i| {
        let mut row = [0.0, 0.0, 0.0, offset];
        row[i] = scale;
        row
    })
}

fn fill(field: &mut u8, custom: u8) {
    if *field == 2 {
        *field = custom;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limited_rgb_has_its_black_and_white_at_every_depth() {
        for fourcc in [Fourcc::XRGB8888, Fourcc::XRGB2101010, Fourcc::XBGR16161616] {
            let kind = Kind::of(fourcc).unwrap();
            let limited = ColorInfo {
                range: Range::Limited,
                ..ColorInfo::SRGB
            };
            let reading = Reading::of(fourcc, kind, Size::new(8, 8), limited, Assume::Refuse).unwrap();
            let (bits, max) = (kind.bits(), f64::from((1u32 << kind.bits()) - 1));
            let row = reading.rows[0].map(f64::from);
            for (level, wanted) in [(16u32, 0.0), (235, 1.0)] {
                let sample = f64::from(level << (bits - 8)) / max;
                let got = row[0] * sample + row[3];
                assert!((got - wanted).abs() < 1e-6, "{fourcc} at {level}: {got}");
            }
        }
        // Half floats have no code values of their own.
        assert_eq!(rgb_rows(Range::Limited, 8), rgb_rows(Range::Limited, 5));
    }

    #[test]
    fn black_white_and_primaries_come_out_at_every_depth() {
        for bits in [8, 10, 12, 16] {
            let scale = f64::from(1u32 << (bits - 8));
            let rows = yuv_rows((0.2126, 0.0722), Range::Limited, bits);
            let rgb = |y: f64, u: f64, v: f64| {
                rows.map(|row| {
                    let sum = [y, u, v, 1.0 / scale].into_iter().zip(row);
                    sum.map(|(s, k)| s * scale * f64::from(k)).sum::<f64>()
                })
            };
            for (got, want) in [
                (rgb(16.0, 128.0, 128.0), [0.0, 0.0, 0.0]),
                (rgb(235.0, 128.0, 128.0), [1.0, 1.0, 1.0]),
                // Red: Y = Kr, Cr at its end.
                (
                    rgb(16.0 + 219.0 * 0.2126, 128.0 - 224.0 * 0.2126 / 1.8556, 240.0),
                    [1.0, 0.0, 0.0],
                ),
            ] {
                for (got, want) in got.iter().zip(want) {
                    assert!((got - want).abs() < 1e-4, "{bits} bits: {got} for {want}");
                }
            }
        }
    }
}
