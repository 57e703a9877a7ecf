// Every format's pixels are the CPU's.

/// The shaders are the same for every version: all of them with one, some of each kind with the others.
fn every_format() -> bool {
    module_path!().ends_with("v30")
}

/// Formats with a reader, a packing or a block of their own.
const KINDS: [Fourcc; 16] = [
    Fourcc::NV12,
    Fourcc::NV21,
    Fourcc::NV24,
    Fourcc::YUV420,
    Fourcc::YUYV,
    Fourcc::UYVY,
    Fourcc::P010,
    Fourcc::P030,
    Fourcc::NV15,
    Fourcc::AYUV,
    Fourcc::R10,
    Fourcc::XRGB8888,
    Fourcc::RGB888,
    Fourcc::ABGR16161616,
    Fourcc::SGRBG10P,
    Fourcc::SRGGB16,
];

#[test]
fn every_format_gives_the_cpus_pixels() {
    // 16-bit texture formats are the one thing here that a plain device may lack.
    let norm16 = wgpu::Features::TEXTURE_FORMAT_16BIT_NORM;
    let Some(rig) = rig_with(wgpu::Limits::downlevel_defaults(), norm16) else {
        return;
    };
    let mut random = Random(11);
    let mut failed = vec![];
    println!("| format | buffer, fragment | buffer, compute | texture, fragment | texture, compute |");
    for (n, info) in all_formats().iter().enumerate() {
        let kind = KINDS.contains(&info.fourcc);
        let buffers = |pad, path| {
            [(1, 1), (5, 7), (67, 12)].map(|size| Try {
                size,
                pad,
                path,
                texture: None,
            })
        };
        let mut tries = vec![];
        if every_format() {
            // Offsets and strides that are multiples of nothing.
            tries.extend(buffers(Some([13, 5][n % 2]), [Path::Fragment, Path::Auto][n % 2]));
        }
        if kind {
            tries.extend(buffers(None, Path::Auto));
            tries.push(Try {
                size: (34, 19),
                pad: None,
                path: Path::Fragment,
                texture: Some(n),
            });
        }
        if tries.is_empty() {
            continue;
        }
        let worst = worst_of(&rig, info, &tries, &mut random);
        println!("| {} | {} |", info.name, worst.cells().join(" | "));
        let limit = if info.model == Model::Rgb { 0 } else { 1 };
        if worst.max() > limit {
            failed.push(info.name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
    // The device's end is looked at too.
    drop(rig);
    silent();
}

#[test]
fn crops_and_all_eight_turns_by_either_shader() {
    let Some(rig) = rig() else { return };
    let mut random = Random(12);
    let size = Size::new(45, 37);
    let rect = |x, y, width, height| Some(Rect { x, y, width, height });
    let crops = [None, rect(3, 5, 31, 29), rect(2, 1, 1, 36), rect(7, 4, 20, 20)];
    for fourcc in [Fourcc::NV12, Fourcc::YUYV, Fourcc::XRGB8888] {
        let picture = pack::Picture::random(fourcc, size, &mut random);
        let layout = pack::padded(fourcc, size, 8);
        let bytes = picture.bytes(&layout, &mut random);
        let source = rig.buffers(&layout, &bytes);
        let mut shots = vec![];
        for (crop, orientation) in crops.iter().flat_map(|c| Orientation::all().map(|o| (c, o))) {
            let mut meta = pack::meta(natural(fourcc.info().unwrap()));
            meta.visible = *crop;
            meta.orientation = orientation;
            let case = Case::of(layout.clone(), bytes.clone(), meta);
            for path in [Path::Fragment, Path::Auto] {
                let (shot, _) = rig
                    .shoot(case.picture(&source), case.size, path, &Conversion::default())
                    .unwrap();
                shots.push((shot, format!("{fourcc} {crop:?} {orientation:?} {path:?}")));
            }
            // What the caller says goes before what the frame says.
            let mut said = Conversion::default();
            said.crop = *crop;
            said.orientation = Some(orientation);
            let mut whole = Picture::new(&source, fourcc, size);
            whole.color = case.meta.color;
            let (shot, _) = rig.shoot(whole, case.size, Path::Fragment, &said).unwrap();
            shots.push((shot, format!("{fourcc} {crop:?} {orientation:?} said")));
            let limit = u8::from(fourcc != Fourcc::XRGB8888);
            for (shot, what) in shots.drain(..) {
                let off = case.off(&rig.pixels(&shot));
                assert!(off <= limit, "{what}: off by {off}");
            }
        }
    }
    silent();
}

/// Eight bits do not show the lowest bits of deep samples: a float target does.
#[test]
fn deep_samples_keep_their_lowest_bits() {
    let Some(rig) = rig() else { return };
    let mut random = Random(19);
    let size = Size::new(9, 4);
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC;
    let some = [Fourcc::P010, Fourcc::R12, Fourcc::SRGGB14P];
    let all = [
        Fourcc::P012,
        Fourcc::P016,
        Fourcc::NV15,
        Fourcc::P030,
        Fourcc::Y210,
        Fourcc::R16,
        Fourcc::SRGGB10P,
        Fourcc::SRGGB12P,
        Fourcc::SRGGB14,
    ];
    for fourcc in some.into_iter().chain(all.into_iter().filter(|_| every_format())) {
        let info = fourcc.info().unwrap();
        let mut picture = pack::Picture::random(fourcc, size, &mut random);
        for (name, values, _, max) in &mut picture.channels {
            // Luma that no chroma here takes out of range, so that nothing is cut off.
            let (low, span) = match name {
                'y' if info.model == Model::Yuv => (*max / 3, *max / 3),
                'u' | 'v' => (*max / 2 - *max / 16, *max / 8),
                _ => (0, *max),
            };
            values.iter_mut().for_each(|v| *v = low + random.below(span));
        }
        let layout = pack::padded(fourcc, size, 3);
        let source = rig.buffers(&layout, &picture.bytes(&layout, &mut random));
        let mut shown = Picture::new(&source, fourcc, size);
        shown.color = ColorInfo {
            range: Range::Full,
            ..ColorInfo::BT601
        };
        let view = rig
            .texture(size, wgpu::TextureFormat::Rgba32Float, usage)
            .create_view(&wgpu::TextureViewDescriptor::default());
        let done = rig.record(|encoder| {
            let target = Target::new(&view);
            rig.converter
                .encode(encoder, shown, &target, &Conversion::default())
        });
        done.unwrap();
        let got = rig.pixels(&rig.read(view.texture()));
        for (i, pixel) in got.chunks(16).enumerate() {
            let (x, y) = (i as u32 % size.width, i as u32 / size.width);
            let channel = |n: usize| f32::from_le_bytes(pixel[4 * n..4 * n + 4].try_into().unwrap());
            let part = |name| {
                picture
                    .at(name, x, y)
                    .map(|(v, max)| (f64::from(v), f64::from(max)))
            };
            let (got, want, max) = match (part('m'), part('v')) {
                // A mosaic's own colour: red at even places of an RGGB, blue at odd ones, else green.
                (Some((v, max)), _) => (channel((x % 2 + y % 2) as usize), v / max, max),
                (None, Some((v, max))) => {
                    let (luma, _) = part('y').unwrap();
                    (channel(0), (luma + 1.402 * (v - (max + 1.0) / 2.0)) / max, max)
                }
                (None, None) => {
                    let (v, max) = part('y').unwrap();
                    (channel(0), v / max, max)
                }
            };
            let off = (f64::from(got) - want).abs() * max;
            assert!(
                off < 0.3,
                "{fourcc} at {x}, {y}: off by {off} of its own code values"
            );
        }
    }
    silent();
}

#[test]
fn nv12_in_two_objects() {
    let Some(rig) = rig() else { return };
    let mut random = Random(13);
    let size = Size::new(51, 23);
    let layout = pack::padded(Fourcc::NV12, size, 6);
    let case = Case::new(layout, pack::meta(ColorInfo::BT709), &mut random);
    let planes = case.layout.planes().iter().enumerate().map(|(i, plane)| {
        // Each plane's own bytes behind as many that are not.
        let (start, ahead) = (plane.offset as usize, 300 + 7 * i);
        let mut bytes = vec![0x55; ahead];
        bytes.extend(&case.bytes[start..]);
        PlaneBuffer {
            buffer: rig.buffer(&bytes),
            offset: ahead as u64,
            stride: plane.stride,
        }
    });
    let source = Source::Buffers(planes.collect());
    for path in [Path::Fragment, Path::Auto] {
        let (shot, _) = rig
            .shoot(case.picture(&source), size, path, &Conversion::default())
            .unwrap();
        assert!(case.off(&rig.pixels(&shot)) <= 1);
    }
    silent();
}

#[test]
fn imported_frames_come_out_right() {
    let Some(bench) = Bench::plain() else { return };
    let importer = Importer::new(&bench.gpu);
    let converter = Converter::new(&bench.gpu);
    let mut random = Random(18);
    let size = Size::new(66, 34);
    let layout = Layout::linear(Fourcc::NV12, size, 64).unwrap();
    let mut meta = pack::meta(ColorInfo::BT709);
    meta.orientation = Orientation::all()[5];
    let case = Case::new(layout, meta, &mut random);
    let bytes = pack::private(&case.layout, case.bytes.clone(), case.meta.clone());
    let tight = bytes.map_read(SOON).unwrap().to_tight().unwrap();
    let mut frames = vec![bytes];
    for objects in [1, 2] {
        let shape = crate::common::Shape {
            objects,
            offset: 37,
            padding: 5,
        };
        let Some((mut frame, _)) = crate::common::udmabuf_frame(Fourcc::NV12, size, shape, 1) else {
            break;
        };
        frame.map_write(SOON).unwrap().copy_from_tight(&tight).unwrap();
        *frame.meta_mut().unwrap() = case.meta.clone();
        frames.push(frame);
    }
    let usage = wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC;
    let rig = Rig::on(&bench.gpu, bench.instance.clone());
    for frame in frames {
        let imported = importer.import(&frame).unwrap();
        let texture = rig.texture(case.size, wgpu::TextureFormat::Rgba8Unorm, usage);
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let (submission, done) = converter
            .convert(&imported, &Target::new(&view), &Conversion::default())
            .unwrap();
        assert!(submission.wait(SOON).unwrap().is_signaled());
        assert_eq!(done.size, case.size);
        let off = case.off(&rig.pixels(&rig.read(&texture)));
        assert!(off <= 1, "{:?}: off by {off}", imported.route());
    }
    drop((rig, importer, converter));
    bench.done();
}
