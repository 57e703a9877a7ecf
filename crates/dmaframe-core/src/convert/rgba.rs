//! Anything to RGBA bytes.

use yuv::{YuvBiPlanarImage, YuvConversionMode, YuvGrayImage, YuvPlanarImage, YuvPlanarImageWithAlpha};

use super::color::Reading;
use super::error::ConvertError;
use super::kind::{Kind, Sub};
use super::orient::Turn;
use super::planes::{Rows, grow, rows, stride32};
use super::source::{Band, Chroma, Scratch, backend, read};
use super::{bayer, rgb};
use crate::layout::{Rect, Size};
use crate::meta::Range;
use crate::view::ReadView;

/// Rows of a band: even, so that 4:2:0 stays whole; low, so that what a band is made of stays in the cache, and a
/// quarter turn writes one cache line of RGBA at a time.
pub(super) const BAND: u32 = 16;

/// What is read, and how.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) view: &'a ReadView<'a>,
    pub(super) kind: Kind,
    pub(super) reading: Reading,
    /// The visible rect.
    pub(super) visible: Rect,
}

/// A band's place: what has to be read, and how many columns and rows of that come before what is shown. One column
/// may come after it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) read: Rect,
    pub(super) left: usize,
    pub(super) top: usize,
}

impl Job<'_> {
    /// Rows `first..first + count` of the visible rect.
    pub(super) fn place(&self, first: u32, count: u32) -> Place {
        let Rect { x, y, width, .. } = self.visible;
        let (left, top) = self.kind.align(x, y + first);
        let (skip_x, skip_y) = (x - left, y + first - top);
        Place {
            read: Rect {
                x: left,
                y: top,
                width: self.kind.widen(width + skip_x),
                height: count + skip_y,
            },
            left: skip_x as usize,
            top: skip_y as usize,
        }
    }

    /// Bands of the visible rect: first row and count.
    pub(super) fn bands(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let height = self.visible.height;
        (0..height)
            .step_by(BAND as usize)
            .map(move |first| (first, BAND.min(height - first)))
    }
}

/// Converts the visible rect, turned, into `out`.
pub(super) fn picture(
    job: &Job<'_>,
    turn: Turn,
    out: &mut [u8],
    stride: usize,
    scratch: &mut Scratch,
    pixels: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    for (first, count) in job.bands() {
        let place = job.place(first, count);
        let start = first as usize * stride;
        let whole = start..start + count as usize * stride;
        // `yuv`'s AVX2 rows of deep YUV put the last few pixels at the end of the stride instead of the row.
        let tight = !job.kind.is_deep() || stride == 4 * place.read.width as usize;
        let exact = place.read.width == job.visible.width && place.top == 0 && tight;
        if turn.is_identity() && exact && whole.end <= out.len() {
            band(job, place.read, &mut out[whole], stride, scratch)?;
            continue;
        }
        let made = aside(job, place, scratch, pixels)?;
        turn.store::<4>((first as usize, count as usize), made, 0, out, stride);
    }
    Ok(())
}

/// A band in `pixels`: whole strides, from the first pixel shown on.
pub(super) fn aside<'a>(
    job: &Job<'_>,
    place: Place,
    scratch: &mut Scratch,
    pixels: &'a mut Vec<u8>,
) -> Result<Rows<'a>, ConvertError> {
    let stride = place.read.width as usize * 4;
    let size = Size::new(place.read.width, place.read.height);
    let made = grow(pixels, size, 4, 4 * place.left)?;
    let len = place.read.height as usize * stride;
    band(job, place.read, &mut made[..len], stride, scratch)?;
    let start = place.top * stride + 4 * place.left;
    Ok(Rows {
        data: &made[start..start + len - place.top * stride],
        stride,
    })
}

/// Converts one aligned band into `to`, which holds whole strides.
fn band(
    job: &Job<'_>,
    at: Rect,
    to: &mut [u8],
    stride: usize,
    scratch: &mut Scratch,
) -> Result<(), ConvertError> {
    let Job {
        view, kind, reading, ..
    } = *job;
    match kind {
        Kind::Rgb => {
            let fourcc = view.layout().fourcc();
            let skip = rgb::pixel_bytes(fourcc) * at.x as usize;
            let from = rows(view, 0, (at.y, at.height), skip, scratch.first())?;
            let limited = reading.color.range == Range::Limited;
            rgb::convert(fourcc, limited, from, (at.width, at.height), to, stride)
                .map_err(|e| backend(view, &e))?;
            Ok(())
        }
        Kind::Bayer { red, packing, bits } => {
            bayer::convert(view, (red, packing, bits), at, to, stride, scratch)
        }
        _ => {
            let band = read(view, kind, at, reading.full(), scratch)?;
            from_yuv(&band, (at.width, at.height), reading, to, stride32(stride))
                .map_err(|e| backend(view, &e))
        }
    }
}

fn from_yuv(
    band: &Band<'_>,
    (width, height): (u32, u32),
    Reading { matrix, range, .. }: Reading,
    to: &mut [u8],
    stride: u32,
) -> Result<(), yuv::YuvError> {
    match *band {
        Band::Eight {
            y,
            chroma: Chroma::Pairs { uv, swap },
            sub,
            ..
        } => {
            let image = YuvBiPlanarImage {
                y_plane: y.data,
                y_stride: y.stride32(),
                uv_plane: uv.data,
                uv_stride: uv.stride32(),
                width,
                height,
            };
            let convert = match (sub, swap) {
                (Sub::S420, false) => yuv::yuv_nv12_to_rgba,
                (Sub::S420, true) => yuv::yuv_nv21_to_rgba,
                (Sub::S422, false) => yuv::yuv_nv16_to_rgba,
                (Sub::S422, true) => yuv::yuv_nv61_to_rgba,
                (Sub::S444, false) => yuv::yuv_nv24_to_rgba,
                (Sub::S444, true) => yuv::yuv_nv42_to_rgba,
            };
            convert(&image, to, stride, range, matrix, YuvConversionMode::Balanced)
        }
        Band::Eight {
            y,
            chroma: Chroma::Planes { u, v },
            alpha: Some(alpha),
            ..
        } => {
            let image = YuvPlanarImageWithAlpha {
                y_plane: y.data,
                y_stride: y.stride32(),
                u_plane: u.data,
                u_stride: u.stride32(),
                v_plane: v.data,
                v_stride: v.stride32(),
                a_plane: alpha.data,
                a_stride: alpha.stride32(),
                width,
                height,
            };
            // Only packed 4:4:4 has alpha.
            yuv::yuv444_alpha_to_rgba(&image, to, stride, range, matrix, false)
        }
        Band::Eight {
            y,
            chroma: Chroma::Planes { u, v },
            alpha: None,
            sub,
        } => {
            let image = planar(y, u, v, width, height);
            match sub {
                Sub::S420 => yuv::yuv420_to_rgba(&image, to, stride, range, matrix),
                Sub::S422 => yuv::yuv422_to_rgba(&image, to, stride, range, matrix),
                Sub::S444 => yuv::yuv444_to_rgba(&image, to, stride, range, matrix),
            }
        }
        Band::Deep { y, u, v, sub, bits } => {
            let image = planar(y, u, v, width, height);
            let convert = match (sub, bits) {
                (Sub::S420, 10) => yuv::i010_to_rgba,
                (Sub::S420, _) => yuv::i012_to_rgba,
                (Sub::S422, 10) => yuv::i210_to_rgba,
                (Sub::S422, _) => yuv::i212_to_rgba,
                (Sub::S444, 10) => yuv::i410_to_rgba,
                (Sub::S444, _) => yuv::i412_to_rgba,
            };
            convert(&image, to, stride, range, matrix)
        }
        Band::Gray { y } => {
            let image = YuvGrayImage {
                y_plane: y.data,
                y_stride: y.stride32(),
                width,
                height,
            };
            yuv::yuv400_to_rgba(&image, to, stride, range, matrix)
        }
    }
}

fn planar<'a, T: Copy + std::fmt::Debug>(
    y: Rows<'a, T>,
    u: Rows<'a, T>,
    v: Rows<'a, T>,
    width: u32,
    height: u32,
) -> YuvPlanarImage<'a, T> {
    YuvPlanarImage {
        y_plane: y.data,
        y_stride: y.stride32(),
        u_plane: u.data,
        u_stride: u.stride32(),
        v_plane: v.data,
        v_stride: v.stride32(),
        width,
        height,
    }
}
