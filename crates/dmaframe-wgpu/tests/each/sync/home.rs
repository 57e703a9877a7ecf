// Frames go home with or after the work, by themselves.

#[test]
fn an_application_that_stops_submitting_gets_its_frames_back() {
    for bench in both() {
        let importer = Importer::new(&bench.gpu);
        for way in 0..3 {
            let Some((queue, frame)) = leased(SIZE, 1) else { return };
            let imported = importer.import(&frame).unwrap();
            drop(frame);
            let (commands, _readback) = bench.copy_out(&imported);
            match way {
                0 => drop(bench.gpu.submit(&[&imported], [commands]).unwrap()),
                1 => {
                    let acquired = bench.gpu.acquire(&imported).unwrap();
                    bench.gpu.queue().submit([commands]);
                    drop(bench.gpu.track(acquired).unwrap());
                }
                _ => {
                    let mut encoder = bench.gpu.device().create_command_encoder(&Default::default());
                    encoder.insert_debug_marker("an application's own");
                    bench.gpu.track_encoder(&encoder, imported.frame().clone());
                    drop(imported);
                    assert!(queue.next().is_none(), "the encoder holds the frame");
                    bench.gpu.queue().submit([commands, encoder.finish()]);
                    let fence = comes_home(&queue);
                    assert!(fence.wait(SOON).unwrap().is_signaled());
                    continue;
                }
            }
            drop(imported);
            let fence = comes_home(&queue);
            assert!(fence.wait(SOON).unwrap().is_signaled());
        }
        drop(importer);
        bench.done();
    }
}

#[test]
fn the_end_of_work_is_marked_by_what_follows_or_by_whoever_waits() {
    let options = GpuOptions::default().export(FenceExport::Inline);
    let Some(bench) = Bench::plain_with(options).filter(Bench::dmabufs) else {
        return;
    };
    let importer = Importer::new(&bench.gpu);
    let submit = || {
        let (queue, frame) = leased(SIZE, 1)?;
        let imported = importer.import(&frame).unwrap();
        let (commands, _readback) = bench.copy_out(&imported);
        Some((queue, bench.gpu.submit(&[&imported], [commands]).unwrap()))
    };
    let works: Option<Vec<_>> = (0..5).map(|_| submit()).collect();
    let Some(works) = works else { return };
    // Nothing follows the last one but the wait for it; the others were before it.
    assert!(works[4].1.wait(SOON).unwrap().is_signaled());
    assert!(works.iter().all(|(_, work)| work.is_done()));
    works.iter().for_each(|(queue, _)| drop(comes_home(queue)));
    // Nobody waits, and nothing follows.
    let Some((queue, work)) = submit() else { return };
    drop(comes_home(&queue));
    assert!(work.is_done());
    // What follows is somebody else's.
    let Some((queue, work)) = submit() else { return };
    bench.gpu.queue().submit([]);
    drop(comes_home(&queue));
    assert!(work.is_done());
    drop((works, work, importer));
    bench.done();
}

#[test]
fn an_encoder_that_is_never_submitted_lets_the_frame_go() {
    let Some(bench) = Bench::plain() else { return };
    let Some((queue, frame)) = leased(SIZE, 1) else { return };
    let encoder = bench.gpu.device().create_command_encoder(&Default::default());
    bench.gpu.track_encoder(&encoder, frame);
    assert!(queue.next().is_none());
    drop(encoder);
    drop(comes_home(&queue));
    bench.done();
}

#[test]
fn an_encoder_that_is_not_submitted_keeps_no_other_frame_from_coming_home() {
    let options = GpuOptions::default().export(FenceExport::Inline);
    let Some(bench) = Bench::plain_with(options).filter(Bench::dmabufs) else {
        return;
    };
    let importer = Importer::new(&bench.gpu);
    let (Some((kept, held)), Some((queue, frame))) = (leased(SIZE, 1), leased(SIZE, 2)) else {
        return;
    };
    let encoder = bench.gpu.device().create_command_encoder(&Default::default());
    bench.gpu.track_encoder(&encoder, held);
    let imported = importer.import(&frame).unwrap();
    drop(frame);
    let (commands, _readback) = bench.copy_out(&imported);
    drop(bench.gpu.submit(&[&imported], [commands]).unwrap());
    drop(imported);
    // Nothing is submitted any more, and nobody waits for the work.
    comes_home_in_the_end(&queue);
    assert!(kept.next().is_none(), "the encoder holds its own");
    drop(encoder);
    comes_home_in_the_end(&kept);
    drop(importer);
    bench.done();
}

#[test]
fn frames_whose_pages_the_gpu_copies_are_nobodys_to_write_until_it_has() {
    let sw_sync = need!(Device::SwSync);
    for bench in both() {
        let timeline = SwSync::open(&sw_sync).unwrap();
        // Where the GPU does not wait, this thread would.
        let waits = bench.gpu.level() == Level::Explicit;
        let acquire = if waits { pending(&timeline) } else { Fence::Signaled };
        let (bytes, _) = memfd_frame(Fourcc::R8, SIZE, TIGHT, 1);
        let queue = ReturnQueue::new(1).unwrap();
        let buffer = Arc::clone(bytes.buffer());
        drop(bytes);
        let mut frame = queue.frame(0, &buffer, FrameMeta::default(), acquire).unwrap();
        let options = ImportOptions::default().routes(Routes::only(&[Route::HostPointer]));
        let importer = Importer::with_options(&bench.gpu, options);
        match importer.import(&frame) {
            Ok(imported) => drop(imported),
            // A toolkit's device, or pages that are not as the driver wants them.
            Err(Error::NoRoute(why)) => {
                println!("{why:?}");
                drop((importer, frame));
                bench.done();
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        if waits {
            let written = frame.map_write(Duration::ZERO).map(drop);
            assert!(matches!(written, Err(dmaframe_core::Error::Shared { .. })), "{written:?}");
        }
        drop(frame);
        assert!(!waits || queue.next().is_none(), "the GPU has not copied it");
        timeline.advance(1).unwrap();
        comes_home_in_the_end(&queue);
        drop(importer);
        bench.done();
    }
}

#[test]
fn memory_that_was_acquired_goes_back_whatever_becomes_of_it() {
    for bench in both() {
        let importer = Importer::new(&bench.gpu);
        let Some((queue, frame)) = leased(SIZE, 1) else { return };
        let imported = importer.import(&frame).unwrap();
        let foreign = bench.gpu.level() >= Level::Release;
        let submit = |commands: Vec<_>| bench.gpu.queue().submit(commands);
        for way in 0..5 {
            let acquired = bench.gpu.acquire(&imported).unwrap();
            assert_eq!(imported.is_taken_over(), foreign);
            let (commands, readback) = bench.copy_out(&imported);
            let mut encoder = bench.gpu.device().create_command_encoder(&Default::default());
            encoder.insert_debug_marker("an application's own");
            match way {
                0 => {
                    submit(vec![commands]);
                    drop(bench.gpu.track(acquired).unwrap());
                }
                // What iced's users do: the last frame, when the next one comes.
                1 => {
                    submit(vec![commands]);
                    drop(bench.gpu.track(frame.clone()).unwrap());
                    drop(acquired);
                }
                2 => {
                    bench.gpu.track_encoder(&encoder, acquired);
                    submit(vec![commands, encoder.finish()]);
                }
                // Never submitted.
                3 => {
                    bench.gpu.track_encoder(&encoder, acquired);
                    drop((encoder, commands));
                }
                _ => drop(acquired),
            }
            assert!(bench.gpu.settle(SOON));
            assert!(!imported.is_taken_over(), "by way {way}");
            drop(readback);
            same(&bench.read(&imported), &picture(LEN, 1), "taken over anew");
        }
        drop((imported, frame));
        drop(comes_home(&queue));
        drop(importer);
        bench.done();
    }
}
