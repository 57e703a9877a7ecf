// What cannot be converted is refused, by name and number.

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let Some(rig) = rig() else { return };
    let size = Size::new(64, 64);
    let layout = Layout::linear(Fourcc::NV12, size, 4).unwrap();
    let bytes = vec![0; layout.tight_len() as usize];
    let source = rig.buffers(&layout, &bytes);
    let Source::Buffers(planes) = &source else {
        unreachable!()
    };
    let refused = |source: &Source, fourcc, conversion: &Conversion| {
        let mut picture = Picture::new(source, fourcc, size);
        picture.color = ColorInfo::BT709;
        let done = rig.shoot(picture, Size::new(8, 8), Path::Auto, conversion);
        done.err().unwrap()
    };
    let plain = Conversion::default();
    let mut one = planes.clone();
    one.truncate(1);
    assert_eq!(
        refused(&Source::Buffers(one), Fourcc::NV12, &plain),
        ConvertError::Planes {
            fourcc: Fourcc::NV12,
            found: 1,
            needed: 2
        }
    );
    let mut beyond = planes.clone();
    beyond[1].offset += 1;
    assert_eq!(
        refused(&Source::Buffers(beyond), Fourcc::NV12, &plain),
        ConvertError::Range {
            plane: 1,
            needed: 6148,
            found: 6144
        }
    );
    let mut endless = planes.clone();
    endless[0].offset = u64::MAX - 7;
    let far = refused(&Source::Buffers(endless), Fourcc::NV12, &plain);
    assert!(matches!(far, ConvertError::Range { plane: 0, .. }), "{far}");
    let mut outside = plain;
    outside.crop = Some(Rect {
        x: 60,
        y: 0,
        width: 5,
        height: 5,
    });
    let crop = refused(&source, Fourcc::NV12, &outside);
    assert!(matches!(crop, ConvertError::Crop { .. }), "{crop}");
    let unknown = refused(&source, Fourcc(0x3132_3334), &plain);
    assert!(matches!(unknown, ConvertError::Format { .. }), "{unknown}");
    let textures = rig.textures(
        &layout,
        &bytes,
        &[wgpu::TextureFormat::R8Unorm, wgpu::TextureFormat::Rgba8Unorm],
    );
    let texture = refused(&textures, Fourcc::NV12, &plain);
    assert!(
        matches!(
            texture,
            ConvertError::Texture {
                plane: 1,
                needed: 2,
                ..
            }
        ),
        "{texture}"
    );
    let textures = rig.textures(
        &layout,
        &bytes,
        &[wgpu::TextureFormat::R8Unorm, wgpu::TextureFormat::Rg8Unorm],
    );
    let Source::Textures(mut short) = textures else {
        unreachable!()
    };
    short[1].height = 31;
    let short = refused(&Source::Textures(short), Fourcc::NV12, &plain);
    assert!(
        matches!(short, ConvertError::TextureSize { plane: 1, .. }),
        "{short}"
    );

    let mut picture = Picture::new(&source, Fourcc::NV12, size);
    picture.color = ColorInfo::BT709;
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT;
    let encode = |format, area: Option<Area>| {
        let view = rig
            .texture(size, format, usage)
            .create_view(&wgpu::TextureViewDescriptor::default());
        let mut target = Target::new(&view);
        if let Some(area) = area {
            target = target.with_area(area);
        }
        rig.record(|encoder| rig.converter.encode(encoder, picture, &target, &plain))
    };
    let target = encode(wgpu::TextureFormat::Rgba8Uint, None).unwrap_err();
    assert!(matches!(target, ConvertError::Target { .. }), "{target}");
    let nowhere = Area {
        x: f32::NAN,
        y: 0.0,
        width: 4.0,
        height: 4.0,
    };
    let area = encode(wgpu::TextureFormat::Rgba8Unorm, Some(nowhere)).unwrap_err();
    assert!(matches!(area, ConvertError::Area { .. }), "{area}");
    silent();
}

#[test]
fn a_plane_beyond_the_binding_limit_is_refused_by_the_limits_name() {
    let mut limits = wgpu::Limits::downlevel_defaults();
    limits.max_storage_buffer_binding_size = 4096;
    let Some(rig) = rig_with(limits, wgpu::Features::empty()) else {
        return;
    };
    let size = Size::new(64, 64);
    let layout = Layout::linear(Fourcc::NV12, size, 4).unwrap();
    let mut bytes = vec![0; layout.tight_len() as usize];
    let source = rig.buffers(&layout, &bytes);
    let mut picture = Picture::new(&source, Fourcc::NV12, size);
    picture.color = ColorInfo::BT709;
    // Luma is 4096 bytes: it fits, though the buffer is larger than what can be bound.
    rig.shoot(picture, size, Path::Auto, &Conversion::default())
        .unwrap();
    let Source::Buffers(mut planes) = source.clone() else {
        unreachable!()
    };
    bytes.extend([0; 256]);
    planes[0].buffer = rig.buffer(&bytes);
    planes[0].offset = 4;
    let source = Source::Buffers(planes);
    let color = picture.color;
    picture = Picture::new(&source, Fourcc::NV12, size);
    picture.color = color;
    let refused = rig
        .shoot(picture, size, Path::Auto, &Conversion::default())
        .err()
        .unwrap();
    let wanted = ConvertError::Binding {
        plane: 0,
        needed: 4100,
        limit: 4096,
    };
    assert_eq!(refused, wanted);
    assert!(refused.to_string().contains("max_storage_buffer_binding_size"));
    rig.submit();
    drop(rig);
    silent();
}

#[test]
fn an_import_of_another_device_is_refused() {
    let (Some(bench), Some(other)) = (Bench::plain(), Bench::plain()) else {
        return;
    };
    let layout = Layout::tight(Fourcc::ABGR8888, Size::new(2, 2)).unwrap();
    let frame = pack::private(&layout, vec![7; 16], pack::meta(ColorInfo::SRGB));
    let imported = Importer::new(&bench.gpu).import(&frame).unwrap();
    let rig = Rig::on(&other.gpu, other.instance.clone());
    let refused = rig.shoot(
        (&imported).into(),
        Size::new(2, 2),
        Path::Auto,
        &Conversion::default(),
    );
    assert_eq!(refused.err(), Some(ConvertError::OtherDevice));
    drop((rig, imported));
    other.done();
    bench.done();
}
