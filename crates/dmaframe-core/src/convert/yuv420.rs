//! Anything to NV12 and I420.
//!
//! YUV sources keep their matrix and range: samples are moved, cut to 8 bits and, where the source has more chroma or
//! the crop or turn shifts its grid, averaged: a chroma sample is the rounded mean of the chroma of the (up to four)
//! pixels it stands for. Everything else goes through RGBA and the `yuv` crate's encoders.

use yuv::{
    BufferStoreMut, YuvBiPlanarImageMut, YuvConversionMode, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
};

use super::error::ConvertError;
use super::orient::Turn;
use super::planes::{Rows, grow};
use super::rgba::{BAND, Job, aside, picture};
use super::source::{Band, Chroma, Scratch, backend, read, reduce_deep};
use crate::layout::Size;

/// The destination's planes, each from its first sample on, with its stride.
pub(super) struct Target<'a> {
    pub(super) y: (&'a mut [u8], usize),
    pub(super) chroma: TargetChroma<'a>,
}

pub(super) enum TargetChroma<'a> {
    Nv12(&'a mut [u8], usize),
    I420([&'a mut [u8]; 2], [usize; 2]),
}

/// Memory that is kept between bands and frames.
#[derive(Default)]
pub(super) struct Scratch420 {
    /// Luma of a band.
    luma: Vec<u8>,
    /// Chroma of a band: pairs, or two planes.
    chroma: [Vec<u8>; 2],
    /// A deep band cut to 8 bits.
    eight: [Vec<u8>; 3],
    /// A whole upright RGBA picture: only for turned RGB.
    whole: Vec<u8>,
}

/// Repacks a YUV or gray source.
pub(super) fn from_yuv(
    job: &Job<'_>,
    turn: Turn,
    to: &mut Target<'_>,
    scratch: &mut Scratch,
    own: &mut Scratch420,
) -> Result<(), ConvertError> {
    let (width, height) = (job.visible.width, job.visible.height);
    let half = Size::new(width.div_ceil(2), height.div_ceil(2));
    let turn_half = turn.resized(half);
    // With an odd size, a turn that puts the last column first makes that one stand alone instead of the first.
    let odd_x = i64::from(width % 2 == 1 && turn.reverses_columns());
    let odd_y = i64::from(height % 2 == 1 && turn.reverses_rows());
    let row_of = |block: u32| (2 * i64::from(block) - odd_y).clamp(0, i64::from(height)) as u32;
    let full = job.reading.full();
    for first in (0..half.height).step_by(BAND as usize / 2) {
        let blocks = (BAND / 2).min(half.height - first);
        let (low, high) = (row_of(first), row_of(first + blocks));
        let place = job.place(low, high - low);
        let band = read(job.view, job.kind, place.read, full, scratch)?;
        let (y, chroma, sub) = match reduce_deep(band, full, &mut own.eight)? {
            Band::Eight { y, chroma, sub, .. } => (y, Some(chroma), sub),
            Band::Gray { y } => (y, None, super::kind::Sub::S420),
            // `reduce_deep` leaves none.
            Band::Deep { .. } => continue,
        };
        let rows = Rows {
            data: y.from(place.top),
            ..y
        };
        let at = (low as usize, (high - low) as usize);
        turn.store::<1>(at, rows, place.left, to.y.0, to.y.1);

        let grid = Grid {
            step: (i64::from(sub.h()), i64::from(sub.v())),
            start: (
                place.left as i64 - odd_x,
                2 * i64::from(first) - odd_y - i64::from(low) + place.top as i64,
            ),
            // The last pixel there is, in the band's coordinates.
            first: (place.left as i64, place.top as i64),
            last: (
                place.left as i64 + i64::from(width) - 1,
                place.top as i64 + i64::from(high - low) - 1,
            ),
        };
        let at = (first as usize, blocks as usize);
        match &mut to.chroma {
            TargetChroma::Nv12(out, stride) => {
                let made = grow(&mut own.chroma[0], Size::new(half.width, blocks), 2, 0)?;
                let line = 2 * half.width as usize;
                for (i, row) in made.chunks_exact_mut(line).enumerate() {
                    match chroma {
                        None => row.fill(128),
                        Some(Chroma::Pairs { uv, swap: false }) => grid.pairs(uv, i, row),
                        Some(Chroma::Pairs { uv, swap: true }) => {
                            grid.line::<2, 2>(uv, 1, i, row, 0);
                            grid.line::<2, 2>(uv, 0, i, row, 1);
                        }
                        Some(Chroma::Planes { u, v }) => {
                            grid.line::<1, 2>(u, 0, i, row, 0);
                            grid.line::<1, 2>(v, 0, i, row, 1);
                        }
                    }
                }
                let made = Rows {
                    data: made,
                    stride: line,
                };
                turn_half.store::<2>(at, made, 0, out, *stride);
            }
            TargetChroma::I420(outs, strides) => {
                let line = half.width as usize;
                let planes = outs.iter_mut().zip(*strides).zip(&mut own.chroma).enumerate();
                for (plane, ((out, stride), made)) in planes {
                    let made = grow(made, Size::new(half.width, blocks), 1, 0)?;
                    for (i, row) in made.chunks_exact_mut(line).enumerate() {
                        match chroma {
                            None => row.fill(128),
                            Some(Chroma::Pairs { uv, swap }) => {
                                grid.line::<2, 1>(uv, plane ^ usize::from(swap), i, row, 0);
                            }
                            Some(Chroma::Planes { u, v }) => {
                                grid.line::<1, 1>(if plane == 0 { u } else { v }, 0, i, row, 0);
                            }
                        }
                    }
                    let made = Rows {
                        data: made,
                        stride: line,
                    };
                    turn_half.store::<1>(at, made, 0, out, stride);
                }
            }
        }
    }
    Ok(())
}

/// Where the 2x2 blocks of the destination lie over a band's pixels, in the band's own coordinates.
#[derive(Clone, Copy)]
struct Grid {
    /// Pixels per chroma sample of the source.
    step: (i64, i64),
    /// Upper left pixel of the first block, which may lie outside.
    start: (i64, i64),
    /// The first and the last pixel there are.
    first: (i64, i64),
    last: (i64, i64),
}

impl Grid {
    /// The chroma rows of block row `i`.
    fn rows(&self, i: usize) -> (usize, usize) {
        let top = self.start.1 + 2 * i as i64;
        let row = |y: i64| (y.clamp(self.first.1, self.last.1) / self.step.1) as usize;
        (row(top), row(top + 1))
    }

    /// The first chroma column if blocks and chroma columns coincide, so that nothing is averaged across.
    fn aligned(&self) -> Option<usize> {
        (self.step.0 == 2 && self.start.0 % 2 == 0).then_some(self.start.0 as usize / 2)
    }

    /// One row of one channel: samples `FROM` apart, the first at `from_at`, into samples `TO` apart.
    fn line<const FROM: usize, const TO: usize>(
        &self,
        rows: Rows<'_>,
        from_at: usize,
        i: usize,
        out: &mut [u8],
        to_at: usize,
    ) {
        let (a, b) = self.rows(i);
        let (a, b) = (rows.from(a), rows.from(b));
        let to = out.chunks_exact_mut(TO).map(|to| &mut to[to_at]);
        if let Some(start) = self.aligned() {
            let a = a[start * FROM..].chunks_exact(FROM);
            let b = b[start * FROM..].chunks_exact(FROM);
            for ((to, a), b) in to.zip(a).zip(b) {
                *to = mean2(a[from_at], b[from_at]);
            }
            return;
        }
        for (block, to) in to.enumerate() {
            let left = self.start.0 + 2 * block as i64;
            let column =
                |x: i64| (x.clamp(self.first.0, self.last.0) / self.step.0) as usize * FROM + from_at;
            let (left, right) = (column(left), column(left + 1));
            let sum = [a[left], a[right], b[left], b[right]]
                .map(u16::from)
                .iter()
                .sum::<u16>();
            *to = ((sum + 2) / 4) as u8;
        }
    }

    /// One row of pairs into pairs of the same order.
    fn pairs(&self, uv: Rows<'_>, i: usize, out: &mut [u8]) {
        let Some(start) = self.aligned() else {
            self.line::<2, 2>(uv, 0, i, out, 0);
            self.line::<2, 2>(uv, 1, i, out, 1);
            return;
        };
        let (a, b) = self.rows(i);
        let from = |row: usize| &uv.from(row)[2 * start..][..out.len()];
        if a == b {
            out.copy_from_slice(from(a));
            return;
        }
        let (a, b) = (from(a), from(b));
        for ((to, a), b) in out.iter_mut().zip(a).zip(b) {
            *to = mean2(*a, *b);
        }
    }
}

fn mean2(a: u8, b: u8) -> u8 {
    (u16::from(a) + u16::from(b)).div_ceil(2) as u8
}

/// Encodes an RGB or Bayer source.
pub(super) fn from_rgb(
    job: &Job<'_>,
    turn: Turn,
    (matrix, range): (YuvStandardMatrix, YuvRange),
    to: &mut Target<'_>,
    (scratch, pixels): (&mut Scratch, &mut Vec<u8>),
    own: &mut Scratch420,
) -> Result<(), ConvertError> {
    let upright = turn.upright();
    if turn.is_identity() {
        for (first, count) in job.bands() {
            let rows = aside(job, job.place(first, count), scratch, pixels)?;
            encode(job, (matrix, range), rows, (upright.width, first, count), to, own)?;
        }
        return Ok(());
    }
    let stride = upright.width as usize * 4;
    let mut whole = std::mem::take(&mut own.whole);
    let mut all = || {
        let made = grow(&mut whole, upright, 4, 0)?;
        picture(job, turn, made, stride, scratch, pixels)?;
        let bands = made
            .chunks(stride * BAND as usize)
            .zip((0..upright.height).step_by(BAND as usize));
        for (data, first) in bands {
            let count = BAND.min(upright.height - first);
            encode(
                job,
                (matrix, range),
                Rows { data, stride },
                (upright.width, first, count),
                to,
                own,
            )?;
        }
        Ok(())
    };
    let done = all();
    own.whole = whole;
    done
}

/// Encodes a band of RGBA, whose first row is even, aside, and stores it.
fn encode(
    job: &Job<'_>,
    (matrix, range): (YuvStandardMatrix, YuvRange),
    rgba: Rows<'_>,
    (width, first, count): (u32, u32, u32),
    to: &mut Target<'_>,
    own: &mut Scratch420,
) -> Result<(), ConvertError> {
    let half = Size::new(width.div_ceil(2), count.div_ceil(2));
    let luma = grow(&mut own.luma, Size::new(width, count), 1, 0)?;
    let mode = YuvConversionMode::Balanced;
    let y_plane = BufferStoreMut::Borrowed(&mut *luma);
    let [first_chroma, second_chroma] = &mut own.chroma;
    let stored = |made: &[u8], line: usize, start: u32, out: &mut [u8], stride: usize| {
        for (i, row) in made.chunks_exact(line).enumerate() {
            let at = (start as usize + i) * stride;
            out[at..at + line].copy_from_slice(row);
        }
    };
    match &mut to.chroma {
        TargetChroma::Nv12(out, stride) => {
            let uv = grow(first_chroma, half, 2, 0)?;
            let mut image = YuvBiPlanarImageMut {
                y_plane,
                y_stride: width,
                uv_plane: BufferStoreMut::Borrowed(&mut *uv),
                uv_stride: 2 * half.width,
                width,
                height: count,
            };
            yuv::rgba_to_yuv_nv12(&mut image, rgba.data, rgba.stride32(), range, matrix, mode)
                .map_err(|e| backend(job.view, &e))?;
            stored(uv, 2 * half.width as usize, first / 2, out, *stride);
        }
        TargetChroma::I420(outs, strides) => {
            let (u, v) = (grow(first_chroma, half, 1, 0)?, grow(second_chroma, half, 1, 0)?);
            let mut image = YuvPlanarImageMut {
                y_plane,
                y_stride: width,
                u_plane: BufferStoreMut::Borrowed(&mut *u),
                u_stride: half.width,
                v_plane: BufferStoreMut::Borrowed(&mut *v),
                v_stride: half.width,
                width,
                height: count,
            };
            yuv::rgba_to_yuv420(&mut image, rgba.data, rgba.stride32(), range, matrix, mode)
                .map_err(|e| backend(job.view, &e))?;
            for ((made, out), stride) in [u, v].into_iter().zip(outs).zip(*strides) {
                stored(made, half.width as usize, first / 2, out, stride);
            }
        }
    }
    stored(luma, width as usize, first, to.y.0, to.y.1);
    Ok(())
}
