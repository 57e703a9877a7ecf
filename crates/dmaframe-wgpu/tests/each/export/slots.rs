// A slot is written again only when everybody is done with it, and nothing grows.

/// `DMAFRAME_SOAK=1` runs it in full.
fn steady(bench: &Bench, frames: u64, memory: ExportMemory) {
    let frames = if std::env::var_os("DMAFRAME_SOAK").is_some() {
        frames
    } else {
        frames / 20
    };
    let gpu = &bench.gpu;
    let builder = ExportPool::builder(gpu, Fourcc::ABGR8888, Size::new(32, 16));
    let pool = match memory {
        ExportMemory::HostPointer => builder.without(ExportMemory::Exported).build().unwrap(),
        _ => builder.build().unwrap(),
    };
    assert_eq!(pool.memory(), memory, "{:?}", pool.passed_over());
    let objects = |bench: &Bench| format!("{:?}", bench.instance.generate_report().unwrap().hub_report());
    let mut start = None;
    for n in 0..frames {
        let frame = render(gpu, &pool, n);
        assert_eq!(frame.meta().sequence, Some(n));
        if n % 50 == 0 {
            let grey = (n % 256) as u8;
            assert_eq!(tight(&frame)[..4], [grey, grey, grey, 255], "frame {n}");
        }
        drop(frame);
        if n == frames / 10 {
            assert!(gpu.settle(SOON));
            gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
            start = Some((
                Leaks::now(),
                rss_kib(),
                gpu.vulkan().map(|g| g.live()),
                objects(bench),
            ));
        }
    }
    assert!(gpu.settle(SOON));
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let (leaks, rss, live, report) = start.unwrap();
    leaks.check();
    assert_eq!(gpu.vulkan().map(|g| g.live()), live);
    assert_eq!(objects(bench), report, "wgpu's objects");
    let grown = rss_kib().saturating_sub(rss);
    assert!(grown < 4096, "{grown} KiB more after {frames} frames");
    let counts = pool.counts();
    assert_eq!((counts.shared, counts.detached, counts.starved), (frames, 0, 0));
    assert_eq!(pool.hop().counts().cpu_bytes, 0);
}

#[test]
fn frames_through_four_slots_leave_nothing_behind() {
    let Some(bench) = Bench::plain() else { return };
    steady(&bench, 10_000, ExportMemory::Exported);
    bench.done();
}

#[test]
fn so_do_frames_in_memfds() {
    let Some(bench) = pages() else { return };
    steady(&bench, 10_000, ExportMemory::HostPointer);
    bench.done();
}

#[test]
fn so_do_frames_with_fences() {
    let Some(bench) = Bench::ours() else { return };
    steady(&bench, 3_000, ExportMemory::Exported);
    bench.done();
}

#[test]
fn a_consumer_that_holds_everything_is_told_and_nothing_is_overwritten() {
    let Some(bench) = Bench::plain() else { return };
    let pool = ExportPool::builder(&bench.gpu, Fourcc::ABGR8888, Size::new(8, 8))
        .build()
        .unwrap();
    let held: Vec<_> = (0..4).map(|n| render(&bench.gpu, &pool, 10 * n)).collect();
    let starved = pool.acquire(Duration::from_millis(30)).unwrap_err();
    assert!(
        matches!(
            starved,
            Error::Starved {
                slots: 4,
                held: 4,
                waiting: 0
            }
        ),
        "{starved}"
    );
    assert!(matches!(pool.try_acquire(), Err(Error::Starved { .. })));
    assert_eq!((pool.counts().starved, pool.counts().waited), (2, 1));
    for (n, frame) in held.iter().enumerate() {
        assert_eq!(tight(frame)[0], 10 * n as u8);
    }
    // One comes home from another thread, while this one waits for it.
    let mut held = held.into_iter();
    let late = held.next();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(late);
    });
    let target = pool.acquire(SOON).unwrap();
    thread.join().unwrap();
    // Not used: free again, as are pictures that nobody asks for.
    drop(target);
    for _ in 0..3 {
        let target = pool.acquire(SOON).unwrap();
        drop(target.submit([], &FrameMeta::default()).unwrap());
    }
    drop(pool.acquire(SOON).unwrap());
    drop((held, pool));
    bench.done();
}

#[test]
fn with_a_budget_the_last_slots_go_out_as_copies() {
    let Some(bench) = Bench::plain() else { return };
    let budget = Budget {
        min_free: 1,
        policy: Starvation::Detach,
    };
    let builder = ExportPool::builder(&bench.gpu, Fourcc::NV12, Size::new(8, 8)).slots(2);
    let pool = builder.budget(budget).build().unwrap();
    let held: Vec<_> = (0..4).map(|n| render(&bench.gpu, &pool, n)).collect();
    let shared: Vec<_> = held.iter().map(|frame| frame.as_dmabuf().is_some()).collect();
    assert_eq!(shared, [true, false, false, false]);
    assert_eq!(pool.counts().detached, 3);
    assert_eq!(pool.hop().counts().reason, Some("consumers hold the other slots"));
    drop((held, pool));
    bench.done();
}

#[test]
fn a_slot_is_not_written_before_its_release_fence_signals() {
    let sync = need!(Device::SwSync);
    let Some(bench) = Bench::plain() else { return };
    let timeline = SwSync::open(&sync).unwrap();
    let pool = ExportPool::builder(&bench.gpu, Fourcc::ABGR8888, Size::new(8, 8))
        .slots(1)
        .build()
        .unwrap();
    let frame = render(&bench.gpu, &pool, 77);
    // A reader that is still at it, and a look at what it reads.
    let reading = frame.buffer().clone();
    frame.release_after(Fence::from(SyncFile::new(timeline.fence(1).unwrap()).unwrap()));
    drop(frame);
    let starved = pool.acquire(Duration::from_millis(30)).unwrap_err();
    assert!(
        matches!(
            starved,
            Error::Starved {
                slots: 1,
                held: 0,
                waiting: 1
            }
        ),
        "{starved}"
    );
    let look = |what| {
        let frame = Frame::new(
            Arc::clone(&reading),
            FrameMeta::default(),
            Fence::Signaled,
            Lease::none(),
        );
        assert_eq!(tight(&frame.unwrap())[0], 77, "{what}");
    };
    look("while the fence is pending");
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        timeline.advance(1).unwrap();
        timeline
    });
    let target = pool.acquire(SOON).unwrap();
    look("nothing has been submitted");
    drop((target, thread.join().unwrap(), pool));
    bench.done();
}

/// A frame is never there before its picture: whoever asks again and again gets it when the last of many passes is done.
#[test]
fn a_picture_that_is_not_finished_is_no_frame_yet() {
    for ours in [false, true] {
        let Some(bench) = (if ours { Bench::ours() } else { Bench::plain() }) else {
            return;
        };
        let size = Size::new(512, 512);
        let pool = ExportPool::builder(&bench.gpu, Fourcc::ABGR8888, size)
            .build()
            .unwrap();
        let (mut early, until) = (0, std::time::Instant::now() + SOON);
        for _ in 0..4 {
            let target = pool.acquire(SOON).unwrap();
            let view = target.view();
            let mut commands: Vec<_> = (0..20).map(|_| clear(&bench.gpu, &view, 0.0)).collect();
            commands.push(clear(&bench.gpu, &view, 1.0));
            let mut exporting = target.submit(commands, &FrameMeta::default()).unwrap();
            let frame = loop {
                assert!(std::time::Instant::now() < until);
                match exporting.try_frame() {
                    Ok(frame) => break frame,
                    Err(rejected) => {
                        assert!(matches!(rejected.error, Error::NotReady), "{}", rejected.error);
                        exporting = rejected.value;
                        early += 1;
                    }
                }
            };
            assert!(tight(&frame).iter().all(|byte| *byte == 255));
        }
        assert!(
            early > 0,
            "of four times lavapipe's thread was never behind this one"
        );
        drop(pool);
        bench.done();
    }
}

#[test]
fn a_picture_whose_fence_is_not_given_is_there_when_it_is_done() {
    let Some(bench) = Bench::ours() else { return };
    let mut options = GpuOptions::default();
    options.broken_exports = true;
    let gpu = Gpu::with_options(bench.gpu.device(), bench.gpu.queue(), options);
    let pool = ExportPool::builder(&gpu, Fourcc::ABGR8888, Size::new(32, 16)).build().unwrap();
    for n in 0..6 {
        let frame = render(&gpu, &pool, n);
        assert!(frame.acquire().is_done().unwrap());
        assert_eq!(tight(&frame)[..4], [n as u8, n as u8, n as u8, 255]);
    }
    assert!(gpu.settle(SOON));
    drop((pool, gpu));
    bench.done();
}

#[test]
fn a_pool_of_a_device_that_is_gone_says_so() {
    let Some(bench) = Bench::ours() else { return };
    let builder = || ExportPool::builder(&bench.gpu, Fourcc::ABGR8888, Size::new(32, 16));
    let pools = [
        builder().build().unwrap(),
        builder()
            .without(ExportMemory::Exported)
            .without(ExportMemory::HostPointer)
            .build()
            .unwrap(),
    ];
    let targets: Vec<_> = pools.iter().map(|pool| pool.try_acquire().unwrap()).collect();
    bench.gpu.device().destroy();
    for (target, pool) in targets.into_iter().zip(&pools) {
        // Work that wgpu takes and never does is an error when it is waited for.
        if let Ok(exporting) = target.submit([], &FrameMeta::default()) {
            assert!(exporting.frame(SOON).is_err());
        }
        let work = bench.gpu.submit(&[], []);
        assert!(work.and_then(|work| work.wait(SOON)).is_err());
        for _ in 0..5 {
            let lost = pool.try_acquire();
            assert!(matches!(lost, Err(Error::DeviceLost { .. })), "{lost:?}");
        }
        let late = pool.acquire(Duration::from_millis(10));
        assert!(matches!(late, Err(Error::DeviceLost { .. })), "{late:?}");
    }
    drop(pools);
    assert!(bench.gpu.settle(SOON));
    bench.lost();
}
