// Included once for each version of wgpu; `dw` is this crate's module for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_core::{Fence, Fourcc, Frame, FrameMeta, FrameParts, Plane, ReturnQueue, Size, SyncFile};
use dmaframe_testkit::{Device, SwSync, Vgem, need};
use dmaframe_wgpu::{Error, FenceExport, GpuOptions, ImportOptions, Level, Route};

use crate::common::{SOON, TIGHT, frame_in, picture, same, udmabuf_frame};

const SIZE: Size = Size::new(160, 120);
const LEN: usize = 160 * 120;
const LATE: Duration = Duration::from_millis(200);

/// A frame over a udmabuf, and a second descriptor of it that a "camera" writes through.
fn shared_frame(device: &std::path::Path, acquire: Fence) -> (Frame, Frame) {
    let fd = dmaframe_testkit::udmabuf(device, LEN as u64).unwrap();
    let other = fd.try_clone().unwrap();
    let plane = Plane {
        object: 0,
        offset: 0,
        stride: 160,
    };
    let camera = frame_in(vec![other], Fourcc::R8, SIZE, &[plane], &vec![0; LEN]).unwrap();
    let mut parts = FrameParts::new(Fourcc::R8, SIZE);
    parts.objects.push(fd);
    parts.planes.push(plane);
    parts.acquire = acquire;
    (Frame::try_from(parts).unwrap(), camera)
}

/// Writes the picture at 150 ms and signals at 200 ms, from another thread.
fn late<T: Send + 'static>(
    camera: Frame,
    bytes: Vec<u8>,
    signal: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(move || {
        std::thread::sleep(LATE - Duration::from_millis(50));
        crate::common::write_now(&camera, &bytes);
        std::thread::sleep(Duration::from_millis(50));
        signal()
    })
}

/// Imports the frame, whose producer is late, and copies it on the GPU.
fn read_late(bench: &Bench, frame: &Frame, wanted: &[u8], begin: Instant) {
    let importer = Importer::with_options(&bench.gpu, ImportOptions::default().wait(SOON));
    let imported = importer.import(frame).unwrap();
    assert_eq!(imported.route(), Route::Buffer);
    let (commands, readback) = bench.copy_out(&imported);
    let called = Instant::now();
    let work = bench.gpu.submit(&[&imported], [commands]).unwrap();
    let (took, submitted) = (called.elapsed(), begin.elapsed());
    assert!(work.wait(SOON).unwrap().is_signaled());
    let done = begin.elapsed();
    println!(
        "{}: submitted after {submitted:?}, done after {done:?}",
        bench.gpu.level()
    );
    assert!(
        done >= LATE - Duration::from_millis(20),
        "nobody waited: {done:?}"
    );
    if bench.gpu.level() == Level::Explicit {
        assert!(took < Duration::from_millis(100), "the CPU waited: {took:?}");
    } else {
        assert!(
            submitted >= LATE - Duration::from_millis(20),
            "who waits? {submitted:?}"
        );
    }
    same(
        &bench.tight(&imported, &readback),
        wanted,
        "what the late producer wrote",
    );
}

fn both() -> Vec<Bench> {
    let both: Vec<_> = [Bench::plain(), Bench::ours()].into_iter().flatten().collect();
    for bench in &both {
        println!("{}", bench.gpu.level());
    }
    if let ([_, ours], true) = (&both[..], dmaframe_testkit::in_lab()) {
        let wanted = match module_path!().contains("v30") {
            true => Level::Explicit,
            false => Level::Release,
        };
        assert_eq!(ours.gpu.level(), wanted);
    }
    both.into_iter().filter(Bench::dmabufs).collect()
}

#[test]
fn a_pending_acquire_fence_is_waited_for_on_the_gpu_or_else_on_the_cpu() {
    let udmabuf = need!(Device::Udmabuf);
    let sw_sync = need!(Device::SwSync);
    for bench in both() {
        let timeline = SwSync::open(&sw_sync).unwrap();
        let fence = SyncFile::new(timeline.fence(1).unwrap()).unwrap();
        let (frame, camera) = shared_frame(&udmabuf, fence.into());
        let bytes = picture(LEN, 9);
        let begin = Instant::now();
        let camera = late(camera, bytes.clone(), move || {
            timeline.advance(1).unwrap();
            timeline
        });
        read_late(&bench, &frame, &bytes, begin);
        drop((camera.join().unwrap(), frame));
        bench.done();
    }
}

#[test]
fn a_fence_on_the_dma_buf_is_waited_for_too() {
    let udmabuf = need!(Device::Udmabuf);
    let vgem = need!(Device::VgemRender);
    for bench in both() {
        let vgem = Vgem::open(&vgem).unwrap();
        let (frame, camera) = shared_frame(&udmabuf, Fence::Signaled);
        let fence = vgem
            .attach_write(frame.as_dmabuf().unwrap().lend(0).unwrap())
            .unwrap();
        let bytes = picture(LEN, 10);
        let begin = Instant::now();
        let camera = late(camera, bytes.clone(), move || vgem.signal(fence).unwrap());
        read_late(&bench, &frame, &bytes, begin);
        camera.join().unwrap();
        drop(frame);
        bench.done();
    }
}

#[test]
fn a_plain_device_waits_no_longer_than_it_was_told() {
    let udmabuf = need!(Device::Udmabuf);
    let sw_sync = need!(Device::SwSync);
    let Some(bench) = Bench::plain().filter(Bench::dmabufs) else {
        return;
    };
    let timeline = SwSync::open(&sw_sync).unwrap();
    let fence = SyncFile::new(timeline.fence(1).unwrap()).unwrap();
    let (frame, camera) = shared_frame(&udmabuf, fence.into());
    let wait = Duration::from_millis(50);
    let importer = Importer::with_options(&bench.gpu, ImportOptions::default().wait(wait));
    let imported = importer.import(&frame).unwrap();
    let (commands, _) = bench.copy_out(&imported);
    let begin = Instant::now();
    let refused = bench.gpu.submit(&[&imported], [commands]).unwrap_err();
    assert!(
        matches!(refused, Error::Timeout { waited, .. } if waited == wait),
        "{refused}"
    );
    assert!(begin.elapsed() >= wait);
    assert_eq!(bench.gpu.outstanding(), 0);
    timeline.advance(1).unwrap();
    let bytes = bench.read(&imported);
    same(&bytes, &vec![0; LEN], "after the fence");
    drop((imported, importer, frame, camera));
    bench.done();
}

/// A producer of one slot, and its frame.
fn leased() -> Option<(Arc<ReturnQueue>, Frame)> {
    let (frame, _) = udmabuf_frame(Fourcc::R8, SIZE, TIGHT, 1)?;
    let queue = ReturnQueue::new(1).unwrap();
    let buffer = Arc::clone(frame.buffer());
    drop(frame);
    let frame = queue.frame(0, &buffer, FrameMeta::default(), Fence::Signaled);
    Some((queue, frame.unwrap()))
}

/// The slot, which has to come home by itself: nobody here polls the device.
fn comes_home(queue: &ReturnQueue) -> Fence {
    let begin = Instant::now();
    loop {
        if let Some(returned) = queue.next() {
            println!("home after {:?}", begin.elapsed());
            return returned.fence;
        }
        let waited = begin.elapsed();
        assert!(waited < Duration::from_millis(100), "not home after {waited:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_application_that_stops_submitting_gets_its_frames_back() {
    for bench in both() {
        let importer = Importer::new(&bench.gpu);
        for way in 0..3 {
            let Some((queue, frame)) = leased() else { return };
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
        let (queue, frame) = leased()?;
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
    let Some((queue, frame)) = leased() else { return };
    let encoder = bench.gpu.device().create_command_encoder(&Default::default());
    bench.gpu.track_encoder(&encoder, frame);
    assert!(queue.next().is_none());
    drop(encoder);
    drop(comes_home(&queue));
    bench.done();
}

#[test]
fn memory_that_was_acquired_goes_back_whatever_becomes_of_it() {
    for bench in both() {
        let importer = Importer::new(&bench.gpu);
        let Some((queue, frame)) = leased() else { return };
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
            let (Some((queue, frame)), Some((inner_queue, inner_frame))) = (leased(), leased()) else {
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
fn a_fence_that_the_driver_does_not_give_costs_neither_the_device_nor_the_frame() {
    for export in [FenceExport::Inline, FenceExport::Thread] {
        let Some(bench) = Bench::ours().filter(Bench::dmabufs) else {
            return;
        };
        let mut options = GpuOptions::default().export(export);
        options.broken_exports = true;
        let gpu = Gpu::with_options(bench.gpu.device(), bench.gpu.queue(), options);
        if gpu.level() < Level::Release {
            return dmaframe_testkit::skip("the device exports no SYNC_FD");
        }
        let importer = Importer::new(&gpu);
        for _ in 0..2 {
            let Some((queue, frame)) = leased() else { return };
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
    let mut options = GpuOptions::default().export(FenceExport::Thread);
    options.broken_exports = true;
    let gpu = Gpu::with_options(bench.gpu.device(), bench.gpu.queue(), options);
    if gpu.level() < Level::Explicit {
        return bench.done();
    }
    let timeline = SwSync::open(&sw_sync).unwrap();
    let fence = SyncFile::new(timeline.fence(1).unwrap()).unwrap();
    let Some((frame, _)) = udmabuf_frame(Fourcc::R8, SIZE, TIGHT, 1) else {
        return;
    };
    let (queue, buffer) = (ReturnQueue::new(1).unwrap(), Arc::clone(frame.buffer()));
    drop(frame);
    let frame = queue.frame(0, &buffer, FrameMeta::default(), fence.into()).unwrap();
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
        let options = GpuOptions::default().export(export);
        let gpu = Gpu::with_options(bench.gpu.device(), bench.gpu.queue(), options);
        if gpu.level() < Level::Release {
            return dmaframe_testkit::skip("the device exports no SYNC_FD");
        }
        let importer = Importer::new(&gpu);
        let Some((queue, frame)) = leased() else { return };
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
