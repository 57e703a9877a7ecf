//! CPU conversion against a float reference: every format, odd sizes, padding, crops, turns, memory of all kinds.
#![cfg(feature = "convert")]

mod pack;
mod reference;

use dmaframe_core::convert::{Assume, ConvertError, Converter};
use dmaframe_core::format::{FormatInfo, Model, all_formats};
use dmaframe_core::{
    ColorInfo, Deadline, Error, Fourcc, Frame, FrameMeta, FrameParts, Layout, Modifier, Orientation, Plane,
    Range, Rect, Size,
};
use pack::{Picture, Random, foreign, meta, padded, private};
use reference::Grid;

const NOW: Deadline = Deadline::NEVER;

/// Sizes below, at and above every SIMD width, odd ones among them.
const SIZES: [(u32, u32); 9] = [
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

fn color(matrix: u8, range: Range) -> ColorInfo {
    ColorInfo {
        matrix,
        range,
        ..ColorInfo::BT709
    }
}

/// How a format's samples are read: RGB and gray full range.
fn natural(info: &FormatInfo) -> ColorInfo {
    match info.model {
        Model::Yuv => ColorInfo::BT601,
        _ => ColorInfo::SRGB,
    }
}

/// Largest distance of `got` from the float reference, after rounding that.
fn distance(got: &[u8], stride: usize, want: &Grid<[f64; 4]>) -> f64 {
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

fn expected(picture: &Picture, color: ColorInfo, meta: &FrameMeta) -> Grid<[f64; 4]> {
    let all = Grid::new(picture.size, |x, y| reference::rgba(picture, color, x, y));
    all.crop(meta.visible.unwrap_or(Rect::full(picture.size)))
        .upright(meta.orientation)
}

#[test]
fn every_format_becomes_rgba_at_odd_sizes_and_strides() {
    let mut random = Random(1);
    let mut converter = Converter::new(Assume::Refuse);
    let mut worst = std::collections::BTreeMap::new();
    for info in all_formats() {
        for (i, (w, h)) in SIZES.into_iter().enumerate() {
            let size = Size::new(w, h);
            let picture = Picture::random(info.fourcc, size, &mut random);
            let layout = padded(info.fourcc, size, [0, 13, 64][i % 3]);
            let bytes = picture.bytes(&layout, &mut random);
            let meta = meta(natural(info));
            let want = expected(&picture, meta.color, &meta);
            let stride = w as usize * 4 + [0, 12, 3][i % 3];
            // Ends with the last pixel, as the source does.
            let mut out = vec![7; stride * (h as usize - 1) + w as usize * 4];
            let frame = private(&layout, bytes.clone(), meta.clone());
            let done = converter.to_rgba(&frame, NOW, &mut out, stride).expect(info.name);
            assert_eq!((done.size, done.assumed), (size, false));
            let off = distance(&out, stride, &want);
            let max = worst.entry(info.name).or_insert(0.0f64);
            *max = max.max(off);

            let mut copied = vec![7; out.len()];
            let frame = foreign(&layout, &bytes, meta);
            converter
                .to_rgba(&frame, NOW, &mut copied, stride)
                .expect(info.name);
            for (a, b) in out.chunks(stride).zip(copied.chunks(stride)) {
                assert_eq!(
                    a[..w as usize * 4],
                    b[..w as usize * 4],
                    "{} from foreign memory",
                    info.name
                );
            }
        }
    }
    println!("{worst:?}");
    for info in all_formats() {
        let limit = if info.model == Model::Rgb { 0.0 } else { 1.0 };
        assert!(
            worst[info.name] <= limit,
            "{}: off by {}",
            info.name,
            worst[info.name]
        );
    }
}

/// SIMD code ends rows in its own ways for each remainder.
#[test]
fn every_width_has_its_pixels_where_they_belong() {
    let mut random = Random(7);
    let mut converter = Converter::new(Assume::Refuse);
    for info in all_formats().iter().filter(|info| info.model == Model::Yuv) {
        for width in 1..140 {
            let size = Size::new(width, 1 + width % 3);
            let picture = Picture::random(info.fourcc, size, &mut random);
            let layout = padded(info.fourcc, size, width % 2);
            let meta = meta(ColorInfo::BT709);
            let want = expected(&picture, meta.color, &meta);
            let frame = private(&layout, picture.bytes(&layout, &mut random), meta);
            let (out, _) = converter.rgba_image(&frame, NOW).unwrap();
            let off = distance(&out, width as usize * 4, &want);
            assert!(off <= 1.0, "{} {size}: off by {off}", info.name);
        }
    }
}

#[test]
fn matrices_and_ranges_are_the_frames() {
    let mut random = Random(2);
    let size = Size::new(70, 34);
    let formats = [
        Fourcc::NV12,
        Fourcc::YUV422,
        Fourcc::YUYV,
        Fourcc::AYUV,
        Fourcc::P010,
        Fourcc::NV24,
        Fourcc::R8,
    ];
    for fourcc in formats {
        for matrix in [1, 4, 5, 6, 7, 9] {
            for range in [Range::Limited, Range::Full] {
                let picture = Picture::random(fourcc, size, &mut random);
                let layout = padded(fourcc, size, 5);
                let meta = meta(color(matrix, range));
                let want = expected(&picture, meta.color, &meta);
                let frame = private(&layout, picture.bytes(&layout, &mut random), meta);
                let (out, _) = Converter::new(Assume::Refuse).rgba_image(&frame, NOW).unwrap();
                let off = distance(&out, 4 * 70, &want);
                assert!(off <= 1.0, "{fourcc} matrix {matrix} {range:?}: off by {off}");
            }
        }
    }
}

#[test]
fn rgb_is_encoded_with_any_matrix_and_range() {
    let mut random = Random(8);
    let size = Size::new(71, 35);
    let info = Fourcc::XRGB8888.info().unwrap();
    for matrix in [1, 4, 5, 6, 7, 9] {
        for range in [Range::Limited, Range::Full] {
            let picture = Picture::random(Fourcc::XRGB8888, size, &mut random);
            let layout = padded(Fourcc::XRGB8888, size, 5);
            let meta = meta(ColorInfo::SRGB);
            let encode = color(matrix, range);
            let want = expected420(&picture, info, &meta, encode);
            let frame = private(&layout, picture.bytes(&layout, &mut random), meta);
            for fourcc in [Fourcc::NV12, Fourcc::YUV420] {
                let mut out = target(fourcc, size, 0);
                let mut converter = Converter::new(Assume::Refuse).encode_as(encode);
                converter.to_frame(&frame, &mut out, NOW).unwrap();
                let off = distance420(&read420(&out), &want);
                assert!(off <= 1.0, "{fourcc} matrix {matrix} {range:?}: off by {off}");
            }
        }
    }
}

#[test]
fn crops_and_all_eight_turns_are_exact_permutations() {
    let mut random = Random(3);
    let size = Size::new(45, 37);
    let crops = [
        None,
        Some((0, 0, 44, 36)),
        Some((3, 5, 31, 29)),
        Some((2, 1, 1, 36)),
        Some((44, 36, 1, 1)),
    ];
    for fourcc in [
        Fourcc::ABGR8888,
        Fourcc::NV12,
        Fourcc::YUYV,
        Fourcc::NV15,
        Fourcc::SGRBG10P,
        Fourcc::R8,
    ] {
        let picture = Picture::random(fourcc, size, &mut random);
        let layout = padded(fourcc, size, 9);
        let bytes = picture.bytes(&layout, &mut random);
        let natural = natural(fourcc.info().unwrap());
        let (upright, _) = Converter::new(Assume::Refuse)
            .rgba_image(&private(&layout, bytes.clone(), meta(natural)), NOW)
            .unwrap();
        let all = Grid::new(size, |x, y| {
            let at = (y * size.width + x) as usize * 4;
            <[u8; 4]>::try_from(&upright[at..at + 4]).unwrap()
        });
        for crop in crops {
            for orientation in Orientation::all() {
                let mut meta = meta(natural);
                meta.orientation = orientation;
                meta.visible = crop.map(|(x, y, width, height)| Rect { x, y, width, height });
                let want = all
                    .crop(meta.visible.unwrap_or(Rect::full(size)))
                    .upright(orientation);
                let frame = private(&layout, bytes.clone(), meta);
                let (out, done) = Converter::new(Assume::Refuse).rgba_image(&frame, NOW).unwrap();
                assert_eq!(done.size, want.size);
                assert_eq!(out, want.pixels.concat(), "{fourcc} {crop:?} {orientation:?}");
            }
        }
    }
}

/// A destination of its own for `size`, padded, perhaps coded larger than shown.
fn target(fourcc: Fourcc, size: Size, coded_more: u32) -> Frame {
    let coded = Size::new(size.width + coded_more, size.height + coded_more);
    let layout = padded(fourcc, coded, 11);
    let mut meta = FrameMeta::default();
    meta.visible = Some(Rect::full(size));
    private(&layout, vec![0x55; pack::len(&layout)], meta)
}

/// Luma and chroma of an NV12 or I420 frame's visible part.
fn read420(frame: &Frame) -> (Grid<f64>, Grid<[f64; 2]>) {
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
fn expected420(
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

fn distance420(got: &(Grid<f64>, Grid<[f64; 2]>), want: &(Grid<f64>, Grid<[f64; 2]>)) -> f64 {
    assert_eq!((got.0.size, got.1.size), (want.0.size, want.1.size));
    let off = |got: &f64, want: &f64| (got - (want + 0.5).floor()).abs();
    let luma = got.0.pixels.iter().zip(&want.0.pixels).map(|(g, w)| off(g, w));
    let pairs = got.1.pixels.iter().flatten().zip(want.1.pixels.iter().flatten());
    luma.chain(pairs.map(|(g, w)| off(g, w))).fold(0.0, f64::max)
}

#[test]
fn every_format_becomes_nv12_and_i420() {
    let mut random = Random(4);
    let mut converter = Converter::new(Assume::Refuse);
    let mut worst = std::collections::BTreeMap::new();
    for info in all_formats() {
        for (i, (w, h)) in SIZES.into_iter().enumerate() {
            let size = Size::new(w, h);
            let picture = Picture::random(info.fourcc, size, &mut random);
            let layout = padded(info.fourcc, size, [13, 0, 64][i % 3]);
            let bytes = picture.bytes(&layout, &mut random);
            let meta = meta(natural(info));
            let want = expected420(&picture, info, &meta, ColorInfo::BT601);
            for fourcc in [Fourcc::NV12, Fourcc::YUV420] {
                let mut out = target(fourcc, size, i as u32 % 4);
                let frame = private(&layout, bytes.clone(), meta.clone());
                converter.to_frame(&frame, &mut out, NOW).expect(info.name);
                let off = distance420(&read420(&out), &want);
                let max = worst.entry(info.name).or_insert(0.0f64);
                *max = max.max(off);
            }
        }
    }
    println!("{worst:?}");
    for info in all_formats() {
        // 8-bit YUV is only moved and averaged.
        let limit = if info.model == Model::Yuv && info.depth == 8 {
            0.0
        } else {
            1.0
        };
        assert!(
            worst[info.name] <= limit,
            "{}: off by {}",
            info.name,
            worst[info.name]
        );
    }
}

#[test]
fn crops_and_turns_reach_nv12_and_i420_with_their_chroma() {
    let mut random = Random(5);
    let crops = [
        None,
        Some((0, 0, 20, 18)),
        Some((3, 5, 21, 19)),
        Some((2, 4, 24, 20)),
        Some((1, 2, 24, 23)),
    ];
    let sizes = [Size::new(29, 27), Size::new(28, 28)];
    let formats = [
        Fourcc::NV12,
        Fourcc::NV21,
        Fourcc::YUV420,
        Fourcc::YUYV,
        Fourcc::YUV444,
        Fourcc::P010,
        Fourcc::R8,
        Fourcc::XRGB8888,
    ];
    for (fourcc, size) in formats.into_iter().flat_map(|f| sizes.map(|s| (f, s))) {
        let info = fourcc.info().unwrap();
        let picture = Picture::random(fourcc, size, &mut random);
        let layout = padded(fourcc, size, 3);
        let bytes = picture.bytes(&layout, &mut random);
        for crop in crops {
            for orientation in Orientation::all() {
                let mut meta = meta(natural(info));
                meta.orientation = orientation;
                meta.visible = crop.map(|(x, y, width, height)| Rect { x, y, width, height });
                let want = expected420(&picture, info, &meta, ColorInfo::BT709);
                for target_fourcc in [Fourcc::NV12, Fourcc::YUV420] {
                    let frame = private(&layout, bytes.clone(), meta.clone());
                    let mut out = target(target_fourcc, want.0.size, 1);
                    let mut converter = Converter::new(Assume::Refuse).encode_as(ColorInfo::BT709);
                    converter.to_frame(&frame, &mut out, NOW).unwrap();
                    let off = distance420(&read420(&out), &want);
                    let limit = if info.depth == 8 && info.model == Model::Yuv {
                        0.0
                    } else {
                        1.0
                    };
                    assert!(
                        off <= limit,
                        "{fourcc} {size} to {target_fourcc} {crop:?} {orientation:?}: {off}"
                    );
                }
            }
        }
    }
}

#[test]
fn nm12_in_two_objects_reads_as_nv12() {
    use std::os::unix::fs::FileExt;
    let mut random = Random(6);
    let size = Size::new(51, 23);
    let picture = Picture::random(Fourcc::NV12, size, &mut random);
    let layout = Layout::tight(Fourcc::NV12, size).unwrap();
    let bytes = picture.bytes(&layout, &mut random);
    let (luma, chroma) = bytes.split_at(51 * 23);
    let mut parts = FrameParts::new(Fourcc::NV12, size);
    for (object, (data, stride)) in [(luma, 51), (chroma, 52)].into_iter().enumerate() {
        let file = dmaframe_testkit::memfd(data.len() as u64 + 100, true).unwrap();
        file.write_all_at(data, 100).unwrap();
        parts.objects.push(file.into());
        parts.planes.push(Plane {
            object,
            offset: 100,
            stride,
        });
    }
    parts.meta = meta(ColorInfo::BT709);
    let two = Frame::try_from(parts).unwrap();
    let one = private(&layout, bytes, meta(ColorInfo::BT709));
    let mut converter = Converter::new(Assume::Refuse);
    let both = [two, one].map(|frame| converter.rgba_image(&frame, NOW).unwrap().0);
    assert_eq!(both[0], both[1]);
}

#[test]
fn limited_rgb_is_expanded() {
    let layout = Layout::tight(Fourcc::BGR888, Size::new(3, 1)).unwrap();
    let said = ColorInfo {
        range: Range::Limited,
        ..ColorInfo::SRGB
    };
    let frame = private(&layout, vec![16, 235, 0, 255, 126, 17, 20, 30, 40], meta(said));
    let (out, done) = Converter::new(Assume::Refuse).rgba_image(&frame, NOW).unwrap();
    assert_eq!(out, [0, 255, 0, 255, 255, 128, 1, 255, 5, 16, 28, 255]);
    assert_eq!(done.result, ColorInfo::SRGB);
}

#[test]
fn unspecified_colour_is_refused_or_assumed_and_said() {
    let frame = |size: Size, fourcc, color| {
        let layout = Layout::tight(fourcc, size).unwrap();
        private(&layout, vec![128; layout.tight_len() as usize], meta(color))
    };
    let sd = frame(Size::new(640, 480), Fourcc::NV12, ColorInfo::UNSPECIFIED);
    let hd = frame(Size::new(1280, 720), Fourcc::NV12, ColorInfo::UNSPECIFIED);
    let convert = |assume, frame: &Frame| {
        Converter::new(assume)
            .rgba_image(frame, NOW)
            .map(|(_, done)| done)
    };

    let refused = convert(Assume::Refuse, &sd).unwrap_err();
    assert_eq!(
        refused,
        ConvertError::Unspecified {
            fourcc: Fourcc::NV12,
            what: "range"
        }
    );
    let full = ColorInfo {
        range: Range::Full,
        ..ColorInfo::UNSPECIFIED
    };
    let refused = convert(Assume::Refuse, &frame(Size::new(2, 2), Fourcc::NV12, full)).unwrap_err();
    assert_eq!(
        refused,
        ConvertError::Unspecified {
            fourcc: Fourcc::NV12,
            what: "matrix"
        }
    );

    let done = convert(Assume::Auto, &sd).unwrap();
    assert_eq!((done.source, done.assumed), (ColorInfo::BT601, true));
    assert_eq!((done.result.matrix, done.result.range), (0, Range::Full));
    assert_eq!(convert(Assume::Auto, &hd).unwrap().source, ColorInfo::BT709);
    assert_eq!(
        convert(Assume::As(ColorInfo::JFIF), &hd).unwrap().source,
        ColorInfo::JFIF
    );
    // Only what is open is filled in.
    let done = convert(Assume::Auto, &frame(Size::new(2, 2), Fourcc::NV12, full)).unwrap();
    assert_eq!(
        (done.source.range, done.source.matrix, done.assumed),
        (Range::Full, 6, true)
    );
    // RGB leaves nothing to assume that pixels depend on; gray is full range by custom.
    let rgb = frame(Size::new(2, 2), Fourcc::XRGB8888, ColorInfo::UNSPECIFIED);
    assert!(!convert(Assume::Refuse, &rgb).unwrap().assumed);
    let gray = frame(Size::new(2, 2), Fourcc::R8, ColorInfo::UNSPECIFIED);
    assert_eq!(convert(Assume::Auto, &gray).unwrap().source.range, Range::Full);
    assert!(convert(Assume::Refuse, &gray).is_err());
}

#[test]
fn unknown_matrices_are_refused() {
    for matrix in [0, 3, 8, 10, 14, 255] {
        let layout = Layout::tight(Fourcc::NV12, Size::new(2, 2)).unwrap();
        let frame = private(&layout, vec![0; 6], meta(color(matrix, Range::Limited)));
        let refused = Converter::new(Assume::Auto).rgba_image(&frame, NOW).unwrap_err();
        assert_eq!(
            refused,
            ConvertError::Matrix {
                fourcc: Fourcc::NV12,
                matrix
            }
        );
    }
}

#[test]
fn bad_destinations_are_refused_with_numbers() {
    let layout = Layout::tight(Fourcc::NV12, Size::new(5, 3)).unwrap();
    let frame = private(
        &layout,
        vec![0; layout.tight_len() as usize],
        meta(ColorInfo::BT709),
    );
    let mut converter = Converter::new(Assume::Refuse);
    let size = Size::new(5, 3);
    let refused = converter.to_rgba(&frame, NOW, &mut [0; 59], 20).unwrap_err();
    assert_eq!(
        refused,
        ConvertError::TooSmall {
            found: 59,
            needed: 60,
            size
        }
    );
    let refused = converter.to_rgba(&frame, NOW, &mut [0; 600], 19).unwrap_err();
    assert_eq!(
        refused,
        ConvertError::Stride {
            found: 19,
            needed: 20
        }
    );
    let refused = converter
        .to_rgba(&frame, NOW, &mut [0; 60], usize::MAX)
        .unwrap_err();
    assert_eq!(
        refused,
        ConvertError::TooLarge {
            size,
            bytes_per_pixel: 4
        }
    );
    let refused = converter
        .to_frame(&frame, &mut target(Fourcc::XRGB8888, size, 0), NOW)
        .unwrap_err();
    assert_eq!(
        refused,
        ConvertError::Target {
            fourcc: Fourcc::XRGB8888
        }
    );
    let refused = converter
        .to_frame(&frame, &mut target(Fourcc::NV12, Size::new(3, 5), 0), NOW)
        .unwrap_err();
    let (found, needed) = (Size::new(3, 5), size);
    assert_eq!(
        refused,
        ConvertError::TargetSize {
            found,
            x: 0,
            y: 0,
            needed
        }
    );
    let mut out = target(Fourcc::NV12, size, 0);
    let _clone = out.clone();
    let refused = converter.to_frame(&frame, &mut out, NOW).unwrap_err();
    assert!(
        matches!(refused, ConvertError::Frame(Error::Shared { .. })),
        "{refused}"
    );
}

#[test]
fn tiled_memory_is_refused() {
    let mut parts = FrameParts::new(Fourcc::NV12, Size::new(64, 64));
    parts.modifier = Modifier(0x0100_0000_0000_0002);
    parts
        .objects
        .push(dmaframe_testkit::memfd(65536, true).unwrap().into());
    parts.planes = vec![
        Plane {
            object: 0,
            offset: 0,
            stride: 64,
        },
        Plane {
            object: 0,
            offset: 4096,
            stride: 64,
        },
    ];
    parts.meta = meta(ColorInfo::BT709);
    let modifier = parts.modifier;
    let frame = Frame::try_from(parts).unwrap();
    let refused = Converter::new(Assume::Auto).rgba_image(&frame, NOW).unwrap_err();
    assert_eq!(refused, ConvertError::Frame(Error::NotLinear { modifier }));
}

#[test]
fn a_result_carries_time_and_colour_and_is_upright() {
    let layout = Layout::tight(Fourcc::YUYV, Size::new(4, 2)).unwrap();
    let mut said = meta(ColorInfo::JFIF);
    said.sequence = Some(9);
    said.orientation = Orientation::all()[1];
    let frame = private(&layout, vec![90; 16], said);
    let mut out = target(Fourcc::YUV420, Size::new(2, 4), 0);
    let done = Converter::new(Assume::Refuse)
        .to_frame(&frame, &mut out, NOW)
        .unwrap();
    assert_eq!(
        (done.result, out.meta().color),
        (ColorInfo::JFIF, ColorInfo::JFIF)
    );
    assert_eq!(
        (out.meta().sequence, out.meta().orientation),
        (Some(9), Orientation::IDENTITY)
    );
    // RGB is encoded as asked.
    let layout = Layout::tight(Fourcc::XRGB8888, Size::new(2, 4)).unwrap();
    let frame = private(&layout, vec![90; 32], meta(ColorInfo::SRGB));
    let mut converter = Converter::new(Assume::Refuse).encode_as(ColorInfo::BT709);
    let done = converter.to_frame(&frame, &mut out, NOW).unwrap();
    assert_eq!(
        (done.result.matrix, done.result.range, done.result.transfer),
        (1, Range::Limited, 13)
    );
}

mod random {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

        /// Whatever the format, size, crop, turn, padding and noise: no panic, and the pixels are right.
        #[test]
        fn any_frame_converts(
            format in 0..all_formats().len(),
            (w, h) in (1u32..80, 1u32..60),
            crop in (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()),
            turn in 0usize..8,
            pad in 0u32..40,
            out_pad in 0usize..40,
            outside in any::<bool>(),
            full in any::<bool>(),
            seed in 1u64..,
        ) {
            let info = &all_formats()[format];
            let mut random = Random(seed);
            let size = Size::new(w, h);
            let (x, y) = (crop.0 % w, crop.1 % h);
            let mut meta = meta(color(1, if full || info.model != Model::Yuv { Range::Full } else { Range::Limited }));
            meta.visible = Some(Rect { x, y, width: 1 + crop.2 % (w - x), height: 1 + crop.3 % (h - y) });
            meta.orientation = Orientation::all()[turn];
            let picture = Picture::random(info.fourcc, size, &mut random);
            let layout = padded(info.fourcc, size, pad);
            let bytes = picture.bytes(&layout, &mut random);
            let frame = if outside {
                foreign(&layout, &bytes, meta.clone())
            } else {
                private(&layout, bytes, meta.clone())
            };
            let want = expected(&picture, meta.color, &meta);
            let row = want.size.width as usize * 4;
            let stride = row + out_pad;
            let mut out = vec![0; stride * (want.size.height as usize - 1) + row];
            let mut converter = Converter::new(Assume::Refuse);
            converter.to_rgba(&frame, NOW, &mut out, stride).unwrap();
            prop_assert!(distance(&out, stride, &want) <= 1.0, "{}", info.name);

            let want = expected420(&picture, info, &meta, ColorInfo::BT709);
            for fourcc in [Fourcc::NV12, Fourcc::YUV420] {
                let mut out = target(fourcc, want.0.size, pad % 3);
                let mut converter = Converter::new(Assume::Refuse).encode_as(ColorInfo::BT709);
                converter.to_frame(&frame, &mut out, NOW).unwrap();
                prop_assert!(distance420(&read420(&out), &want) <= 1.0, "{} to {fourcc}", info.name);
            }
        }
    }
}
