// Scaling is a tent filter, at a bounded cost.

/// What a tent filter gives, in floating point, sample by sample over the whole picture: PIL's and Mesa's own way.
fn tent(pixels: &[[u8; 4]], from: Size, to: Size, x: u32, y: u32) -> [f64; 4] {
    let weights = |i: u32, from: u32, to: u32| -> Vec<f64> {
        let ratio = f64::from(from) / f64::from(to);
        let (centre, radius) = ((f64::from(i) + 0.5) * ratio, ratio.max(1.0));
        let raw = (0..from).map(|k| (1.0 - (f64::from(k) + 0.5 - centre).abs() / radius).max(0.0));
        let raw: Vec<_> = raw.collect();
        let sum: f64 = raw.iter().sum();
        raw.into_iter().map(|w| w / sum).collect()
    };
    let (wx, wy) = (
        weights(x, from.width, to.width),
        weights(y, from.height, to.height),
    );
    let mut out = [0.0; 4];
    for (j, wy) in wy.iter().enumerate() {
        for (i, wx) in wx.iter().enumerate() {
            let pixel = pixels[j * from.width as usize + i];
            for (out, c) in out.iter_mut().zip(pixel) {
                *out += wx * wy * f64::from(c);
            }
        }
    }
    out
}

#[test]
fn shrinking_leaves_no_pattern_finer_than_the_target() {
    let Some(rig) = rig() else { return };
    let size = Size::new(96, 48);
    let (source, _) = painted(&rig, size, |x, y| {
        if (x + y) % 2 == 0 {
            [255; 4]
        } else {
            [0, 0, 0, 255]
        }
    });
    // By 4, by 3 (where the mean of a target pixel's own nine would still be striped), by 8 and 2.
    for (w, h) in [(24, 12), (32, 16), (12, 24)] {
        for path in [Path::Fragment, Path::Auto] {
            let (shot, _) = rig
                .shoot(srgb(&source, size), Size::new(w, h), path, &Conversion::default())
                .unwrap();
            for (i, pixel) in rig.pixels(&shot).chunks(4).enumerate() {
                let (x, y) = (i as u32 % w, i as u32 / w);
                // At the edges half of the tent is missing.
                let edge = x == 0 || y == 0 || x == w - 1 || y == h - 1;
                let off = pixel[..3].iter().map(|c| c.abs_diff(128)).max().unwrap();
                assert!(
                    off <= if edge { 16 } else { 3 },
                    "{w}x{h} {path:?}: {pixel:?} at {x}, {y}"
                );
            }
        }
    }
    // The control: picking pixels gives all of it white or black.
    let mut nearest = Conversion::default();
    nearest.filter = Filter::Nearest;
    let (shot, _) = rig
        .shoot(srgb(&source, size), Size::new(24, 12), Path::Auto, &nearest)
        .unwrap();
    assert!(rig.pixels(&shot).chunks(4).all(|p| p[0] == 0 || p[0] == 255));
    silent();
}

#[test]
fn scaling_is_a_tent_filter_in_any_turn() {
    let Some(rig) = rig() else { return };
    let size = Size::new(19, 14);
    let mut random = Random(16);
    let noise: Vec<[u8; 4]> = (0..19 * 14)
        .map(|_| (random.next() as u32).to_le_bytes())
        .collect();
    let (source, pixels) = painted(&rig, size, |x, y| noise[(y * 19 + x) as usize]);
    for to in [
        Size::new(38, 28),
        Size::new(23, 31),
        Size::new(7, 9),
        Size::new(19, 7),
        Size::new(1, 1),
    ] {
        for orientation in Orientation::all() {
            let upright = if orientation.swaps_axes() {
                Size::new(to.height, to.width)
            } else {
                to
            };
            let mut conversion = Conversion::default();
            conversion.orientation = Some(orientation);
            let (shot, _) = rig
                .shoot(srgb(&source, size), upright, Path::Auto, &conversion)
                .unwrap();
            let got = rig.pixels(&shot);
            for (i, pixel) in got.chunks(4).enumerate() {
                // Turned back by hand: clockwise turns undone, then the mirror.
                let (x, y) = (i as u32 % upright.width, i as u32 / upright.width);
                let (x, y) = match orientation.rotation {
                    Rotation::R0 => (x, y),
                    Rotation::R90 => (y, to.height - 1 - x),
                    Rotation::R180 => (to.width - 1 - x, to.height - 1 - y),
                    Rotation::R270 => (to.width - 1 - y, x),
                };
                let x = if orientation.mirror { to.width - 1 - x } else { x };
                for (got, want) in pixel.iter().zip(tent(&pixels, size, to, x, y)) {
                    assert!(
                        (f64::from(*got) - want).abs() <= 1.0,
                        "{to} {orientation:?} at {x}, {y}: {got}, {want}"
                    );
                }
            }
        }
    }
    silent();
}

#[test]
fn a_huge_picture_in_one_pixel_is_looked_at_in_few_places() {
    let Some(rig) = rig() else { return };
    // 4 million taps if nothing bounded them: minutes on a software renderer.
    let size = Size::new(2048, 2048);
    let (source, _) = painted(&rig, size, |x, _| if x < 1024 { [0; 4] } else { [200; 4] });
    let (shot, _) = rig
        .shoot(
            srgb(&source, size),
            Size::new(1, 1),
            Path::Auto,
            &Conversion::default(),
        )
        .unwrap();
    let got = rig.pixels(&shot);
    assert!(got.iter().all(|c| c.abs_diff(100) <= 4), "{got:?}");
    silent();
}
