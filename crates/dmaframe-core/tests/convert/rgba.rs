//! Every format becomes RGBA, with every pixel where it belongs.

use dmaframe_core::convert::{Assume, Converter};
use dmaframe_core::format::{Model, all_formats};
use dmaframe_core::{ColorInfo, Fourcc, Frame, FrameParts, Layout, Orientation, Plane, Range, Rect, Size};

use super::compare::{NOW, SIZES, color, distance, expected, natural};
use super::pack::{Picture, Random, Store, foreign, meta, padded, private};
use super::reference::Grid;

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

/// Every code value of each depth, by H.273's own formula: cut to 8 bits first, two in five would be off by one.
#[test]
fn limited_rgb_of_any_depth_is_rounded_once() {
    let mut random = Random(9);
    let said = ColorInfo {
        range: Range::Limited,
        ..ColorInfo::SRGB
    };
    for info in all_formats().iter().filter(|info| info.model == Model::Rgb) {
        let size = Size::new(256, if info.depth == 16 { 256 } else { 4 });
        let mut picture = Picture::random(info.fourcc, size, &mut random);
        for (channel, (name, values, _, max)) in picture.channels.iter_mut().enumerate() {
            if *name != 'a' {
                // All of them in each channel, and in none at the same pixel.
                for (value, n) in values.iter_mut().zip(23 * channel as u32..) {
                    *value = n % (*max + 1);
                }
            }
        }
        let layout = padded(info.fourcc, size, 5);
        let full = expected(&picture, said, &meta(said));
        let want = Grid::new(size, |x, y| {
            let channel = |name| {
                // What the format has no channel for is black.
                let (value, max) = picture.at(name, x, y).unwrap_or((0, 255));
                let bits = max.count_ones();
                let eight = match picture.store {
                    Store::HalfFloat(_) => f64::from(value) * 255.0 / 1024.0,
                    // Less than 8 bits are read as their expansion.
                    _ if bits < 8 => f64::from(value) * 255.0 / f64::from(max),
                    _ => f64::from(value) / f64::from(1u32 << (bits - 8)),
                };
                ((eight - 16.0) / 219.0 * 255.0).clamp(0.0, 255.0)
            };
            let [r, g, b] = ['r', 'g', 'b'].map(channel);
            [r, g, b, full.at(x, y)[3]]
        });
        let frame = private(&layout, picture.bytes(&layout, &mut random), meta(said));
        let (out, done) = Converter::new(Assume::Refuse).rgba_image(&frame, NOW).unwrap();
        assert_eq!(distance(&out, 4 * 256, &want), 0.0, "{}", info.name);
        assert_eq!(done.result, ColorInfo::SRGB);
    }
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
