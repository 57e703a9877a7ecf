// Targets are filled where they are to be, in passes of the caller's too, and a steady stream makes nothing new.

#[test]
fn a_callers_own_pass_keeps_what_is_around_the_picture() {
    let Some(rig) = rig() else { return };
    let size = Size::new(8, 6);
    let (source, pixels) = painted(&rig, size, |x, y| [10 * x as u8, 10 * y as u8, 200, 255]);
    let big = Size::new(20, 16);
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC;
    let make = |samples, format| {
        let texture = rig.device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d {
                width: big.width,
                height: big.height,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: samples,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: if samples == 1 {
                usage
            } else {
                wgpu::TextureUsages::RENDER_ATTACHMENT
            },
            view_formats: &[],
        });
        texture.create_view(&wgpu::TextureViewDescriptor::default())
    };
    let color = wgpu::TextureFormat::Rgba8Unorm;
    for (samples, depth) in [(1, None), (4, Some(wgpu::TextureFormat::Depth24PlusStencil8))] {
        let shown = make(1, color);
        let drawn = if samples == 1 {
            shown.clone()
        } else {
            make(samples, color)
        };
        let depth_view = depth.map(|format| make(samples, format));
        let mut target = PassTarget::new(
            color,
            Area {
                x: 5.0,
                y: 7.0,
                width: 8.0,
                height: 6.0,
            },
        );
        target.samples = samples;
        target.depth_stencil = depth;
        rig.record(|encoder| {
            let attachment = |view| wgpu::RenderPassDepthStencilAttachment {
                view,
                depth_ops: Some(wgpu::Operations {
                    load: wgpu::LoadOp::Clear(0.0),
                    store: wgpu::StoreOp::Discard,
                }),
                stencil_ops: Some(wgpu::Operations {
                    load: wgpu::LoadOp::Clear(0),
                    store: wgpu::StoreOp::Discard,
                }),
            };
            let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: None,
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: &drawn,
                    depth_slice: None,
                    resolve_target: (samples > 1).then_some(&shown),
                    ops: wgpu::Operations {
                        load: wgpu::LoadOp::Clear(wgpu::Color::GREEN),
                        store: wgpu::StoreOp::Store,
                    },
                })],
                depth_stencil_attachment: depth_view.as_ref().map(attachment),
                timestamp_writes: None,
                occlusion_query_set: None,
                multiview_mask: None,
            });
            rig.converter
                .encode_into(&mut pass, srgb(&source, size), &target, &Conversion::default())
                .unwrap();
        });
        let got = rig.pixels(&rig.read(shown.texture()));
        for (i, pixel) in got.chunks(4).enumerate() {
            let (x, y) = (i as u32 % 20, i as u32 / 20);
            let inside = (5..13).contains(&x) && (7..13).contains(&y);
            let want = if inside {
                pixels[((y - 7) * 8 + x - 5) as usize]
            } else {
                [0, 255, 0, 255]
            };
            assert_eq!(pixel, want, "{samples} samples at {x}, {y}");
        }
    }
    silent();
}

#[test]
fn a_part_of_a_target_is_filled_and_the_rest_stays_or_is_cleared() {
    let Some(rig) = rig() else { return };
    let size = Size::new(4, 4);
    let (source, _) = painted(&rig, size, |_, _| [9, 9, 9, 9]);
    for path in [Path::Fragment, Path::Auto] {
        let view = rig.target(Size::new(12, 10));
        let area = |x, y| Area {
            x,
            y,
            width: 4.0,
            height: 4.0,
        };
        rig.record(|encoder| {
            let whole = Target::new(&view)
                .through(path)
                .with_area(area(0.0, 0.0))
                .cleared(wgpu::Color::RED);
            let more = Target::new(&view).through(path).with_area(area(7.0, 5.0));
            for target in [whole, more] {
                rig.converter
                    .encode(encoder, srgb(&source, size), &target, &Conversion::default())
                    .unwrap();
            }
        });
        let got = rig.pixels(&rig.read(view.texture()));
        for (i, pixel) in got.chunks(4).enumerate() {
            let (x, y) = (i % 12, i / 12);
            let filled = (x < 4 && y < 4) || ((7..11).contains(&x) && (5..9).contains(&y));
            assert_eq!(
                pixel,
                if filled { [9; 4] } else { [255, 0, 0, 255] },
                "{path:?} {x}, {y}"
            );
        }
    }
    silent();
}

#[test]
fn an_area_larger_than_any_target_shows_its_part_of_the_picture() {
    let Some(rig) = rig() else { return };
    let limit = rig.device.limits().max_texture_dimension_2d as f32;
    let size = Size::new(64, 64);
    let (source, pixels) = painted(&rig, size, |x, y| [4 * x as u8, 4 * y as u8, 5, 255]);
    let area = Area {
        x: -1000.25,
        y: -3.0 * limit,
        width: 2.0 * limit + 1000.0,
        height: 7.0 * limit,
    };
    let mut conversion = Conversion::default();
    conversion.filter = Filter::Nearest;
    let shown = Size::new(20, 12);
    let shots: Vec<_> = [Path::Fragment, Path::Auto]
        .into_iter()
        .map(|path| {
            let view = rig.target(shown);
            rig.record(|encoder| {
                let target = Target::new(&view).through(path).with_area(area);
                rig.converter.encode(encoder, srgb(&source, size), &target, &conversion).unwrap();
                // All of it beyond the target.
                let beside = Area { x: -area.width - 1.0, ..area };
                let target = Target::new(&view).through(path).with_area(beside);
                rig.converter.encode(encoder, srgb(&source, size), &target, &conversion).unwrap();
            });
            rig.read(view.texture())
        })
        .collect();
    for shot in shots {
        let got = rig.pixels(&shot);
        for (i, pixel) in got.chunks(4).enumerate() {
            let at = ((i % 20) as f32 + 0.5, (i / 20) as f32 + 0.5);
            let x = ((at.0 - area.x) * 64.0 / area.width) as usize;
            let y = ((at.1 - area.y) * 64.0 / area.height) as usize;
            assert_eq!(pixel, pixels[y * 64 + x], "at {at:?}");
        }
    }
    silent();
}

#[test]
fn many_conversions_in_one_submission_do_not_disturb_each_other() {
    let Some(rig) = rig() else { return };
    let size = Size::new(10, 10);
    let (source, pixels) = painted(&rig, size, |x, y| [x as u8, y as u8, 7, 255]);
    // More than are kept.
    let shots: Vec<_> = (0..100)
        .map(|i| {
            let mut conversion = Conversion::default();
            conversion.crop = Some(Rect {
                x: i % 10,
                y: i / 10,
                width: 1,
                height: 1,
            });
            rig.shoot(srgb(&source, size), Size::new(1, 1), Path::Auto, &conversion)
                .unwrap()
                .0
        })
        .collect();
    for (shot, wanted) in shots.iter().zip(pixels) {
        assert_eq!(rig.pixels(shot), wanted);
    }
    silent();
}

/// Live buffers, bind groups and texture views of all devices.
fn live(rig: &Rig) -> [usize; 3] {
    rig.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let report = rig.instance.generate_report().unwrap();
    let hub = report.hub_report();
    [&hub.buffers, &hub.bind_groups, &hub.texture_views].map(|r| r.num_allocated)
}

#[test]
fn a_steady_stream_makes_nothing_new_and_trim_lets_go() {
    let Some(rig) = rig_with(wgpu::Limits::downlevel_defaults(), wgpu::Features::empty()) else {
        return;
    };
    let size = Size::new(8, 8);
    let sources: Vec<_> = (0..4).map(|i| painted(&rig, size, |_, _| [i; 4]).0).collect();
    let views: Vec<_> = (0..2).map(|_| rig.target(Size::new(16, 16))).collect();
    let before = live(&rig);
    let frame = |n: usize| {
        rig.record(|encoder| {
            let target = Target::new(&views[n % 2]);
            rig.converter
                .encode(
                    encoder,
                    srgb(&sources[n % 4], size),
                    &target,
                    &Conversion::default(),
                )
                .unwrap();
        });
        rig.submit();
    };
    (0..4).for_each(frame);
    let warm = live(&rig);
    assert!(warm[1] > before[1], "{before:?}, {warm:?}");
    (0..40).for_each(frame);
    assert_eq!(live(&rig), warm);
    rig.converter.trim();
    assert_eq!(live(&rig), before);
    drop((sources, views));
    drop(rig);
    silent();
}
