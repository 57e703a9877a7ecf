//! Every format becomes NV12 and I420.

use dmaframe_core::convert::{Assume, Converter};
use dmaframe_core::format::{Model, all_formats};
use dmaframe_core::{ChromaSiting, ColorInfo, Fourcc, Layout, Orientation, Range, Rect, Rotation, Size};

use super::compare::{NOW, SIZES, color, distance420, expected420, natural, read420, target};
use super::pack::{Picture, Random, meta, padded, private};

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
fn the_result_says_where_its_chroma_lies() {
    use ChromaSiting::{Bottom, BottomLeft, Center, Left, Top, TopLeft, Unspecified};
    let turn = |rotation, mirror| Orientation { rotation, mirror };
    let upright = Orientation::IDENTITY;
    let mirrored = turn(Rotation::R0, true);
    let even = (2, 4, 24, 20);
    let odd = (1, 3, 21, 17);
    // Format and what it says, the turn, the crop: what the result says.
    let rows = [
        (Fourcc::NV12, Left, upright, even, Left),
        (Fourcc::NV12, Center, upright, even, Center),
        (Fourcc::P010, TopLeft, upright, even, TopLeft),
        (Fourcc::NV21, Top, upright, even, Top),
        (Fourcc::YUV420, BottomLeft, upright, odd, BottomLeft),
        (Fourcc::P030, Bottom, upright, even, Bottom),
        (Fourcc::YUV420, Unspecified, upright, even, Unspecified),
        // The mean of two neighbours lies between them, which is one pixel on, as the block is.
        (Fourcc::NV12, Left, upright, odd, Left),
        (Fourcc::NV12, TopLeft, upright, odd, TopLeft),
        // Averaged where the source had more.
        (Fourcc::NV24, Left, upright, even, Center),
        (Fourcc::YUV444, Unspecified, upright, odd, Center),
        (Fourcc::AYUV, TopLeft, mirrored, even, Center),
        (Fourcc::NV16, Left, upright, even, Left),
        (Fourcc::YUYV, TopLeft, upright, even, Left),
        (Fourcc::YUYV, Bottom, upright, even, Center),
        (Fourcc::YUYV, Center, upright, even, Center),
        (Fourcc::YUYV, Unspecified, upright, even, Unspecified),
        // Beside the right column: that has no name.
        (Fourcc::NV12, Left, mirrored, even, Unspecified),
        (Fourcc::NV12, Left, turn(Rotation::R180, false), even, Unspecified),
        (
            Fourcc::NV12,
            TopLeft,
            turn(Rotation::R90, false),
            even,
            Unspecified,
        ),
        (
            Fourcc::NV12,
            Bottom,
            turn(Rotation::R270, true),
            even,
            Unspecified,
        ),
        // Columns become rows, upright or upside down.
        (Fourcc::NV12, Left, turn(Rotation::R90, false), even, Top),
        (Fourcc::NV12, Left, turn(Rotation::R270, false), even, Bottom),
        (Fourcc::NV12, Top, turn(Rotation::R270, false), even, Left),
        (Fourcc::NV12, Bottom, turn(Rotation::R90, false), odd, Left),
        (
            Fourcc::NV12,
            BottomLeft,
            turn(Rotation::R90, false),
            even,
            TopLeft,
        ),
        (Fourcc::NV12, Left, turn(Rotation::R180, true), even, Left),
        (
            Fourcc::NV12,
            TopLeft,
            turn(Rotation::R180, true),
            even,
            BottomLeft,
        ),
        (Fourcc::NV12, BottomLeft, turn(Rotation::R180, true), odd, TopLeft),
        (Fourcc::NV12, Top, turn(Rotation::R180, false), even, Bottom),
        (Fourcc::NV12, Bottom, mirrored, even, Bottom),
        (Fourcc::NV12, Center, turn(Rotation::R270, true), even, Center),
        (Fourcc::R8, Left, upright, even, Center),
        (Fourcc::XRGB8888, Unspecified, upright, even, Center),
    ];
    let mut random = Random(11);
    let size = Size::new(29, 27);
    for (fourcc, said, orientation, (x, y, width, height), want) in rows {
        let picture = Picture::random(fourcc, size, &mut random);
        let layout = padded(fourcc, size, 3);
        let mut meta = meta(ColorInfo {
            siting: said,
            ..natural(fourcc.info().unwrap())
        });
        meta.orientation = orientation;
        meta.visible = Some(Rect { x, y, width, height });
        let frame = private(&layout, picture.bytes(&layout, &mut random), meta);
        let mut out = target(Fourcc::NV12, Converter::size(&frame), 0);
        let done = Converter::new(Assume::Refuse)
            .to_frame(&frame, &mut out, NOW)
            .unwrap();
        let what = format!("{fourcc} {said:?} {orientation:?} {x},{y}");
        assert_eq!(done.result.siting, want, "{what}");
        assert_eq!(out.meta().color, done.result, "{what}");
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
