// Threads and wgpu's own callbacks may do what they like at the same time.

/// Fails when `work` gets stuck.
fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || drop(done.send(work())));
    let result = told.recv_timeout(limit);
    if result.is_ok() || thread.is_finished() {
        thread.join().expect("the work panicked");
    }
    result.expect("it is stuck")
}

#[test]
fn a_callback_of_wgpu_may_submit_and_import() {
    for export in [FenceExport::Auto, FenceExport::Inline] {
        for bench in both() {
            let options = GpuOptions::default().export(export);
            let gpu = Gpu::with_options(bench.gpu.device(), bench.gpu.queue(), options);
            let importer = Arc::new(Importer::new(&gpu));
            let (Some((queue, frame)), Some((inner_queue, inner_frame))) = (leased(SIZE, 1), leased(SIZE, 1)) else {
                return;
            };
            let (imported, inner) = (importer.import(&frame).unwrap(), importer.import(&inner_frame).unwrap());
            let (uploaded, _) = crate::common::memfd_frame(Fourcc::R8, SIZE, TIGHT, 3);
            drop((frame, inner_frame));
            let ((commands, readback), (more, more_readback)) =
                (bench.copy_out(&imported), bench.copy_out(&inner));
            // It is called when wgpu next looks, which is in the submission below.
            let (tell, told) = std::sync::mpsc::channel();
            gpu.queue().submit([]);
            let (in_gpu, in_importer) = (gpu.clone(), Arc::clone(&importer));
            gpu.queue().on_submitted_work_done(move || {
                let work = in_gpu.submit(&[&inner], [more]).map(|work| (work, inner));
                let import = in_importer.import(&uploaded).map(drop);
                let _ = tell.send((std::thread::current().id(), work, import));
            });
            std::thread::sleep(Duration::from_millis(50));
            let (gpu, work, imported, here) = within(SOON, move || {
                let work = gpu.submit(&[&imported], [commands]).unwrap();
                (gpu, work, imported, std::thread::current().id())
            });
            let (there, inner_work, import) = told.recv_timeout(SOON).unwrap();
            assert_eq!(here, there, "wgpu called back somewhere else");
            import.unwrap();
            let (inner_work, inner) = inner_work.unwrap();
            for (work, imported, readback) in
                [(work, imported, readback), (inner_work, inner, more_readback)]
            {
                assert!(work.wait(SOON).unwrap().is_signaled());
                same(&bench.tight(&imported, &readback), &picture(LEN, 1), "both were done");
            }
            assert!(gpu.settle(SOON));
            drop((comes_home(&queue), comes_home(&inner_queue)));
            drop((gpu, importer));
            bench.done();
        }
    }
}

#[test]
fn threads_that_submit_and_import_at_the_same_time_do_not_meet() {
    let Some(bench) = Bench::ours().filter(Bench::dmabufs) else {
        return;
    };
    let importer = Importer::new(&bench.gpu);
    let Some((shared, bytes)) = udmabuf_frame(Fourcc::NV12, Size::new(32, 16), TIGHT, 1) else {
        return;
    };
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (bench, importer, shared, bytes) = (&bench, &importer, &shared, &bytes);
            scope.spawn(move || {
                let Some((own, own_bytes)) = udmabuf_frame(Fourcc::R8, Size::new(16, 16), TIGHT, seed) else {
                    return;
                };
                for _ in 0..10 {
                    // One import for all of them, taken over and given back by each.
                    let imported = importer.import(shared).unwrap();
                    same(&bench.read(&imported), bytes, "shared");
                    let imported = importer.import(&own).unwrap();
                    same(&bench.read(&imported), &own_bytes, "own");
                    bench.gpu.queue().submit([]);
                }
            });
        }
    });
    drop((importer, shared));
    bench.done();
}
