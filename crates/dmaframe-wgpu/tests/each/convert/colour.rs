// Colour, light and the place of chroma are what the frame says.

#[test]
fn matrices_and_ranges_are_the_frames() {
    let Some(rig) = rig() else { return };
    let mut random = Random(14);
    let size = Size::new(40, 22);
    for fourcc in [Fourcc::NV12, Fourcc::P010, Fourcc::R10] {
        for (matrix, range) in [1, 4, 5, 6, 7, 9]
            .into_iter()
            .flat_map(|m| [(m, Range::Limited), (m, Range::Full)])
        {
            let color = ColorInfo {
                matrix,
                range,
                ..ColorInfo::BT709
            };
            let layout = Layout::linear(fourcc, size, 4).unwrap();
            let case = Case::new(layout, pack::meta(color), &mut random);
            let source = rig.buffers(&case.layout, &case.bytes);
            let (shot, done) = rig
                .shoot(case.picture(&source), size, Path::Auto, &Conversion::default())
                .unwrap();
            let off = case.off(&rig.pixels(&shot));
            assert!(off <= 1, "{fourcc} matrix {matrix} {range:?}: off by {off}");
            assert_eq!(
                (done.source, done.result.range, done.result.matrix),
                (color, Range::Full, 0)
            );
        }
    }
    silent();
}

#[test]
fn unknown_colour_is_refused_unless_told_what_to_assume() {
    let Some(rig) = rig() else { return };
    let mut random = Random(15);
    let size = Size::new(8, 6);
    let case = Case::new(
        Layout::linear(Fourcc::NV12, size, 4).unwrap(),
        pack::meta(ColorInfo::BT601),
        &mut random,
    );
    let source = rig.buffers(&case.layout, &case.bytes);
    let mut picture = Picture::new(&source, Fourcc::NV12, size);
    let shoot = |picture, conversion: &Conversion| rig.shoot(picture, size, Path::Auto, conversion);
    let refused = shoot(picture, &Conversion::default()).err().unwrap();
    assert_eq!(
        refused,
        ConvertError::Unspecified {
            fourcc: Fourcc::NV12,
            what: "range"
        }
    );
    picture.color.range = Range::Limited;
    let refused = shoot(picture, &Conversion::default()).err().unwrap();
    assert_eq!(
        refused,
        ConvertError::Unspecified {
            fourcc: Fourcc::NV12,
            what: "matrix"
        }
    );
    // Small, so BT.601 limited by custom.
    for assume in [Assume::Auto, Assume::As(ColorInfo::BT601)] {
        let (shot, done) = shoot(picture, &Conversion::assuming(assume)).unwrap();
        assert!(done.assumed && done.source.matrix == 6);
        assert!(case.off(&rig.pixels(&shot)) <= 1);
    }
    for matrix in [0, 3, 8, 10, 14, 255] {
        picture.color.matrix = matrix;
        let refused = shoot(picture, &Conversion::assuming(Assume::Auto)).err().unwrap();
        assert_eq!(
            refused,
            ConvertError::Matrix {
                fourcc: Fourcc::NV12,
                matrix
            }
        );
    }
    silent();
}

/// Bilinear chroma, by H.273's places.
fn sited(pixels: &[f64], (w, h): (u32, u32), sub: (u32, u32), at: (f64, f64), x: u32, y: u32) -> f64 {
    let place = |i: u32, sub: u32, offset: f64| (f64::from(i) - offset) / f64::from(sub);
    let (cx, cy) = (place(x, sub.0, at.0), place(y, sub.1, at.1));
    let get = |x: f64, y: f64| {
        let (x, y) = (
            x.clamp(0.0, f64::from(w - 1)) as u32,
            y.clamp(0.0, f64::from(h - 1)) as u32,
        );
        pixels[(y * w + x) as usize]
    };
    let (fx, fy) = (cx - cx.floor(), cy - cy.floor());
    let row = |y: f64| get(cx.floor(), y) * (1.0 - fx) + get(cx.floor() + 1.0, y) * fx;
    row(cy.floor()) * (1.0 - fy) + row(cy.floor() + 1.0) * fy
}

#[test]
fn linear_chroma_lies_where_the_siting_says() {
    let Some(rig) = rig() else { return };
    let mut random = Random(17);
    let size = Size::new(21, 13);
    for (siting, at) in [
        (ChromaSiting::Unspecified, (0.0, 0.5)),
        (ChromaSiting::Left, (0.0, 0.5)),
        (ChromaSiting::Center, (0.5, 0.5)),
        (ChromaSiting::TopLeft, (0.0, 0.0)),
        (ChromaSiting::Top, (0.5, 0.0)),
        (ChromaSiting::BottomLeft, (0.0, 1.0)),
        (ChromaSiting::Bottom, (0.5, 1.0)),
    ] {
        let color = ColorInfo {
            siting,
            range: Range::Full,
            ..ColorInfo::BT601
        };
        let picture = pack::Picture::random(Fourcc::NV12, size, &mut random);
        let layout = Layout::linear(Fourcc::NV12, size, 4).unwrap();
        let bytes = picture.bytes(&layout, &mut random);
        let source = rig.buffers(&layout, &bytes);
        let mut shown = Picture::new(&source, Fourcc::NV12, size);
        shown.color = color;
        let mut conversion = Conversion::default();
        conversion.chroma = ChromaFilter::Linear;
        let (shot, _) = rig.shoot(shown, size, Path::Auto, &conversion).unwrap();
        let channel = |name| {
            let (_, values, ..) = picture.channels.iter().find(|c| c.0 == name).unwrap();
            values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>()
        };
        let (luma, u, v) = (channel('y'), channel('u'), channel('v'));
        for (i, pixel) in rig.pixels(&shot).chunks(4).enumerate() {
            let (x, y) = (i as u32 % 21, i as u32 / 21);
            let chroma = |plane: &[f64]| sited(plane, (11, 7), (2, 2), at, x, y) - 128.0;
            let (u, v) = (chroma(&u), chroma(&v));
            let want = [
                luma[i] + 1.402 * v,
                luma[i] - 0.344_136 * u - 0.714_136 * v,
                luma[i] + 1.772 * u,
            ];
            for (got, want) in pixel.iter().zip(want) {
                let off = (f64::from(*got) - want.clamp(0.0, 255.0)).abs();
                assert!(off <= 1.0, "{siting:?} at {x}, {y}: {got} for {want}");
            }
        }
    }
    silent();
}

#[test]
fn an_srgb_target_holds_the_same_bytes() {
    let Some(rig) = rig() else { return };
    let size = Size::new(16, 16);
    let (source, pixels) = painted(&rig, size, |x, y| [(y * 16 + x) as u8; 4]);
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC;
    for format in [
        wgpu::TextureFormat::Rgba8UnormSrgb,
        wgpu::TextureFormat::Bgra8UnormSrgb,
    ] {
        let view = rig
            .texture(size, format, usage)
            .create_view(&wgpu::TextureViewDescriptor::default());
        let done = rig.record(|encoder| {
            rig.converter.encode(
                encoder,
                srgb(&source, size),
                &Target::new(&view),
                &Conversion::default(),
            )
        });
        assert_eq!(done.unwrap().result.transfer, 13);
        let got = rig.pixels(&rig.read(view.texture()));
        let off = got
            .iter()
            .zip(pixels.as_flattened())
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(off <= Some(1), "{format:?}: off by {off:?}");
    }
    silent();
}

#[test]
fn linear_light_undoes_the_transfer_and_high_range_is_named_or_refused() {
    let Some(rig) = rig() else { return };
    let size = Size::new(16, 16);
    let (source, _) = painted(&rig, size, |x, y| [(y * 16 + x) as u8; 4]);
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC;
    let mut conversion = Conversion::default();
    conversion.light = Light::Linear;
    type Inverse = fn(f64) -> f64;
    let inverses: [(u8, Inverse); 4] = [
        (1, |c| {
            if c < 0.081 {
                c / 4.5
            } else {
                ((c + 0.099) / 1.099).powf(1.0 / 0.45)
            }
        }),
        (4, |c| c.powf(2.2)),
        (13, |c| {
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        }),
        (16, |c| {
            let p = c.powf(1.0 / 78.84375);
            ((p - 0.8359375).max(0.0) / (18.8515625 - 18.6875 * p)).powf(1.0 / 0.1593017578125) * 10000.0
                / 203.0
        }),
    ];
    let view = rig
        .texture(size, wgpu::TextureFormat::Rgba32Float, usage)
        .create_view(&wgpu::TextureViewDescriptor::default());
    for (transfer, inverse) in inverses {
        let mut picture = srgb(&source, size);
        picture.color.transfer = transfer;
        let done = rig.record(|encoder| {
            rig.converter
                .encode(encoder, picture, &Target::new(&view), &conversion)
        });
        assert_eq!(done.unwrap().result.transfer, 8);
        let got = rig.pixels(&rig.read(view.texture()));
        for (i, pixel) in got.chunks(16).enumerate() {
            let red = f32::from_le_bytes(pixel[..4].try_into().unwrap());
            let want = inverse(i as f64 / 255.0);
            let off = (f64::from(red) - want).abs();
            assert!(
                off <= 2e-3 * want.max(1.0),
                "transfer {transfer}, code {i}: {red} for {want}"
            );
        }
    }
    let mut picture = srgb(&source, size);
    let shoot = |picture, conversion: &Conversion| rig.shoot(picture, size, Path::Auto, conversion);
    for transfer in [16, 18] {
        picture.color.transfer = transfer;
        let (_, done) = shoot(picture, &Conversion::default()).unwrap();
        assert_eq!(done.result.transfer, transfer, "passed on by its name");
        let mut wary = Conversion::default();
        wary.high_range = HighRange::Refuse;
        let refused = shoot(picture, &wary).err();
        assert_eq!(refused, Some(ConvertError::HighRange { transfer }));
        wary.light = Light::Srgb;
        let refused = shoot(picture, &wary).err();
        assert_eq!(
            refused,
            Some(ConvertError::Transfer {
                transfer,
                wanted: "sRGB"
            })
        );
    }
    picture.color.transfer = 2;
    let refused = shoot(picture, &conversion).err();
    assert_eq!(
        refused,
        Some(ConvertError::Transfer {
            transfer: 2,
            wanted: "linear light"
        })
    );
    rig.submit();
    silent();
}
