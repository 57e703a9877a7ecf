// The rendered picture is in the frame, in every format, size and kind of memory.

#[test]
fn exported_memory_holds_the_rendered_picture_in_every_format_and_size() {
    let Some(bench) = Bench::plain() else { return };
    if !bench.dmabufs() {
        return;
    }
    every_format(&bench.gpu, &SIZES, ExportMemory::Exported, exported(&bench.gpu));
    bench.done();
}

#[test]
fn so_it_does_on_a_device_with_fences_and_foreign_barriers() {
    let Some(bench) = Bench::ours() else { return };
    if !bench.dmabufs() {
        return;
    }
    assert!(bench.gpu.level() >= Level::Release);
    every_format(
        &bench.gpu,
        &SIZES[1..2],
        ExportMemory::Exported,
        exported(&bench.gpu),
    );
    bench.done();
}

#[test]
fn an_allocators_dma_bufs_hold_it_too_whatever_their_strides() {
    let _ = need!(Device::Udmabuf);
    let Some(bench) = Bench::plain() else { return };
    if !bench.dmabufs() {
        return;
    }
    let ways = [(4, &SIZES[1..2]), (64, &SIZES[2..3])];
    every_format_in(&bench.gpu, &Udmabuf::new(), ExportMemory::Imported, ways);
    bench.done();
}

#[test]
fn without_dma_bufs_the_same_calls_read_back_and_say_why() {
    let Some(bench) = Bench::plain_with(GpuOptions::default().without_vulkan()) else {
        return;
    };
    every_format(
        &bench.gpu,
        &SIZES[1..2],
        ExportMemory::Readback,
        |fourcc, size, color| {
            let pool = exported(&bench.gpu)(fourcc, size, color);
            let why: Vec<_> = pool.passed_over().iter().map(ToString::to_string).collect();
            assert_eq!(
                why,
                [
                    "exported dma-buf not used: wgpu does not run on Vulkan here",
                    "host pointer not used: wgpu does not run on Vulkan here"
                ]
            );
            pool
        },
    );
    // Into memory of somebody's choosing.
    let shown = shown_in(&bench.gpu, &Memfd::new(), 4, 2);
    near(&tight(&shown.frame), &shown.wanted, 1, "memfd");
    let counts = shown.pool.hop().counts();
    assert_eq!(
        (counts.cpu_bytes, counts.gpu_bytes),
        (shown.frame.layout().tight_len(), 0)
    );
    assert!(
        counts
            .reason
            .is_some_and(|reason| reason.starts_with("read back"))
    );
    drop(shown);
    bench.done();
}

/// Slots whose rows do not begin at words cannot be written by whole words; the pool falls back, and says so by number.
#[test]
fn slots_that_the_shader_cannot_write_are_read_back_into() {
    let _ = need!(Device::Udmabuf);
    let Some(bench) = Bench::plain() else { return };
    if !bench.dmabufs() {
        return;
    }
    let shown = shown_in(&bench.gpu, &Udmabuf::new(), 1, 1);
    assert_eq!(
        shown.pool.passed_over()[0].to_string(),
        "imported dma-buf not used: plane 0: offset 0 and stride 67 must be multiples of 4"
    );
    assert!(shown.frame.as_dmabuf().is_some(), "the CPU wrote the dma-buf");
    near(&tight(&shown.frame), &shown.wanted, 1, "udmabuf");
    drop(shown);
    bench.done();
}

#[test]
fn the_frame_says_what_the_pool_knows_and_what_it_was_told() {
    let Some(bench) = Bench::plain() else { return };
    let pool = ExportPool::builder(&bench.gpu, Fourcc::NV12, Size::new(1280, 8))
        .build()
        .unwrap();
    let mut meta = FrameMeta::default();
    meta.timestamp = Some(Timestamp {
        ns: 5,
        clock: Clock::Boottime,
    });
    meta.sequence = Some(9);
    meta.orientation.mirror = true;
    meta.extensions.insert("gain");
    let exporting = pool.acquire(SOON).unwrap().submit([], &meta).unwrap();
    let frame = exporting.frame(SOON).unwrap();
    let said = frame.meta();
    assert_eq!((said.timestamp, said.sequence), (meta.timestamp, Some(9)));
    assert_eq!(said.extensions.get::<&str>(), Some(&"gain"));
    assert!(!said.orientation.mirror, "the picture was rendered upright");
    let color = said.color;
    assert_eq!(
        (color.matrix, color.range, color.siting),
        (1, Range::Limited, ChromaSiting::Center)
    );
    drop((frame, pool));
    bench.done();
}

#[test]
fn a_source_smaller_than_the_picture_has_its_last_column_and_row_repeated() {
    let Some(bench) = Bench::plain() else { return };
    let (small, size) = (Size::new(13, 5), Size::new(32, 18));
    let pixel = |x: u32, y: u32| [(17 * x) as u8, (40 * y) as u8, 90, 255];
    let rows = |size: Size, pixel: &dyn Fn(u32, u32) -> [u8; 4]| -> Vec<u8> {
        let places = (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y)));
        places.flat_map(|(x, y)| pixel(x, y)).collect()
    };
    let source = texture(&bench.gpu, small, &rows(small, &pixel));
    let wanted = rows(size, &|x, y| pixel(x.min(small.width - 1), y.min(small.height - 1)));
    for (fourcc, color, by) in [
        (Fourcc::ABGR8888, ColorInfo::SRGB, 0),
        (
            Fourcc::NV12,
            ColorInfo {
                siting: ChromaSiting::Center,
                ..ColorInfo::BT709
            },
            1,
        ),
    ] {
        let pool = ExportPool::builder(&bench.gpu, fourcc, size).color(color).build().unwrap();
        let frame = export(&pool, &source);
        let wanted = match fourcc {
            Fourcc::ABGR8888 => wanted.clone(),
            _ => reference(size, &wanted, fourcc, pool.color()),
        };
        near(&tight(&frame), &wanted, by, &fourcc.to_string());
    }
    drop(source);
    bench.done();
}
