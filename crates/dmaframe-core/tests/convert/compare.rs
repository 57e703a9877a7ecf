//! What a picture has to become, and how far what it became is from that.

use dmaframe_core::format::{FormatInfo, Model};
use dmaframe_core::{ColorInfo, Deadline, Fourcc, Frame, FrameMeta, Range, Rect, Size};

use super::pack::{self, Picture, padded, private};
use super::reference::{self, Grid};

pub(super) const NOW: Deadline = Deadline::NEVER;

/// Sizes below, at and above every SIMD width, odd ones among them.
pub(super) const SIZES: [(u32, u32); 9] = [
    (1, 1),
    (3, 1),
    (1, 4),
    (2, 2),
    (5, 7),
    (16, 16),
    (33, 19),
    (67, 35),
    (130, 18),
];

pub(super) fn color(matrix: u8, range: Range) -> ColorInfo {
    ColorInfo {
        matrix,
        range,
        ..ColorInfo::BT709
    }
}

/// How a format's samples are read: RGB and gray full range.
pub(super) fn natural(info: &FormatInfo) -> ColorInfo {
    match info.model {
        Model::Yuv => ColorInfo::BT601,
        _ => ColorInfo::SRGB,
    }
}

/// Largest distance of `got` from the float reference, after rounding that.
pub(super) fn distance(got: &[u8], stride: usize, want: &Grid<[f64; 4]>) -> f64 {
    let mut worst = 0.0f64;
    for y in 0..want.size.height {
        for x in 0..want.size.width {
            let at = y as usize * stride + x as usize * 4;
            for (got, want) in got[at..at + 4].iter().zip(want.at(x, y)) {
                worst = worst.max((f64::from(*got) - (want + 0.5).floor()).abs());
            }
        }
    }
    worst
}

pub(super) fn expected(picture: &Picture, color: ColorInfo, meta: &FrameMeta) -> Grid<[f64; 4]> {
    let all = Grid::new(picture.size, |x, y| reference::rgba(picture, color, x, y));
    all.crop(meta.visible.unwrap_or(Rect::full(picture.size)))
        .upright(meta.orientation)
}

/// A destination of its own for `size`, padded, perhaps coded larger than shown.
pub(super) fn target(fourcc: Fourcc, size: Size, coded_more: u32) -> Frame {
    let coded = Size::new(size.width + coded_more, size.height + coded_more);
    let layout = padded(fourcc, coded, 11);
    let mut meta = FrameMeta::default();
    meta.visible = Some(Rect::full(size));
    private(&layout, vec![0x55; pack::len(&layout)], meta)
}

/// Luma and chroma of an NV12 or I420 frame's visible part.
pub(super) fn read420(frame: &Frame) -> (Grid<f64>, Grid<[f64; 2]>) {
    let view = frame.map_read(NOW).unwrap();
    let size = Size::new(frame.visible().width, frame.visible().height);
    let half = Size::new(size.width.div_ceil(2), size.height.div_ceil(2));
    let at = |plane, x: u32, y: u32| f64::from(view.row(plane, y).unwrap()[x as usize]);
    let luma = Grid::new(size, |x, y| at(0, x, y));
    let chroma = Grid::new(half, |x, y| {
        if frame.fourcc() == Fourcc::NV12 {
            [at(1, 2 * x, y), at(1, 2 * x + 1, y)]
        } else {
            [at(1, x, y), at(2, x, y)]
        }
    });
    (luma, chroma)
}

/// What NV12 and I420 have to be.
pub(super) fn expected420(
    picture: &Picture,
    info: &FormatInfo,
    meta: &FrameMeta,
    encode: ColorInfo,
) -> (Grid<f64>, Grid<[f64; 2]>) {
    let all = Grid::new(picture.size, |x, y| match info.model {
        Model::Yuv | Model::Gray => reference::yuv8(picture, meta.color.range, x, y),
        _ => {
            let [r, g, b, _] = reference::rgba(picture, meta.color, x, y).map(|c| (c + 0.5).floor());
            reference::encode([r, g, b], encode)
        }
    });
    let rect = meta.visible.unwrap_or(Rect::full(picture.size));
    reference::halve(&all.crop(rect).upright(meta.orientation))
}

/// What NV12 and I420 have to be, of pixels.
pub(super) fn encoded420(rgba: &Grid<[f64; 4]>, encode: ColorInfo) -> (Grid<f64>, Grid<[f64; 2]>) {
    reference::halve(&Grid::new(rgba.size, |x, y| {
        let [r, g, b, _] = rgba.at(x, y);
        reference::encode([r, g, b], encode)
    }))
}

/// Pixels that were written.
pub(super) fn read_rgba(bytes: &[u8], stride: usize, size: Size) -> Grid<[f64; 4]> {
    Grid::new(size, |x, y| {
        let at = y as usize * stride + x as usize * 4;
        [0, 1, 2, 3].map(|channel| f64::from(bytes[at + channel]))
    })
}

pub(super) fn distance420(got: &(Grid<f64>, Grid<[f64; 2]>), want: &(Grid<f64>, Grid<[f64; 2]>)) -> f64 {
    assert_eq!((got.0.size, got.1.size), (want.0.size, want.1.size));
    let off = |got: &f64, want: &f64| (got - (want + 0.5).floor()).abs();
    let luma = got.0.pixels.iter().zip(&want.0.pixels).map(|(g, w)| off(g, w));
    let pairs = got.1.pixels.iter().flatten().zip(want.1.pixels.iter().flatten());
    luma.chain(pairs.map(|(g, w)| off(g, w))).fold(0.0, f64::max)
}
