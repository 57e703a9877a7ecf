//! How each format's samples are read: the shader's constants.

use dmaframe_core::Fourcc;

/// How samples lie in a row's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Packing {
    /// One byte each.
    Byte,
    /// Little-endian 16-bit words, `shift` unused bits below the sample.
    Word { shift: u32 },
    /// Four of 10 bits in five bytes, a little-endian bit stream (NV15, NV20, NV30).
    Le10,
    /// Three of 10 bits in a little-endian 32-bit word (P030).
    Le10Of32,
    /// CSI-2 RAW10: the upper 8 bits of four, then a byte with their lower 2.
    Csi10,
    /// CSI-2 RAW12: the upper 8 bits of two, then a byte with their lower 4.
    Csi12,
    /// CSI-2 RAW14: the upper 8 bits of four, then three bytes with their lower 6.
    Csi14,
}

/// A component inside a pixel: lowest bit, counted from the pixel's first byte's, and how many bits.
pub(crate) type Field = (u32, u32);

/// Chroma sub-sampling as shifts: columns, rows.
pub(crate) type Sub = (u32, u32);

/// A reader and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Luma, then interleaved chroma; `swap` is Cr first.
    Nv {
        sub: Sub,
        swap: bool,
        packing: Packing,
        bits: u32,
    },
    /// Three 8-bit planes; `swap` is Cr first.
    Planar { sub: Sub, swap: bool },
    /// Two pixels in four samples: where luma, Cb and Cr are, in samples. 8 bits, or the upper 10 of 16-bit words.
    Packed422 { y: u32, u: u32, v: u32, wide: bool },
    /// 8 bit, packed 4:4:4: bytes of a pixel and where Y, Cb, Cr and alpha are.
    Packed444 {
        bytes: u32,
        at: [u32; 3],
        alpha: Option<u32>,
    },
    /// One channel.
    Gray { packing: Packing, bits: u32 },
    /// Red, green, blue, alpha in a pixel of `bytes`; fields of no bits are not there.
    Rgb { bytes: u32, fields: [Field; 4] },
    /// Four half floats in the order red, green, blue, alpha.
    Half { alpha: bool },
    /// A mosaic whose upper left red sample is at `red` (column, row).
    Bayer {
        red: (u32, u32),
        packing: Packing,
        bits: u32,
    },
}

const S420: Sub = (1, 1);
const S422: Sub = (1, 0);
const S444: Sub = (0, 0);

impl Kind {
    /// The reader of a format; `None` for a code that is not in the core's table.
    pub(crate) fn of(fourcc: Fourcc) -> Option<Self> {
        Some(match fourcc {
            Fourcc::NV12 => nv(S420, false),
            Fourcc::NV21 => nv(S420, true),
            Fourcc::NV16 => nv(S422, false),
            Fourcc::NV61 => nv(S422, true),
            Fourcc::NV24 => nv(S444, false),
            Fourcc::NV42 => nv(S444, true),
            Fourcc::NV15 => deep(S420, Packing::Le10, 10),
            Fourcc::NV20 => deep(S422, Packing::Le10, 10),
            Fourcc::NV30 => deep(S444, Packing::Le10, 10),
            Fourcc::P010 => deep(S420, Packing::Word { shift: 6 }, 10),
            Fourcc::P012 => deep(S420, Packing::Word { shift: 4 }, 12),
            Fourcc::P016 => deep(S420, Packing::Word { shift: 0 }, 16),
            Fourcc::P210 => deep(S422, Packing::Word { shift: 6 }, 10),
            Fourcc::P030 => deep(S420, Packing::Le10Of32, 10),
            Fourcc::YUV420 => planar(S420, false),
            Fourcc::YVU420 => planar(S420, true),
            Fourcc::YUV422 => planar(S422, false),
            Fourcc::YVU422 => planar(S422, true),
            Fourcc::YUV444 => planar(S444, false),
            Fourcc::YVU444 => planar(S444, true),
            Fourcc::YUYV => packed422(0, 1, 3, false),
            Fourcc::YVYU => packed422(0, 3, 1, false),
            Fourcc::UYVY => packed422(1, 0, 2, false),
            Fourcc::VYUY => packed422(1, 2, 0, false),
            Fourcc::Y210 => packed422(0, 1, 3, true),
            Fourcc::AYUV => packed444(4, [2, 1, 0], Some(3)),
            Fourcc::XYUV8888 => packed444(4, [2, 1, 0], None),
            Fourcc::VUY888 => packed444(3, [0, 1, 2], None),
            Fourcc::R8 => gray(Packing::Byte, 8),
            Fourcc::R10 => gray(WORD, 10),
            Fourcc::R12 => gray(WORD, 12),
            Fourcc::R16 => gray(WORD, 16),
            Fourcc::XBGR16161616F => Self::Half { alpha: false },
            Fourcc::ABGR16161616F => Self::Half { alpha: true },
            _ => return rgb(fourcc).or_else(|| bayer(fourcc)),
        })
    }

    /// Whether reading needs a matrix and a range.
    pub(crate) fn is_yuv(self) -> bool {
        matches!(
            self,
            Self::Nv { .. } | Self::Planar { .. } | Self::Packed422 { .. } | Self::Packed444 { .. }
        )
    }

    /// Bits of a sample: of the deepest one, where red, green and blue have their own.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Nv { bits, .. } | Self::Gray { bits, .. } | Self::Bayer { bits, .. } => bits,
            Self::Packed422 { wide: true, .. } => 10,
            Self::Rgb {
                fields: [r, g, b, _], ..
            } => r.1.max(g.1).max(b.1),
            _ => 8,
        }
    }

    /// Chroma sub-sampling; none for what has no chroma.
    pub(crate) fn sub(self) -> Sub {
        match self {
            Self::Nv { sub, .. } | Self::Planar { sub, .. } => sub,
            Self::Packed422 { .. } => S422,
            _ => S444,
        }
    }

    /// Planes.
    pub(crate) fn planes(self) -> usize {
        match self {
            Self::Nv { .. } => 2,
            Self::Planar { .. } => 3,
            _ => 1,
        }
    }

    /// Bytes that are read at once from a plane, if offset and stride allow: what they have to be multiples of.
    pub(crate) fn unit(self, plane: usize) -> u32 {
        let of = |packing: Packing| match packing {
            Packing::Byte => 1,
            Packing::Word { .. } => 2,
            Packing::Le10Of32 => 4,
            // Their blocks begin anywhere: nothing is gained by alignment.
            _ => 1,
        };
        match self {
            Self::Nv { packing, .. } => match packing {
                Packing::Byte | Packing::Word { .. } if plane == 1 => 2 * of(packing),
                _ => of(packing),
            },
            Self::Planar { .. } => 1,
            Self::Gray { packing, .. } | Self::Bayer { packing, .. } => of(packing),
            Self::Packed422 { .. } | Self::Half { .. } => 4,
            Self::Packed444 { bytes, .. } | Self::Rgb { bytes, .. } => match bytes {
                2 => 2,
                3 => 1,
                _ => 4,
            },
        }
    }

    /// Bytes of a plane's texel, where the plane can be a texture: samples that share bytes over texel borders cannot.
    pub(crate) fn texel_bytes(self, plane: usize) -> Option<u32> {
        let of = |packing: Packing| match packing {
            Packing::Byte => Some(1),
            Packing::Word { .. } => Some(2),
            _ => None,
        };
        match self {
            Self::Nv { packing, .. } => of(packing).map(|bytes| if plane == 1 { 2 * bytes } else { bytes }),
            Self::Planar { .. } => Some(1),
            Self::Gray { packing, .. } | Self::Bayer { packing, .. } => of(packing),
            Self::Packed422 { wide, .. } => Some(if wide { 8 } else { 4 }),
            Self::Half { .. } => Some(8),
            Self::Packed444 { bytes, .. } | Self::Rgb { bytes, .. } => (bytes != 3).then_some(bytes),
        }
    }
}

const WORD: Packing = Packing::Word { shift: 0 };

fn nv(sub: Sub, swap: bool) -> Kind {
    Kind::Nv {
        sub,
        swap,
        packing: Packing::Byte,
        bits: 8,
    }
}

fn deep(sub: Sub, packing: Packing, bits: u32) -> Kind {
    Kind::Nv {
        sub,
        swap: false,
        packing,
        bits,
    }
}

fn planar(sub: Sub, swap: bool) -> Kind {
    Kind::Planar { sub, swap }
}

fn packed422(y: u32, u: u32, v: u32, wide: bool) -> Kind {
    Kind::Packed422 { y, u, v, wide }
}

fn packed444(bytes: u32, at: [u32; 3], alpha: Option<u32>) -> Kind {
    Kind::Packed444 { bytes, at, alpha }
}

fn gray(packing: Packing, bits: u32) -> Kind {
    Kind::Gray { packing, bits }
}

/// By the fields' order from the lowest bit of the first byte on: DRM's names read backwards.
fn rgb(fourcc: Fourcc) -> Option<Kind> {
    let spec: &[(char, u32)] = match fourcc {
        Fourcc::GR88 => &[('r', 8), ('g', 8)],
        Fourcc::RG88 => &[('g', 8), ('r', 8)],
        Fourcc::GR1616 => &[('r', 16), ('g', 16)],
        Fourcc::RG1616 => &[('g', 16), ('r', 16)],
        Fourcc::RGB565 => &[('b', 5), ('g', 6), ('r', 5)],
        Fourcc::BGR565 => &[('r', 5), ('g', 6), ('b', 5)],
        Fourcc::RGB888 => &[('b', 8), ('g', 8), ('r', 8)],
        Fourcc::BGR888 => &[('r', 8), ('g', 8), ('b', 8)],
        Fourcc::XRGB8888 => &[('b', 8), ('g', 8), ('r', 8), ('x', 8)],
        Fourcc::ARGB8888 => &[('b', 8), ('g', 8), ('r', 8), ('a', 8)],
        Fourcc::XBGR8888 => &[('r', 8), ('g', 8), ('b', 8), ('x', 8)],
        Fourcc::ABGR8888 => &[('r', 8), ('g', 8), ('b', 8), ('a', 8)],
        Fourcc::RGBX8888 => &[('x', 8), ('b', 8), ('g', 8), ('r', 8)],
        Fourcc::RGBA8888 => &[('a', 8), ('b', 8), ('g', 8), ('r', 8)],
        Fourcc::BGRX8888 => &[('x', 8), ('r', 8), ('g', 8), ('b', 8)],
        Fourcc::BGRA8888 => &[('a', 8), ('r', 8), ('g', 8), ('b', 8)],
        Fourcc::XRGB2101010 => &[('b', 10), ('g', 10), ('r', 10), ('x', 2)],
        Fourcc::ARGB2101010 => &[('b', 10), ('g', 10), ('r', 10), ('a', 2)],
        Fourcc::XBGR2101010 => &[('r', 10), ('g', 10), ('b', 10), ('x', 2)],
        Fourcc::ABGR2101010 => &[('r', 10), ('g', 10), ('b', 10), ('a', 2)],
        Fourcc::XBGR16161616 => &[('r', 16), ('g', 16), ('b', 16), ('x', 16)],
        Fourcc::ABGR16161616 => &[('r', 16), ('g', 16), ('b', 16), ('a', 16)],
        _ => return None,
    };
    let mut fields = [(0, 0); 4];
    let mut bit = 0;
    for (name, bits) in spec {
        if let Some(index) = "rgba".find(*name) {
            fields[index] = (bit, *bits);
        }
        bit += bits;
    }
    Some(Kind::Rgb {
        bytes: bit / 8,
        fields,
    })
}

fn bayer(fourcc: Fourcc) -> Option<Kind> {
    let info = fourcc.info()?;
    let plane = info.planes().first()?;
    Some(Kind::Bayer {
        red: info.red()?,
        packing: match (plane.block_width, plane.block_bytes) {
            (1, 1) => Packing::Byte,
            (1, 2) => WORD,
            (4, 5) => Packing::Csi10,
            (2, 3) => Packing::Csi12,
            (4, 7) => Packing::Csi14,
            _ => return None,
        },
        bits: info.depth.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmaframe_core::format::{Model, all_formats};

    #[test]
    fn every_format_of_the_table_has_a_reader_of_its_model_and_planes() {
        for info in all_formats() {
            let kind = Kind::of(info.fourcc).unwrap_or_else(|| panic!("{}", info.name));
            let model = match kind {
                Kind::Gray { .. } => Model::Gray,
                Kind::Rgb { .. } | Kind::Half { .. } => Model::Rgb,
                Kind::Bayer { .. } => Model::Bayer,
                _ => Model::Yuv,
            };
            assert_eq!(model, info.model, "{}", info.name);
            assert_eq!(kind.planes(), info.planes().len(), "{}", info.name);
            if let Kind::Rgb { bytes, fields } = kind {
                assert_eq!(bytes, u32::from(info.planes()[0].block_bytes), "{}", info.name);
                assert_eq!(fields[3].1 > 0, info.alpha, "{}", info.name);
            }
        }
    }
}
