//! Whatever the frame.

use dmaframe_core::convert::{Assume, Converter};
use dmaframe_core::format::{Model, all_formats};
use dmaframe_core::{ColorInfo, Fourcc, Orientation, Range, Rect, Size};
use proptest::prelude::*;

use super::compare::{
    NOW, color, distance, distance420, encoded420, expected, expected420, read_rgba, read420, target,
};
use super::pack::{Picture, Random, foreign, meta, padded, private};

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

        let want = match info.model {
            // Made of these pixels, whose last bit is the interpolation's.
            Model::Bayer => encoded420(&read_rgba(&out, stride, want.size), ColorInfo::BT709),
            _ => expected420(&picture, info, &meta, ColorInfo::BT709),
        };
        for fourcc in [Fourcc::NV12, Fourcc::YUV420] {
            let mut out = target(fourcc, want.0.size, pad % 3);
            let mut converter = Converter::new(Assume::Refuse).encode_as(ColorInfo::BT709);
            converter.to_frame(&frame, &mut out, NOW).unwrap();
            prop_assert!(distance420(&read420(&out), &want) <= 1.0, "{} to {fourcc}", info.name);
        }
    }
}
