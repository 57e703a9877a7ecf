// Chroma lies where the frame says it does.

/// H.273 and the sitings, in 64-bit arithmetic: the reference for what the CPU's converter does not do.
fn sited(size: Size, rgba: &[u8], siting: ChromaSiting) -> Vec<u8> {
    let (kr, kb) = (0.2126, 0.0722);
    let (width, height) = (i64::from(size.width), i64::from(size.height));
    let pixel = |x: i64, y: i64, channel: usize| {
        let at = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)) as usize * 4 + channel;
        f64::from(rgba[at]) / 255.0
    };
    let luma = |rgb: [f64; 3]| kr * rgb[0] + (1.0 - kr - kb) * rgb[1] + kb * rgb[2];
    let code = |value: f64| value.round().clamp(0.0, 255.0) as u8;
    let mut out = Vec::new();
    for y in 0..height {
        for x in 0..width {
            out.push(code(16.0 + 219.0 * luma([0, 1, 2].map(|c| pixel(x, y, c)))));
        }
    }
    // Taps from one before the upper left pixel on.
    const FIRST: [f64; 4] = [0.25, 0.5, 0.25, 0.0];
    const BETWEEN: [f64; 4] = [0.0, 0.5, 0.5, 0.0];
    const LAST: [f64; 4] = [0.0, 0.25, 0.5, 0.25];
    let (across, down) = match siting {
        ChromaSiting::Left => (FIRST, BETWEEN),
        ChromaSiting::TopLeft => (FIRST, FIRST),
        ChromaSiting::Top => (BETWEEN, FIRST),
        ChromaSiting::BottomLeft => (FIRST, LAST),
        ChromaSiting::Bottom => (BETWEEN, LAST),
        _ => (BETWEEN, BETWEEN),
    };
    for y in (0..height).step_by(2) {
        for x in (0..width).step_by(2) {
            let rgb = [0, 1, 2].map(|c| {
                let mut sum = 0.0;
                for (j, wy) in (-1..).zip(down) {
                    for (i, wx) in (-1..).zip(across) {
                        sum += wx * wy * pixel(x + i, y + j, c);
                    }
                }
                sum
            });
            let luma = luma(rgb);
            out.push(code(128.0 + 224.0 * (rgb[2] - luma) / (2.0 * (1.0 - kb))));
            out.push(code(128.0 + 224.0 * (rgb[0] - luma) / (2.0 * (1.0 - kr))));
        }
    }
    out
}

#[test]
fn chroma_is_where_the_frame_says_it_is() {
    let Some(bench) = Bench::plain() else { return };
    for size in [SIZES[1], SIZES[2]] {
        let rgba = picture(size.width as usize * size.height as usize * 4, 3);
        let view = texture(&bench.gpu, size, &rgba);
        for siting in [
            ChromaSiting::Left,
            ChromaSiting::Center,
            ChromaSiting::TopLeft,
            ChromaSiting::Top,
            ChromaSiting::BottomLeft,
            ChromaSiting::Bottom,
        ] {
            let color = ColorInfo {
                siting,
                ..ColorInfo::BT709
            };
            let nv12 = exported(&bench.gpu)(Fourcc::NV12, size, color);
            let frame = export(&nv12, &view);
            assert_eq!(frame.meta().color.siting, siting);
            let wanted = sited(size, &rgba, siting);
            near(&tight(&frame), &wanted, 1, &format!("{size} {siting:?}"));
            // The other orders of the same samples.
            let seen = tight(&frame);
            let (luma, pairs) = seen.split_at((size.width * size.height) as usize);
            let split = |odd: usize| pairs.iter().skip(odd).step_by(2).copied().collect::<Vec<_>>();
            for (fourcc, chroma) in [
                (Fourcc::NV21, pairs.chunks(2).flat_map(|p| [p[1], p[0]]).collect()),
                (Fourcc::YUV420, [split(0), split(1)].concat()),
                (Fourcc::YVU420, [split(1), split(0)].concat()),
            ] {
                let other = tight(&export(&exported(&bench.gpu)(fourcc, size, color), &view));
                assert!(
                    other == [luma, &chroma[..]].concat(),
                    "{fourcc} {size} {siting:?}"
                );
            }
        }
    }
    bench.done();
}

#[test]
fn packed_4_2_2_keeps_every_row_of_chroma() {
    let Some(bench) = Bench::plain() else { return };
    // Rows of one colour each: chroma is that colour's, on every row.
    let size = Size::new(6, 4);
    let colors = [
        [255, 0, 0, 255],
        [0, 255, 0, 255],
        [0, 0, 255, 255],
        [255, 255, 255, 255u8],
    ];
    let rgba: Vec<u8> = colors.iter().flat_map(|color| color.repeat(6)).collect();
    let view = texture(&bench.gpu, size, &rgba);
    let frame = export(&exported(&bench.gpu)(Fourcc::YUYV, size, ColorInfo::BT709), &view);
    // Y, Cb, Cr of the primaries in BT.709.
    let codes = [[63, 102, 240], [173, 42, 26], [32, 240, 118], [235, 128, 128u8]];
    let wanted: Vec<u8> = codes
        .iter()
        .flat_map(|[y, u, v]| [*y, *u, *y, *v].repeat(3))
        .collect();
    near(&tight(&frame), &wanted, 1, "YUYV");
    drop(frame);
    bench.done();
}
