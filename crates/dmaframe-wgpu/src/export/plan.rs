//! Formats, places and colours.

use bytemuck::{Pod, Zeroable};
use dmaframe_core::{ChromaSiting, ColorInfo, Fourcc, Layout, Range, Size};

use crate::Error;

pub(crate) const SHADER: &str = include_str!("export.wgsl");

const BLUE_FIRST: u32 = 1;
const OPAQUE: u32 = 2;
const LEFT: u32 = 4;
const TOP: u32 = 8;
const V_FIRST: u32 = 16;
const BOTTOM: u32 = 32;

/// The shader's uniforms.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Params {
    size: [u32; 2],
    planes: [[u32; 2]; 3],
    flags: u32,
    pad: [u32; 3],
    y: [f32; 4],
    cb: [f32; 4],
    cr: [f32; 4],
}

/// How one format is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The shader's function.
    pub(crate) entry: &'static str,
    /// Columns and rows that an invocation writes.
    block: [u32; 2],
    flags: u32,
    fourcc: Fourcc,
    size: Size,
    /// What the frames say about their colour.
    pub(crate) color: ColorInfo,
    rows: [[f32; 4]; 3],
}

/// Columns and rows of a workgroup.
const GROUP: [u32; 2] = [16, 8];

impl Plan {
    pub(crate) fn new(fourcc: Fourcc, size: Size, color: ColorInfo) -> Result<Self, Error> {
        let (entry, block, mut flags) = match fourcc {
            Fourcc::ABGR8888 => ("rgb", [1, 1], 0),
            Fourcc::XBGR8888 => ("rgb", [1, 1], OPAQUE),
            Fourcc::ARGB8888 => ("rgb", [1, 1], BLUE_FIRST),
            Fourcc::XRGB8888 => ("rgb", [1, 1], BLUE_FIRST | OPAQUE),
            Fourcc::NV12 => ("nv12", [4, 2], 0),
            Fourcc::NV21 => ("nv12", [4, 2], V_FIRST),
            Fourcc::YUV420 => ("planar", [8, 2], 0),
            Fourcc::YVU420 => ("planar", [8, 2], V_FIRST),
            Fourcc::YUYV => ("yuyv", [2, 1], 0),
            _ => return Err(Error::ExportFormat { fourcc }),
        };
        let (color, rows) = if entry == "rgb" {
            (rgb(color), [[0.0; 4]; 3])
        } else {
            let color = yuv(color, size);
            let (kr, kb) = luma_weights(color.matrix).ok_or(Error::ExportMatrix {
                fourcc,
                matrix: color.matrix,
            })?;
            match color.siting {
                ChromaSiting::Left => flags |= LEFT,
                ChromaSiting::TopLeft => flags |= LEFT | TOP,
                ChromaSiting::Top => flags |= TOP,
                ChromaSiting::BottomLeft => flags |= LEFT | BOTTOM,
                ChromaSiting::Bottom => flags |= BOTTOM,
                // The mean of its pixels.
                _ => {}
            }
            (color, encoding(kr, kb, color.range))
        };
        Ok(Self {
            entry,
            block,
            flags,
            fourcc,
            size,
            color,
            rows,
        })
    }

    /// Workgroups to dispatch.
    pub(crate) fn groups(&self) -> [u32; 2] {
        let of = |pixels: u32, i: usize| pixels.div_ceil(self.block[i]).div_ceil(GROUP[i]);
        [of(self.size.width, 0), of(self.size.height, 1)]
    }

    /// A layout whose rows the shader writes, for memory of the pool's own.
    pub(crate) fn layout(&self) -> Result<Layout, Error> {
        Layout::linear(self.fourcc, self.size, 256).map_err(|e| Error::Frame(e.into()))
    }

    /// The uniforms for memory of this layout, in one object of `len` bytes.
    ///
    /// Stores are words, so rows must begin at words; then no word of one row is in another, nor in another plane.
    pub(crate) fn params(&self, layout: &Layout, len: u64) -> Result<Params, String> {
        if (layout.fourcc(), layout.size()) != (self.fourcc, self.size) {
            return Err(format!(
                "the slot is {} {}, the pool {} {}",
                layout.fourcc(),
                layout.size(),
                self.fourcc,
                self.size
            ));
        }
        if !layout.modifier().is_linear() {
            return Err(format!("modifier {} is not LINEAR", layout.modifier()));
        }
        let mut planes = [[0; 2]; 3];
        for (index, (plane, to)) in layout.planes().iter().zip(&mut planes).enumerate() {
            if plane.object != 0 {
                return Err(format!(
                    "plane {index} is in object {}, only object 0 is written",
                    plane.object
                ));
            }
            if !plane.offset.is_multiple_of(4) || !plane.stride.is_multiple_of(4) {
                return Err(format!(
                    "plane {index}: offset {} and stride {} must be multiples of 4",
                    plane.offset, plane.stride
                ));
            }
            let row = (layout.row_bytes(index) as u64).next_multiple_of(4);
            let end = plane.offset + u64::from(plane.stride) * u64::from(layout.rows(index) - 1) + row;
            if end > len {
                return Err(format!(
                    "plane {index}: the last row's last word ends at {end}, the object at {len}"
                ));
            }
            let words =
                |bytes: u64| u32::try_from(bytes / 4).map_err(|_| format!("plane {index} is past 16 GiB"));
            *to = [words(plane.offset)?, words(plane.stride.into())?];
        }
        Ok(Params {
            size: [self.size.width, self.size.height],
            planes,
            flags: self.flags,
            pad: [0; 3],
            y: self.rows[0],
            cb: self.rows[1],
            cr: self.rows[2],
        })
    }
}

/// RGB has no matrix, and all of its range.
fn rgb(color: ColorInfo) -> ColorInfo {
    ColorInfo {
        matrix: 0,
        range: Range::Full,
        siting: ChromaSiting::Unspecified,
        ..color
    }
}

/// What is left open becomes the custom of video: HD is BT.709, smaller is BT.601, both limited. Chroma that nobody
/// placed is the mean of its pixels, and the frame says so.
fn yuv(color: ColorInfo, size: Size) -> ColorInfo {
    let custom = if size.width >= 1280 || size.height > 576 {
        ColorInfo::BT709
    } else {
        ColorInfo::BT601
    };
    // An RGB matrix is what the source had; the output is not RGB.
    let or = |said: u8, custom: u8, none: u8| if said == 2 || said == none { custom } else { said };
    ColorInfo {
        primaries: or(color.primaries, custom.primaries, 2),
        transfer: or(color.transfer, custom.transfer, 2),
        matrix: or(color.matrix, custom.matrix, 0),
        range: if color.range == Range::Full && color.matrix != 0 {
            Range::Full
        } else {
            Range::Limited
        },
        siting: match color.siting {
            ChromaSiting::Unspecified => ChromaSiting::Center,
            said => said,
        },
    }
}

/// Kr and Kb of H.273 table 4, for the matrices that have them.
fn luma_weights(matrix: u8) -> Option<(f64, f64)> {
    Some(match matrix {
        1 => (0.2126, 0.0722),
        4 => (0.30, 0.11),
        5 | 6 => (0.299, 0.114),
        7 => (0.212, 0.087),
        9 => (0.2627, 0.0593),
        _ => return None,
    })
}

/// Code values from RGB in 0..1 (H.273, equations 23 to 25 and 38 to 40 for 8 bits).
#[allow(clippy::cast_possible_truncation, reason = "what the shader computes with")]
fn encoding(kr: f64, kb: f64, range: Range) -> [[f32; 4]; 3] {
    let kg = 1.0 - kr - kb;
    let (luma, black, chroma) = match range {
        Range::Full => (255.0, 0.0, 255.0),
        _ => (219.0, 16.0, 224.0),
    };
    let (b, r) = (chroma / (2.0 * (1.0 - kb)), chroma / (2.0 * (1.0 - kr)));
    [
        [kr * luma, kg * luma, kb * luma, black],
        [-kr * b, -kg * b, (1.0 - kb) * b, 128.0],
        [(1.0 - kr) * r, -kg * r, -kb * r, 128.0],
    ]
    .map(|row: [f64; 4]| row.map(|v| v as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmaframe_core::{Modifier, Plane};

    fn code(row: [f32; 4], rgb: [f32; 3]) -> f32 {
        row[0] * rgb[0] + row[1] * rgb[1] + row[2] * rgb[2] + row[3]
    }

    #[test]
    fn the_primaries_have_the_code_values_of_the_books() {
        // 100 % colour bars of BT.709 limited (SMPTE RP 219 / ITU-R BT.1120 table), to a code value.
        let rows = encoding(0.2126, 0.0722, Range::Limited);
        let of = |rgb| rows.map(|row| code(row, rgb).round() as i32);
        assert_eq!(of([1.0, 1.0, 1.0]), [235, 128, 128]);
        assert_eq!(of([1.0, 0.0, 0.0]), [63, 102, 240]);
        assert_eq!(of([0.0, 1.0, 0.0]), [173, 42, 26]);
        assert_eq!(of([0.0, 0.0, 1.0]), [32, 240, 118]);
        let jpeg = encoding(0.299, 0.114, Range::Full).map(|row| code(row, [1.0, 0.0, 0.0]).round() as i32);
        assert_eq!(jpeg, [76, 85, 256], "the shader cuts at 255");
    }

    #[test]
    fn what_nobody_said_is_said_in_the_frame() {
        let plan = |color, size| Plan::new(Fourcc::NV12, size, color).unwrap().color;
        let small = plan(ColorInfo::UNSPECIFIED, Size::new(640, 480));
        assert_eq!(
            (small.matrix, small.range, small.siting),
            (6, Range::Limited, ChromaSiting::Center)
        );
        assert_eq!(plan(ColorInfo::SRGB, Size::new(1920, 1080)).matrix, 1);
        assert_eq!(plan(ColorInfo::JFIF, Size::new(1920, 1080)), ColorInfo::JFIF);
        let rgb = Plan::new(Fourcc::XRGB8888, Size::new(4, 4), ColorInfo::BT709)
            .unwrap()
            .color;
        assert_eq!((rgb.matrix, rgb.range), (0, Range::Full));
        assert!(
            Plan::new(
                Fourcc::NV12,
                Size::new(4, 4),
                ColorInfo {
                    matrix: 8,
                    ..ColorInfo::BT709
                }
            )
            .is_err()
        );
        assert!(Plan::new(Fourcc::P010, Size::new(4, 4), ColorInfo::BT709).is_err());
    }

    #[test]
    fn rows_that_do_not_begin_at_words_are_refused_by_number() {
        let size = Size::new(6, 2);
        let plan = Plan::new(Fourcc::NV12, size, ColorInfo::BT709).unwrap();
        let layout = |offset, stride, len| {
            let planes = [(0, stride), (offset, stride)].map(|(offset, stride)| Plane {
                object: 0,
                offset,
                stride,
            });
            Layout::check(Fourcc::NV12, Modifier::LINEAR, size, &planes, &[len]).unwrap()
        };
        assert!(plan.params(&layout(16, 8, 24), 24).is_ok());
        let odd = plan.params(&layout(18, 8, 26), 28).unwrap_err();
        assert_eq!(odd, "plane 1: offset 18 and stride 8 must be multiples of 4");
        assert!(
            plan.params(&layout(12, 6, 18), 20)
                .unwrap_err()
                .contains("stride 6")
        );
        // The chroma row's 6 bytes take 8.
        assert!(
            plan.params(&layout(16, 8, 22), 22)
                .unwrap_err()
                .contains("ends at 24")
        );
    }
}
