//! How each format's samples are read.

use super::unpack::Packing;
use crate::format::Fourcc;

/// Chroma sub-sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sub {
    S420,
    S422,
    S444,
}

impl Sub {
    /// Picture columns per chroma column.
    pub(super) fn h(self) -> u32 {
        if self == Self::S444 { 1 } else { 2 }
    }

    /// Picture rows per chroma row.
    pub(super) fn v(self) -> u32 {
        if self == Self::S420 { 2 } else { 1 }
    }
}

/// Order of bytes in packed 4:2:2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Yuyv,
    Yvyu,
    Uyvy,
    Vyuy,
}

/// A reader and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 8 bit, interleaved chroma; `swap` is Cr first.
    Nv { sub: Sub, swap: bool },
    /// 8 bit, three planes; `swap` is Cr first.
    Planar { sub: Sub, swap: bool },
    /// 8 bit, packed 4:2:2.
    Packed422(Order),
    /// 8 bit, packed 4:4:4: bytes of a pixel and where Y, Cb, Cr and alpha are.
    Packed444 {
        bytes: usize,
        at: [usize; 3],
        alpha: Option<usize>,
    },
    /// More than 8 bits, interleaved chroma. `bits` is what unpacking gives: 10 or 12.
    DeepNv { sub: Sub, packing: Packing, bits: u8 },
    /// More than 8 bits, packed 4:2:2 in 16-bit words.
    DeepPacked422 { packing: Packing, bits: u8 },
    /// One channel.
    Gray { packing: Packing, bits: u8 },
    /// Red, green, blue: see `rgb.rs`.
    Rgb,
    /// A mosaic whose upper left red sample is at `red` (column, row).
    Bayer {
        red: (usize, usize),
        packing: Packing,
        bits: u8,
    },
}

impl Kind {
    pub(super) fn of(fourcc: Fourcc) -> Option<Self> {
        use Sub::{S420, S422, S444};
        Some(match fourcc {
            Fourcc::NV12 => Self::Nv {
                sub: S420,
                swap: false,
            },
            Fourcc::NV21 => Self::Nv {
                sub: S420,
                swap: true,
            },
            Fourcc::NV16 => Self::Nv {
                sub: S422,
                swap: false,
            },
            Fourcc::NV61 => Self::Nv {
                sub: S422,
                swap: true,
            },
            Fourcc::NV24 => Self::Nv {
                sub: S444,
                swap: false,
            },
            Fourcc::NV42 => Self::Nv {
                sub: S444,
                swap: true,
            },
            Fourcc::YUV420 => Self::Planar {
                sub: S420,
                swap: false,
            },
            Fourcc::YVU420 => Self::Planar {
                sub: S420,
                swap: true,
            },
            Fourcc::YUV422 => Self::Planar {
                sub: S422,
                swap: false,
            },
            Fourcc::YVU422 => Self::Planar {
                sub: S422,
                swap: true,
            },
            Fourcc::YUV444 => Self::Planar {
                sub: S444,
                swap: false,
            },
            Fourcc::YVU444 => Self::Planar {
                sub: S444,
                swap: true,
            },
            Fourcc::YUYV => Self::Packed422(Order::Yuyv),
            Fourcc::YVYU => Self::Packed422(Order::Yvyu),
            Fourcc::UYVY => Self::Packed422(Order::Uyvy),
            Fourcc::VYUY => Self::Packed422(Order::Vyuy),
            Fourcc::AYUV => packed444(4, [2, 1, 0], Some(3)),
            Fourcc::XYUV8888 => packed444(4, [2, 1, 0], None),
            Fourcc::VUY888 => packed444(3, [0, 1, 2], None),
            Fourcc::NV15 => deep(S420, Packing::Le10, 10),
            Fourcc::NV20 => deep(S422, Packing::Le10, 10),
            Fourcc::NV30 => deep(S444, Packing::Le10, 10),
            Fourcc::P010 => deep(S420, Packing::Word { shift: 6 }, 10),
            Fourcc::P210 => deep(S422, Packing::Word { shift: 6 }, 10),
            Fourcc::P012 => deep(S420, Packing::Word { shift: 4 }, 12),
            // The lowest four of 16 bits cannot show in 8.
            Fourcc::P016 => deep(S420, Packing::Word { shift: 4 }, 12),
            Fourcc::P030 => deep(S420, Packing::Le10Of32, 10),
            Fourcc::Y210 => Self::DeepPacked422 {
                packing: Packing::Word { shift: 6 },
                bits: 10,
            },
            Fourcc::R8 => Self::Gray {
                packing: Packing::Byte,
                bits: 8,
            },
            Fourcc::R10 => gray16(10),
            Fourcc::R12 => gray16(12),
            Fourcc::R16 => gray16(16),
            _ => return Self::bayer(fourcc).or_else(|| super::rgb::is(fourcc).then_some(Self::Rgb)),
        })
    }

    fn bayer(fourcc: Fourcc) -> Option<Self> {
        let info = fourcc.info()?;
        let (column, row) = info.red()?;
        let plane = info.planes().first()?;
        Some(Self::Bayer {
            red: (column as usize, row as usize),
            packing: match (plane.block_width, plane.block_bytes) {
                (1, 1) => Packing::Byte,
                (1, 2) => Packing::Word { shift: 0 },
                (4, 5) => Packing::Csi10,
                (2, 3) => Packing::Csi12,
                (4, 7) => Packing::Csi14,
                _ => return None,
            },
            bits: info.depth,
        })
    }

    /// How often there is chroma, where there is.
    pub(super) fn sub(self) -> Option<Sub> {
        match self {
            Self::Nv { sub, .. } | Self::Planar { sub, .. } | Self::DeepNv { sub, .. } => Some(sub),
            Self::Packed422(_) | Self::DeepPacked422 { .. } => Some(Sub::S422),
            Self::Packed444 { .. } => Some(Sub::S444),
            Self::Gray { .. } | Self::Rgb | Self::Bayer { .. } => None,
        }
    }

    /// Whether samples go through the `yuv` crate's functions for more than 8 bits.
    pub(super) fn is_deep(self) -> bool {
        matches!(self, Self::DeepNv { .. } | Self::DeepPacked422 { .. })
    }

    /// Whether reading needs a matrix and a range.
    pub(super) fn is_yuv(self) -> bool {
        !matches!(self, Self::Gray { .. } | Self::Rgb | Self::Bayer { .. })
    }

    /// Where a band that shows column `x` and row `y` first has to start, so that it starts with whole blocks.
    pub(super) fn align(self, x: u32, y: u32) -> (u32, u32) {
        match self {
            Self::DeepNv { .. } | Self::DeepPacked422 { .. } | Self::Gray { .. } => (0, y & !1),
            Self::Rgb | Self::Bayer { .. } => (x, y),
            _ => (x & !1, y & !1),
        }
    }

    /// How wide a band of `width` columns has to be made: the `yuv` crate's code for more than 8 bits panics at widths
    /// one short of its vectors (31, 63 ... with AVX2), so that an odd last column gets a second.
    pub(super) fn widen(self, width: u32) -> u32 {
        match self {
            Self::DeepNv { .. } | Self::DeepPacked422 { .. } => width.saturating_add(width % 2),
            _ => width,
        }
    }
}

fn packed444(bytes: usize, at: [usize; 3], alpha: Option<usize>) -> Kind {
    Kind::Packed444 { bytes, at, alpha }
}

fn deep(sub: Sub, packing: Packing, bits: u8) -> Kind {
    Kind::DeepNv { sub, packing, bits }
}

fn gray16(bits: u8) -> Kind {
    Kind::Gray {
        packing: Packing::Word { shift: 0 },
        bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Model;

    #[test]
    fn every_format_of_the_table_has_a_reader_of_its_model() {
        for info in crate::format::all_formats() {
            let kind = Kind::of(info.fourcc).unwrap_or_else(|| panic!("{}", info.name));
            let model = match kind {
                Kind::Gray { .. } => Model::Gray,
                Kind::Rgb => Model::Rgb,
                Kind::Bayer { .. } => Model::Bayer,
                _ => Model::Yuv,
            };
            assert_eq!(model, info.model, "{}", info.name);
        }
    }
}
