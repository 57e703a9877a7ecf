// The work's fence, where the driver gives it; where it does not, neither device nor frame suffers.

/// Another of our devices' [`Gpu`]s, which has its fences this way, or does not get them from the driver; of no lower level.
fn exporting(bench: &Bench, export: FenceExport, broken: bool, level: Level) -> Option<Gpu> {
    let mut options = GpuOptions::default().export(export);
    options.broken_exports = broken;
    let gpu = Gpu::with_options(bench.gpu.device(), bench.gpu.queue(), options);
    (gpu.level() >= level).then_some(gpu)
}

#[test]
fn a_fence_that_the_driver_does_not_give_costs_neither_the_device_nor_the_frame() {
    for export in [FenceExport::Inline, FenceExport::Thread] {
        let Some(bench) = Bench::ours().filter(Bench::dmabufs) else {
            return;
        };
        let Some(gpu) = exporting(&bench, export, true, Level::Release) else {
            return dmaframe_testkit::skip("the device exports no SYNC_FD");
        };
        let importer = Importer::new(&gpu);
        for _ in 0..2 {
            let Some((queue, frame)) = leased(SIZE, 1) else { return };
            let imported = importer.import(&frame).unwrap();
            drop(frame);
            let (commands, readback) = bench.copy_out(&imported);
            let work = gpu.submit(&[&imported], [commands]).unwrap();
            assert!(matches!(work.fence(SOON), Err(Error::Frame(_))));
            assert!(work.wait(SOON).unwrap().is_signaled());
            same(&bench.tight(&imported, &readback), &picture(LEN, 1), "it was done");
            drop(imported);
            assert!(comes_home(&queue).is_done().unwrap());
        }
        assert!(gpu.settle(SOON));
        drop((importer, gpu));
        bench.done();
    }
}

#[test]
fn work_whose_fence_is_not_given_keeps_its_frame_until_it_is_done() {
    let sw_sync = need!(Device::SwSync);
    let Some(bench) = Bench::ours().filter(Bench::dmabufs) else {
        return;
    };
    let Some(gpu) = exporting(&bench, FenceExport::Thread, true, Level::Explicit) else {
        return bench.done();
    };
    let timeline = SwSync::open(&sw_sync).unwrap();
    let Some((queue, frame)) = leased_after(pending(&timeline), SIZE, 1) else {
        return;
    };
    let importer = Importer::new(&gpu);
    let imported = importer.import(&frame).unwrap();
    let (commands, _readback) = bench.copy_out(&imported);
    let work = gpu.submit(&[&imported], [commands]).unwrap();
    drop((imported, frame));
    std::thread::sleep(Duration::from_millis(100));
    assert!(!work.is_done() && gpu.outstanding() == 1);
    assert!(queue.next().is_none(), "the GPU waits to read it");
    timeline.advance(1).unwrap();
    assert!(work.wait(SOON).unwrap().is_signaled() && gpu.settle(SOON));
    assert!(queue.next().is_some());
    drop((importer, gpu, work));
    bench.done();
}

#[test]
fn the_works_fence_can_be_had_inline_and_from_the_thread() {
    for export in [FenceExport::Inline, FenceExport::Thread] {
        let Some(bench) = Bench::ours().filter(Bench::dmabufs) else {
            return;
        };
        let Some(gpu) = exporting(&bench, export, false, Level::Release) else {
            return dmaframe_testkit::skip("the device exports no SYNC_FD");
        };
        let importer = Importer::new(&gpu);
        let Some((queue, frame)) = leased(SIZE, 1) else { return };
        let imported = importer.import(&frame).unwrap();
        drop(frame);
        let (commands, _readback) = bench.copy_out(&imported);
        let work = gpu.submit(&[&imported], [commands]).unwrap();
        drop(imported);
        let fence = work.fence(SOON).unwrap();
        assert!(fence.wait(SOON).unwrap().is_signaled());
        assert!(work.wait(SOON).unwrap().is_signaled() && work.is_done());
        drop(comes_home(&queue));
        assert!(gpu.settle(SOON));
        drop((importer, gpu, work));
        bench.done();
    }
}
