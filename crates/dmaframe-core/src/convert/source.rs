//! Bands of luma and chroma, in the few shapes that conversion goes on from.

use yuv::{BufferStoreMut, YuvPackedImage, YuvPlanarImageMut};

use super::error::ConvertError;
use super::kind::{Kind, Order, Sub};
use super::planes::{Rows, grow, rows, stride32};
use super::unpack::{Packing, chroma8, luma8};
use crate::layout::{Rect, Size};
use crate::view::ReadView;

/// Memory that is kept between bands and frames.
#[derive(Default)]
pub(super) struct Scratch {
    /// Copies of source rows.
    src: [Vec<u8>; 3],
    /// Planes that were unpacked: Y, Cb, Cr, alpha.
    p8: [Vec<u8>; 4],
    /// The same of more than 8 bits.
    p16: [Vec<u16>; 3],
    /// One row of samples before they are told apart.
    line: Vec<u16>,
    /// For `bayer.rs`.
    pub(super) mosaic: Vec<u16>,
}

impl Scratch {
    pub(super) fn first(&mut self) -> &mut Vec<u8> {
        &mut self.src[0]
    }

    /// Source rows and mosaic, side by side.
    pub(super) fn for_mosaic(&mut self) -> (&mut Vec<u8>, &mut Vec<u16>) {
        (&mut self.src[0], &mut self.mosaic)
    }
}

/// Chroma of a band.
#[derive(Clone, Copy)]
pub(super) enum Chroma<'a, T = u8> {
    /// Interleaved; `swap` is Cr first.
    Pairs { uv: Rows<'a, T>, swap: bool },
    /// Two planes.
    Planes { u: Rows<'a, T>, v: Rows<'a, T> },
}

/// Luma and chroma of a band, as they will be converted.
pub(super) enum Band<'a> {
    Eight {
        y: Rows<'a>,
        chroma: Chroma<'a>,
        alpha: Option<Rows<'a>>,
        sub: Sub,
    },
    Deep {
        y: Rows<'a, u16>,
        u: Rows<'a, u16>,
        v: Rows<'a, u16>,
        sub: Sub,
        bits: u8,
    },
    Gray {
        y: Rows<'a>,
    },
}

/// Reads the band `at` (aligned as [`Kind::align`] says, in coded coordinates) of a YUV or gray frame. The band's
/// first sample is its first pixel. `full` is the range, needed where 8 bits are made of more.
pub(super) fn read<'a>(
    view: &'a ReadView<'_>,
    kind: Kind,
    at: Rect,
    full: bool,
    scratch: &'a mut Scratch,
) -> Result<Band<'a>, ConvertError> {
    let size = Size::new(at.width, at.height);
    let [src0, src1, src2] = &mut scratch.src;
    let luma = (at.y, at.height);
    let chroma = |sub: Sub| (at.y / sub.v(), at.height.div_ceil(sub.v()));
    let column = |sub: Sub| (at.x / sub.h()) as usize;
    let x = at.x as usize;
    match kind {
        Kind::Nv { sub, swap } => Ok(Band::Eight {
            y: rows(view, 0, luma, x, src0)?,
            chroma: Chroma::Pairs {
                uv: rows(view, 1, chroma(sub), 2 * column(sub), src1)?,
                swap,
            },
            alpha: None,
            sub,
        }),
        Kind::Planar { sub, swap } => {
            let first = rows(view, 1, chroma(sub), column(sub), src1)?;
            let second = rows(view, 2, chroma(sub), column(sub), src2)?;
            let (u, v) = if swap { (second, first) } else { (first, second) };
            Ok(Band::Eight {
                y: rows(view, 0, luma, x, src0)?,
                chroma: Chroma::Planes { u, v },
                alpha: None,
                sub,
            })
        }
        Kind::Packed422(order) => {
            let packed = rows(view, 0, luma, 2 * x, src0)?;
            let planes = split422(order, packed, size, &mut scratch.p8)?;
            planes.map_err(|e| backend(view, &e))
        }
        Kind::Packed444 { bytes, at, alpha } => {
            let packed = rows(view, 0, luma, bytes * x, src0)?;
            split444(packed, bytes, at, alpha, size, &mut scratch.p8)
        }
        Kind::DeepNv { sub, packing, bits } => {
            let y = rows(view, 0, luma, 0, src0)?;
            let uv = rows(view, 1, chroma(sub), 0, src1)?;
            let [p0, p1, p2] = &mut scratch.p16;
            let width = at.width as usize;
            let chroma_size = Size::new(at.width.div_ceil(sub.h()), chroma(sub).1);
            let (y_to, u_to) = (grow(p0, size, 1, 0)?, grow(p1, chroma_size, 1, 0)?);
            let v_to = grow(p2, chroma_size, 1, 0)?;
            for (i, to) in y_to.chunks_exact_mut(width).enumerate() {
                packing.unpack(bits, y.from(i), to);
            }
            let half = chroma_size.width as usize;
            let line = grow(&mut scratch.line, Size::new(chroma_size.width, 1), 2, 0)?;
            let both = u_to.chunks_exact_mut(half).zip(v_to.chunks_exact_mut(half));
            for (i, (u, v)) in both.enumerate() {
                packing.unpack(bits, uv.from(i), line);
                for ((u, v), pair) in u.iter_mut().zip(v).zip(line.chunks_exact(2)) {
                    (*u, *v) = (pair[0], pair[1]);
                }
            }
            Ok(deep((y_to, width), (u_to, v_to, half), sub, bits))
        }
        Kind::DeepPacked422 { packing, bits } => {
            let packed = rows(view, 0, luma, 0, src0)?;
            let [p0, p1, p2] = &mut scratch.p16;
            let width = at.width as usize;
            let half = width.div_ceil(2);
            let half_size = Size::new(at.width.div_ceil(2), at.height);
            let (y_to, u_to) = (grow(p0, size, 1, 0)?, grow(p1, half_size, 1, 0)?);
            let v_to = grow(p2, half_size, 1, 0)?;
            let line = grow(&mut scratch.line, Size::new(half_size.width, 1), 4, 0)?;
            let lines = y_to.chunks_exact_mut(width);
            let lines = lines.zip(u_to.chunks_exact_mut(half).zip(v_to.chunks_exact_mut(half)));
            for (i, (y, (u, v))) in lines.enumerate() {
                packing.unpack(bits, packed.from(i), line);
                let chroma = u.iter_mut().zip(v);
                for ((y, (u, v)), four) in y.chunks_mut(2).zip(chroma).zip(line.chunks_exact(4)) {
                    for (y, from) in y.iter_mut().zip([four[0], four[2]]) {
                        *y = from;
                    }
                    (*u, *v) = (four[1], four[3]);
                }
            }
            Ok(deep((y_to, width), (u_to, v_to, half), Sub::S422, bits))
        }
        Kind::Gray {
            packing: Packing::Byte,
            ..
        } => Ok(Band::Gray {
            // Aligned to column 0, as the deeper ones.
            y: rows(view, 0, luma, 0, src0)?,
        }),
        Kind::Gray { packing, bits } => {
            let words = rows(view, 0, luma, 0, src0)?;
            let width = at.width as usize;
            let to = grow(&mut scratch.p8[0], size, 1, 0)?;
            let line = grow(&mut scratch.line, Size::new(at.width, 1), 1, 0)?;
            for (i, to) in to.chunks_exact_mut(width).enumerate() {
                packing.unpack(bits, words.from(i), line);
                reduce(line, to, |v| luma8(v, bits, full));
            }
            Ok(Band::Gray {
                y: Rows {
                    data: to,
                    stride: width,
                },
            })
        }
        Kind::Rgb | Kind::Bayer { .. } => Err(ConvertError::Source {
            fourcc: view.layout().fourcc(),
        }),
    }
}

/// Packed 4:2:2 into planes of the same, by the `yuv` crate. (Its direct ways on from there are not used: to RGBA it
/// computes with 6-bit coefficients, and to 4:2:0 it drops the last row of an odd height and takes chroma now from
/// the upper and now from the lower row.)
fn split422<'a>(
    order: Order,
    packed: Rows<'_>,
    size: Size,
    planes: &'a mut [Vec<u8>; 4],
) -> Result<Result<Band<'a>, yuv::YuvError>, ConvertError> {
    let [y, u, v, _] = planes;
    let half_size = Size::new(size.width.div_ceil(2), size.height);
    let y = grow(y, size, 1, 0)?;
    let (u, v) = (grow(u, half_size, 1, 0)?, grow(v, half_size, 1, 0)?);
    let mut to = YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(&mut *y),
        y_stride: size.width,
        u_plane: BufferStoreMut::Borrowed(&mut *u),
        u_stride: half_size.width,
        v_plane: BufferStoreMut::Borrowed(&mut *v),
        v_stride: half_size.width,
        width: size.width,
        height: size.height,
    };
    let from = YuvPackedImage {
        yuy: packed.data,
        yuy_stride: stride32(packed.stride),
        width: size.width,
        height: size.height,
    };
    let done = match order {
        Order::Yuyv => yuv::yuyv422_to_yuv422(&mut to, &from),
        Order::Yvyu => yuv::yvyu422_to_yuv422(&mut to, &from),
        Order::Uyvy => yuv::uyvy422_to_yuv422(&mut to, &from),
        Order::Vyuy => yuv::vyuy422_to_yuv422(&mut to, &from),
    };
    let half = half_size.width as usize;
    Ok(done.map(|()| Band::Eight {
        y: Rows {
            data: y,
            stride: size.width as usize,
        },
        chroma: Chroma::Planes {
            u: Rows {
                data: u,
                stride: half,
            },
            v: Rows {
                data: v,
                stride: half,
            },
        },
        alpha: None,
        sub: Sub::S422,
    }))
}

/// Packed 4:4:4 into planes, so that one path with one precision converts them all.
fn split444<'a>(
    packed: Rows<'_>,
    bytes: usize,
    at: [usize; 3],
    alpha: Option<usize>,
    size: Size,
    planes: &'a mut [Vec<u8>; 4],
) -> Result<Band<'a>, ConvertError> {
    let width = size.width as usize;
    let fill = |plane: &'a mut Vec<u8>, at: usize| -> Result<Rows<'a>, ConvertError> {
        let to = grow(plane, size, 1, 0)?;
        for (i, to) in to.chunks_exact_mut(width).enumerate() {
            let pixels = packed.row(i, width * bytes).chunks_exact(bytes);
            for (to, pixel) in to.iter_mut().zip(pixels) {
                *to = pixel[at];
            }
        }
        Ok(Rows {
            data: to,
            stride: width,
        })
    };
    let [y, u, v, a] = planes;
    let y = fill(y, at[0])?;
    let (u, v) = (fill(u, at[1])?, fill(v, at[2])?);
    let alpha = alpha.map(|at| fill(a, at)).transpose()?;
    Ok(Band::Eight {
        y,
        chroma: Chroma::Planes { u, v },
        alpha,
        sub: Sub::S444,
    })
}

fn deep<'a>(
    (y, width): (&'a [u16], usize),
    (u, v, half): (&'a [u16], &'a [u16], usize),
    sub: Sub,
    bits: u8,
) -> Band<'a> {
    Band::Deep {
        y: Rows {
            data: y,
            stride: width,
        },
        u: Rows {
            data: u,
            stride: half,
        },
        v: Rows {
            data: v,
            stride: half,
        },
        sub,
        bits,
    }
}

/// 8-bit planes of a deep band.
pub(super) fn reduce_deep<'a>(
    band: Band<'a>,
    full: bool,
    planes: &'a mut [Vec<u8>; 3],
) -> Result<Band<'a>, ConvertError> {
    let Band::Deep { y, u, v, sub, bits } = band else {
        return Ok(band);
    };
    let [y8, u8, v8] = planes;
    let fill = |from: Rows<'_, u16>, to: &'a mut Vec<u8>, chroma: bool| -> Result<Rows<'a>, ConvertError> {
        let rows = stride32(from.data.len() / from.stride.max(1));
        let to = grow(to, Size::new(from.stride32(), rows), 1, 0)?;
        if chroma {
            reduce(from.data, to, |v| chroma8(v, bits, full));
        } else {
            reduce(from.data, to, |v| luma8(v, bits, full));
        }
        Ok(Rows {
            data: to,
            stride: from.stride,
        })
    };
    let y = fill(y, y8, false)?;
    let (u, v) = (fill(u, u8, true)?, fill(v, v8, true)?);
    Ok(Band::Eight {
        y,
        chroma: Chroma::Planes { u, v },
        alpha: None,
        sub,
    })
}

fn reduce(from: &[u16], to: &mut [u8], f: impl Fn(u16) -> u8) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = f(*from);
    }
}

/// For `map_err` on the `yuv` crate.
pub(super) fn backend(view: &ReadView<'_>, error: &yuv::YuvError) -> ConvertError {
    ConvertError::Backend {
        fourcc: view.layout().fourcc(),
        detail: error.to_string(),
    }
}
