// GPUs that share no dma-bufs are given pages of memfds to copy into.

#[test]
fn without_dma_bufs_the_gpu_copies_every_format_and_size_into_memfds() {
    let Some(bench) = pages() else { return };
    every_format(
        &bench.gpu,
        &SIZES,
        ExportMemory::HostPointer,
        |fourcc, size, color| {
            let builder = ExportPool::builder(&bench.gpu, fourcc, size).color(color);
            let pool = builder.slots(1).without(ExportMemory::Exported).build().unwrap();
            assert_eq!(
                pool.passed_over()[0].to_string(),
                "exported dma-buf not used: switched off"
            );
            pool
        },
    );
    bench.done();
}

#[test]
fn memfds_of_an_allocator_hold_it_too_and_go_on_to_others_as_ordinary_frames() {
    let Some(bench) = pages() else { return };
    let ways = [(4, &SIZES[1..2]), (256, &SIZES[2..3])];
    every_format_in(&bench.gpu, &Memfd::new(), ExportMemory::HostPointer, ways);
    let Shown {
        pool,
        slots,
        frame,
        wanted,
    } = shown_in(&bench.gpu, &Memfd::new(), 4, 2);
    let passed_over: Vec<_> = pool.passed_over().iter().map(|passed| passed.memory).collect();
    assert_eq!(passed_over, [ExportMemory::Imported]);
    assert!(frame.acquire().is_done().unwrap());
    let view = frame.map_read(Deadline::now()).unwrap();
    assert!(view.has_slices(), "the claim keeps views away; nothing was lent");
    near(&view.to_tight().unwrap(), &wanted, 1, "slices");
    drop(view);
    let counts = pool.hop().counts();
    assert_eq!(
        (counts.cpu_bytes, counts.gpu_bytes),
        (0, frame.layout().tight_len())
    );

    // Another process's way in: descriptors and planes.
    let layout = frame.layout();
    let mut parts = FrameParts::new(layout.fourcc(), layout.size());
    parts.planes = layout.planes().to_vec();
    let objects = frame.buffer().objects();
    assert_eq!(objects[0].kind(), ObjectKind::Memfd);
    let fd = objects[0].lend(0).unwrap();
    parts.objects = vec![fd.try_clone_to_owned().unwrap()];
    let peer = Frame::try_from(parts).unwrap();
    near(&tight(&peer), &wanted, 1, "a peer");
    // And back to a GPU by its own route.
    let importer = Importer::new(&bench.gpu);
    let imported = importer.import(&peer).unwrap();
    assert_eq!(imported.route(), dmaframe_wgpu::Route::HostPointer);
    near(&bench.read(&imported), &wanted, 1, "a GPU");
    drop((imported, importer, peer, frame, pool, slots));
    bench.done();
}

#[test]
fn each_kind_of_memory_that_cannot_be_had_is_named_and_the_next_one_taken() {
    use ExportMemory::{Exported, HostPointer, Readback};
    let Some(bench) = pages() else { return };
    let size = Size::new(8, 8);
    let without = |gpu: &Gpu, off: &[ExportMemory]| {
        let builder = ExportPool::builder(gpu, Fourcc::NV12, size);
        let pool = off
            .iter()
            .fold(builder, |builder, memory| builder.without(*memory));
        let pool = pool.build().unwrap();
        let frame = render(gpu, &pool, 235);
        assert!(tight(&frame)[..64].iter().all(|y| *y == tight(&frame)[0]));
        let kind = frame.buffer().objects().first().map(|object| object.kind());
        let why: Vec<_> = pool.passed_over().iter().map(ToString::to_string).collect();
        (pool.memory(), kind, why)
    };
    let off = |memory: &str| format!("{memory} not used: switched off");
    let (dmabuf, host) = (off("exported dma-buf"), off("host pointer"));
    if bench.dmabufs() {
        let best = without(&bench.gpu, &[]);
        assert_eq!(best, (Exported, Some(ObjectKind::Dmabuf), vec![]));
    }
    let next = without(&bench.gpu, &[Exported]);
    assert_eq!(next, (HostPointer, Some(ObjectKind::Memfd), vec![dmabuf.clone()]));
    let last = without(&bench.gpu, &[Exported, HostPointer]);
    assert_eq!(last, (Readback, None, vec![dmabuf.clone(), host.clone()]));
    // A toolkit's device has not the extension on.
    let Some(plain) = Bench::plain() else { return };
    let (memory, _, why) = without(&plain.gpu, &[Exported]);
    assert_eq!(memory, Readback);
    assert_eq!(why[0], dmabuf);
    assert!(
        why[1].contains("VK_EXT_external_memory_host (not supported, or not enabled"),
        "{why:?}"
    );
    let all = ExportPool::builder(&bench.gpu, Fourcc::NV12, size);
    let all = all.without(Exported).without(HostPointer).without(Readback);
    let none = all.build().unwrap_err().to_string();
    assert_eq!(
        none,
        format!("no memory to export from: {dmabuf}; {host}; readback not used: switched off")
    );
    plain.done();
    bench.done();
}

/// Whoever else has a slot's buffer cannot look at it while the GPU writes, whatever becomes of picture and pool.
#[test]
fn no_view_of_a_memfd_exists_while_the_gpu_writes_it() {
    let Some(bench) = pages() else { return };
    let (gpu, size) = (&bench.gpu, Size::new(512, 512));
    let frame_of = |buffer: &Arc<Buffer>| {
        let meta = FrameMeta::default();
        Frame::new(Arc::clone(buffer), meta, Fence::Signaled, Lease::none())
    };
    let (mut kept_away, until) = (0, std::time::Instant::now() + SOON);
    for round in 0..6 {
        let slots = buffers(&Memfd::new(), Fourcc::ABGR8888, size, 4, 1);
        let builder = ExportPool::builder(gpu, Fourcc::ABGR8888, size).buffers(slots.clone());
        let mut pool = Some(builder.build().unwrap());
        let target = pool.as_ref().unwrap().acquire(SOON).unwrap();
        assert!(frame_of(&slots[0]).is_err(), "a target is a claim");
        let view = target.view();
        let mut commands: Vec<_> = (0..20).map(|_| clear(gpu, &view, 0.0)).collect();
        commands.push(clear(gpu, &view, 1.0));
        let exporting = target.submit(commands, &FrameMeta::default()).unwrap();
        match round % 3 {
            // The picture is waited for: then it is a frame, and no second one.
            0 => {
                let frame = exporting.frame(SOON).unwrap();
                assert!(tight(&frame).iter().all(|byte| *byte == 255));
                assert!(frame_of(&slots[0]).is_err(), "it is in a frame");
                continue;
            }
            // Nobody wants it.
            1 => drop(exporting),
            // Nor the pool, whose last owner the picture is.
            _ => {
                drop(pool.take());
                drop(exporting);
            }
        }
        let frame = loop {
            assert!(std::time::Instant::now() < until);
            match frame_of(&slots[0]) {
                Ok(frame) => break frame,
                Err(error) => assert!(matches!(error, dmaframe_core::Error::InUse { .. }), "{error}"),
            }
            kept_away += 1;
            // A pool looks at its slots when it is asked for one.
            drop(pool.as_ref().map(ExportPool::try_acquire));
        };
        assert!(
            tight(&frame).iter().all(|byte| *byte == 255),
            "round {round}: seen before it was written"
        );
    }
    assert!(kept_away > 0, "lavapipe's thread was never behind this one");
    bench.done();
}
