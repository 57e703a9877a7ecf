//! The GPU waits for the producer, the CPU does not; what the GPU did becomes a fence.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ash::{khr, vk};
use common::{Bench, dmabuf_bench, open};
use dmaframe_core::{
    Access, Fence, Fourcc, Frame, FrameMeta, FrameParts, Lease, Plane, ReturnQueue, Size, SyncFile, Waited,
};
use dmaframe_testkit::frames::{self, TIGHT, same};
use dmaframe_testkit::{Device, SwSync, need};
use dmaframe_vulkan::{Importer, OpenOptions, Readback, ValidationLog, ash, raw, sync};

const SIZE: Size = Size::new(640, 480);
const LEN: usize = 640 * 480;
const LATE: Duration = Duration::from_millis(200);

/// A frame over a udmabuf, and a second descriptor of it that a "camera" writes through.
fn shared_frame(device: &std::path::Path, acquire: Fence) -> (Frame, Frame) {
    let fd = dmaframe_testkit::udmabuf(device, LEN as u64).unwrap();
    let other = fd.try_clone().unwrap();
    let plane = Plane {
        object: 0,
        offset: 0,
        stride: 640,
    };
    let camera = frames::frame_in(vec![other], Fourcc::R8, SIZE, &[plane], &vec![0; LEN]).unwrap();
    let mut parts = FrameParts::new(Fourcc::R8, SIZE);
    parts.objects.push(fd);
    parts.planes.push(plane);
    parts.acquire = acquire;
    (Frame::try_from(parts).unwrap(), camera)
}

fn fence(timeline: &SwSync) -> Fence {
    SyncFile::new(timeline.fence(1).unwrap()).unwrap().into()
}

/// Writes the picture at 150 ms and signals at 200 ms, from another thread.
fn late_camera(mut camera: Frame, timeline: SwSync, bytes: Vec<u8>) -> std::thread::JoinHandle<SwSync> {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        // The implicit fence, where there is one, is the camera's own: it writes before it.
        write_through_mapping(&mut camera, &bytes);
        std::thread::sleep(Duration::from_millis(50));
        timeline.advance(1).unwrap();
        timeline
    })
}

fn write_through_mapping(camera: &mut Frame, bytes: &[u8]) {
    camera
        .map_write(common::SOON)
        .unwrap()
        .copy_from_tight(bytes)
        .unwrap();
}

#[test]
fn a_pending_acquire_fence_is_waited_for_on_the_gpu() {
    let udmabuf = need!(Device::Udmabuf);
    let sw_sync = need!(Device::SwSync);
    let Some(bench) = dmabuf_bench() else { return };
    if !bench.gpu.capabilities().sync_fd_import {
        dmaframe_testkit::skip("the device waits for no SYNC_FD");
        return;
    }
    let timeline = SwSync::open(&sw_sync).unwrap();
    let (frame, camera) = shared_frame(&udmabuf, fence(&timeline));
    let importer = Importer::new(&bench.gpu);
    let held = importer.buffer(&frame).unwrap();
    let mut back = Readback::new(&bench.gpu, Fourcc::R8, SIZE).unwrap();
    let late = frames::picture(LEN, 9);
    let camera = late_camera(camera, timeline, late.clone());

    let begin = Instant::now();
    let work = bench
        .queue
        .submit(common::SOON, |commands| {
            commands.reads(&held.frame)?;
            commands.copy(&held.import, back.target())
        })
        .unwrap();
    let submitted = begin.elapsed();
    assert!(!work.is_done().unwrap());
    assert!(work.wait(common::SOON).unwrap().is_signaled());
    let done = begin.elapsed();
    println!("submit returned after {submitted:?}, the work was done after {done:?}");
    assert!(
        submitted < Duration::from_millis(100),
        "submit blocked for {submitted:?}"
    );
    assert!(
        done >= LATE - Duration::from_millis(20),
        "the GPU did not wait: {done:?}"
    );
    same(back.bytes().unwrap(), &late, "what the late producer wrote");
    drop(camera.join().unwrap());
    drop((importer, held, back, work));
    bench.done();
}

#[test]
fn an_implicit_fence_is_waited_for_on_the_gpu() {
    let udmabuf = need!(Device::Udmabuf);
    let sw_sync = need!(Device::SwSync);
    let Some(bench) = dmabuf_bench() else { return };
    if !bench.gpu.capabilities().sync_fd_import {
        dmaframe_testkit::skip("the device waits for no SYNC_FD");
        return;
    }
    let timeline = SwSync::open(&sw_sync).unwrap();
    let (frame, _camera) = shared_frame(&udmabuf, Fence::Signaled);
    frame
        .as_dmabuf()
        .unwrap()
        .attach_fence(&fence(&timeline), Access::Write)
        .unwrap();
    let importer = Importer::new(&bench.gpu);
    let held = importer.buffer(&frame).unwrap();
    let back = Readback::new(&bench.gpu, Fourcc::R8, SIZE).unwrap();
    let signal = std::thread::spawn(move || {
        std::thread::sleep(LATE);
        timeline.advance(1).unwrap();
        timeline
    });
    let begin = Instant::now();
    let work = bench
        .queue
        .submit(common::SOON, |commands| {
            commands.reads(&held.frame)?;
            commands.copy(&held.import, back.target())
        })
        .unwrap();
    let submitted = begin.elapsed();
    assert!(work.wait(common::SOON).unwrap().is_signaled());
    let done = begin.elapsed();
    println!("submit returned after {submitted:?}, the work was done after {done:?}");
    assert!(submitted < Duration::from_millis(100) && done >= LATE - Duration::from_millis(20));
    drop(signal.join().unwrap());
    drop((importer, held, back, work));
    bench.done();
}

#[test]
fn a_plain_device_waits_on_the_cpu_with_a_deadline() {
    let udmabuf = need!(Device::Udmabuf);
    let sw_sync = need!(Device::SwSync);
    let Some(bench) = open(&OpenOptions::new().without(khr::external_semaphore_fd::NAME)) else {
        return;
    };
    let timeline = SwSync::open(&sw_sync).unwrap();
    let (frame, _camera) = shared_frame(&udmabuf, fence(&timeline));
    let refused = bench
        .queue
        .submit(common::SOON, |commands| commands.reads(&frame))
        .unwrap_err();
    assert!(refused.refusal().is_some(), "{refused}");
    let begin = Instant::now();
    assert_eq!(
        sync::wait(&frame, Access::Read, Duration::from_millis(50)).unwrap(),
        Waited::TimedOut
    );
    assert!(begin.elapsed() >= Duration::from_millis(50));
    timeline.advance(1).unwrap();
    assert_eq!(
        sync::wait(&frame, Access::Read, common::SOON).unwrap(),
        Waited::Signaled
    );
    // Signalled: nothing is left that would need a semaphore.
    let work = bench
        .queue
        .submit(common::SOON, |commands| commands.reads(&frame))
        .unwrap();
    assert!(work.wait(common::SOON).unwrap().is_signaled());
    drop((frame, work));
    bench.done();
}

/// A slot of a producer in a frame.
fn leased(bench: &Bench) -> Option<(Arc<ReturnQueue>, Frame)> {
    let (frame, _) = frames::udmabuf_frame(Fourcc::R8, SIZE, TIGHT, 1)?;
    let queue = ReturnQueue::new(1).unwrap();
    let buffer = Arc::clone(frame.buffer());
    drop(frame);
    let frame = queue
        .frame(0, &buffer, FrameMeta::default(), Fence::Signaled)
        .unwrap();
    let _ = bench;
    Some((queue, frame))
}

#[test]
fn a_frame_handed_back_comes_home_with_the_works_fence() {
    let Some(bench) = dmabuf_bench() else { return };
    if !bench.queue.can_export_fences() {
        dmaframe_testkit::skip("the device exports no SYNC_FD");
        return;
    }
    let importer = Importer::new(&bench.gpu);
    let back = Readback::new(&bench.gpu, Fourcc::R8, SIZE).unwrap();
    let Some((producer, frame)) = leased(&bench) else {
        return;
    };
    let buffer = Arc::clone(frame.buffer());
    let held = importer.buffer(&frame).unwrap();
    let mut work = bench
        .queue
        .submit(common::SOON, |commands| {
            commands.reads(&held.frame)?;
            commands.export_fence()?;
            commands.copy(&held.import, back.target())
        })
        .unwrap();
    drop((held, frame));
    assert!(producer.next().is_none(), "the queue holds the frame");
    let fence = work.hand_back().unwrap();
    let returned = producer
        .next()
        .expect("the slot comes home without waiting for the device");
    assert!(returned.fence.wait(common::SOON).unwrap().is_signaled());
    assert!(fence.wait(common::SOON).unwrap().is_signaled());
    // A fence that was read from stands against writers only; it is on the dma-buf, whether or not it has signalled.
    assert!(
        buffer.objects()[0]
            .wait_idle(Access::Write, common::SOON)
            .unwrap()
            .is_signaled()
    );
    assert!(work.wait(common::SOON).unwrap().is_signaled());
    assert!(
        work.fence().unwrap().is_done().unwrap(),
        "asked again it is the same"
    );
    drop((importer, back, work, returned));
    bench.done();
}

#[test]
fn an_application_that_only_polls_gets_its_leases_back() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let back = Readback::new(&bench.gpu, Fourcc::R8, SIZE).unwrap();
    let Some((producer, frame)) = leased(&bench) else {
        return;
    };
    let held = importer.buffer(&frame).unwrap();
    let work = bench
        .queue
        .submit(common::SOON, |commands| {
            commands.reads(&held.frame)?;
            commands.copy(&held.import, back.target())
        })
        .unwrap();
    drop((held, frame, work));
    let begin = Instant::now();
    while producer.next().is_none() {
        assert!(begin.elapsed() < common::SOON, "the lease never came back");
        std::thread::sleep(Duration::from_millis(5));
        bench.queue.poll().unwrap();
    }
    assert_eq!(bench.queue.in_flight(), 0);
    drop((importer, back));
    bench.done();
}

#[test]
fn work_that_could_not_be_recorded_gives_everything_back() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let back = Readback::new(&bench.gpu, Fourcc::R8, Size::new(8, 8)).unwrap();
    let Some((producer, frame)) = leased(&bench) else {
        return;
    };
    let held = importer.buffer(&frame).unwrap();
    let refused = bench.queue.submit(common::SOON, |commands| {
        commands.reads(&held.frame)?;
        commands.copy(&held.import, back.target())
    });
    assert!(refused.unwrap_err().to_string().contains("640x480"));
    drop((held, frame));
    assert!(producer.next().is_some());
    drop((importer, back));
    bench.done();
}

#[test]
fn a_panic_while_recording_loses_no_slot() {
    let Some(bench) = open(&OpenOptions::new()) else {
        return;
    };
    for _ in 0..40 {
        let queue = bench.queue.clone();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _ = queue.submit(Duration::from_millis(100), |_| panic!("meant to"));
        }));
        assert!(panicked.is_err());
    }
    let work = bench
        .queue
        .submit(Duration::from_millis(500), |_| Ok(()))
        .unwrap();
    assert!(work.wait(common::SOON).unwrap().is_signaled());
    drop(work);
    bench.done();
}

#[test]
fn many_submissions_in_flight_wait_for_a_free_slot_until_the_deadline() {
    let udmabuf = need!(Device::Udmabuf);
    let sw_sync = need!(Device::SwSync);
    let Some(bench) = dmabuf_bench() else { return };
    let timeline = SwSync::open(&sw_sync).unwrap();
    let (frame, _camera) = shared_frame(&udmabuf, fence(&timeline));
    let works: Vec<_> = (0..16)
        .map(|_| {
            bench
                .queue
                .submit(common::SOON, |commands| commands.reads(&frame))
                .unwrap()
        })
        .collect();
    assert_eq!(bench.queue.in_flight(), 16);
    let begin = Instant::now();
    let late = bench
        .queue
        .submit(Duration::from_millis(50), |commands| commands.reads(&frame));
    assert!(
        matches!(late, Err(dmaframe_vulkan::Error::Timeout { .. })),
        "{late:?}"
    );
    assert!(begin.elapsed() >= Duration::from_millis(50));
    timeline.advance(1).unwrap();
    for work in works {
        assert!(work.wait(common::SOON).unwrap().is_signaled());
    }
    assert_eq!(bench.queue.in_flight(), 0);
    drop(frame);
    bench.done();
}

#[test]
fn threads_share_a_queue_and_an_importer() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let Some((frame, bytes)) = frames::udmabuf_frame(Fourcc::NV12, Size::new(64, 48), TIGHT, 1) else {
        return;
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let held = importer.buffer(&frame).unwrap();
                    same(&bench.read(&held), &bytes, "one of four threads");
                }
            });
        }
    });
    drop((importer, frame));
    bench.done();
}

#[test]
fn who_waited_for_work_finds_what_it_held_let_go_whichever_thread_saw_it_done() {
    let Some(bench) = dmabuf_bench() else { return };
    let Some((frame, bytes)) = frames::udmabuf_frame(Fourcc::NV12, Size::new(64, 48), TIGHT, 1) else {
        return;
    };
    let (entered, inside) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let left = std::sync::Mutex::new(left);
    // A producer that takes its time when its frame comes home.
    let lease = Lease::on_release(move |_| {
        entered.send(()).unwrap();
        let _ = left.lock().unwrap().recv();
    });
    let buffer = Arc::clone(frame.buffer());
    drop(frame);
    let slow = Frame::new(buffer, FrameMeta::default(), Fence::Signaled, lease).unwrap();
    let importer = Importer::new(&bench.gpu);
    let held = importer.buffer(&slow).unwrap();
    let mut back = Readback::new(&bench.gpu, Fourcc::NV12, Size::new(64, 48)).unwrap();
    let work = bench.queue.submit(common::SOON, |commands| {
        commands.reads(&held.frame)?;
        commands.copy(&held.import, back.target())
    });
    let work = work.unwrap();
    drop((held, slow, importer));
    std::thread::scope(|scope| {
        // This one sees the work's end, and is in the lease then.
        scope.spawn(|| {
            while bench.queue.in_flight() > 0 {
                bench.queue.poll().unwrap();
            }
        });
        inside.recv().unwrap();
        assert!(!work.is_done().unwrap());
        assert_eq!(work.wait(Duration::from_millis(30)).unwrap(), Waited::TimedOut);
        drop(leave);
        assert!(work.wait(common::SOON).unwrap().is_signaled());
    });
    same(back.bytes().unwrap(), &bytes, "after the wait");
    drop((back, work));
    bench.done();
}

#[test]
fn a_release_fence_is_on_the_dma_buf_and_in_the_lease() {
    let udmabuf = need!(Device::Udmabuf);
    let sw_sync = need!(Device::SwSync);
    let timeline = SwSync::open(&sw_sync).unwrap();
    let fd = dmaframe_testkit::udmabuf(&udmabuf, LEN as u64).unwrap();
    let plane = Plane {
        object: 0,
        offset: 0,
        stride: 640,
    };
    let first = frames::frame_in(vec![fd], Fourcc::R8, SIZE, &[plane], &vec![0; LEN]).unwrap();
    let buffer = Arc::clone(first.buffer());
    drop(first);
    let producer = ReturnQueue::new(1).unwrap();
    let frame = producer
        .frame(0, &buffer, FrameMeta::default(), Fence::Signaled)
        .unwrap();
    // As a GPU driver would give it: not signalled yet. (lavapipe gives signalled ones only.)
    sync::release(&frame, &fence(&timeline), Access::Write).unwrap();
    drop(frame);
    let returned = producer.next().expect("home at once");
    assert!(!returned.fence.is_done().unwrap());
    let seen = buffer.objects()[0].export_fence(Access::Read).unwrap();
    assert!(
        !seen.is_done().unwrap(),
        "readers have to wait for the GPU's writes"
    );
    timeline.advance(1).unwrap();
    assert!(returned.fence.is_done().unwrap() && seen.is_done().unwrap());
}

/// Work that waits for a fence, and nothing else that is left of it.
fn abandoned(bench: &Bench, udmabuf: &std::path::Path, timeline: &SwSync) {
    let (frame, _camera) = shared_frame(udmabuf, fence(timeline));
    let importer = Importer::new(&bench.gpu);
    let held = importer.buffer(&frame).unwrap();
    let image = importer.image(&frame).unwrap();
    let back = Readback::new(&bench.gpu, Fourcc::R8, SIZE).unwrap();
    let again = Readback::new(&bench.gpu, Fourcc::R8, SIZE).unwrap();
    let work = bench.queue.submit(common::SOON, |commands| {
        commands.reads(&held.frame)?;
        commands.copy(&held.import, back.target())?;
        commands.copy_image(&image.import, again.target())
    });
    assert!(!work.unwrap().is_done().unwrap());
}

#[test]
fn everything_may_be_dropped_while_the_gpu_is_still_at_work() {
    let udmabuf = need!(Device::Udmabuf);
    let sw_sync = need!(Device::SwSync);
    let Some(bench) = dmabuf_bench() else { return };
    let timeline = SwSync::open(&sw_sync).unwrap();
    abandoned(&bench, &udmabuf, &timeline);
    let live = bench.gpu.live();
    assert_eq!((live.buffers, live.images), (3, 1), "the work holds what it uses");
    timeline.advance(1).unwrap();
    let begin = Instant::now();
    while bench.queue.in_flight() != 0 {
        assert!(begin.elapsed() < common::SOON);
        std::thread::sleep(Duration::from_millis(1));
        bench.queue.poll().unwrap();
    }
    let live = bench.gpu.live();
    assert_eq!((live.buffers, live.images, live.memories), (0, 0, 0));
    bench.done();
}

#[test]
fn a_queue_that_is_dropped_waits_for_its_work() {
    let udmabuf = need!(Device::Udmabuf);
    let sw_sync = need!(Device::SwSync);
    let Some(bench) = dmabuf_bench() else { return };
    let timeline = SwSync::open(&sw_sync).unwrap();
    abandoned(&bench, &udmabuf, &timeline);
    let begin = Instant::now();
    let signal = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        timeline.advance(1).unwrap();
        timeline
    });
    bench.done();
    assert!(begin.elapsed() >= Duration::from_millis(90));
    drop(signal.join().unwrap());
}

/// What a shim over somebody else's queue does.
#[test]
fn raw_semaphores_carry_fences_in_and_out() {
    let sw_sync = need!(Device::SwSync);
    let log = Arc::new(ValidationLog::default());
    let gpu = match OpenOptions::new().validation(&log).open() {
        Ok(gpu) => gpu,
        Err(error) => return dmaframe_testkit::skip(&error.to_string()),
    };
    let timeline = SwSync::open(&sw_sync).unwrap();
    assert!(raw::WaitSemaphore::new(&gpu, Fence::Signaled).unwrap().is_none());
    let wait = raw::WaitSemaphore::new(&gpu, fence(&timeline))
        .unwrap()
        .expect("pending");
    let signal = raw::SignalSemaphore::new(&gpu).unwrap();
    let (waits, signals) = ([wait.handle()], [signal.handle()]);
    let submit = [vk::SubmitInfo::default()
        .wait_semaphores(&waits)
        .wait_dst_stage_mask(&[vk::PipelineStageFlags::ALL_COMMANDS])
        .signal_semaphores(&signals)];
    let late = std::thread::spawn(move || {
        std::thread::sleep(LATE);
        timeline.advance(1).unwrap();
        timeline
    });
    let begin = Instant::now();
    // SAFETY: the queue of a device made here, which nobody else has asked for; the semaphores live until it is idle.
    unsafe {
        let queue = gpu.raw_device().get_device_queue(gpu.queue_family(), 0);
        gpu.raw_device()
            .queue_submit(queue, &submit, vk::Fence::null())
            .unwrap();
    }
    // SAFETY: the submission above signals it, and nothing waits for it.
    let done = unsafe { signal.export() }.unwrap();
    assert!(done.wait(common::SOON).unwrap().is_signaled());
    assert!(
        begin.elapsed() >= LATE - Duration::from_millis(20),
        "{:?}",
        begin.elapsed()
    );
    // SAFETY: nobody else uses the device.
    unsafe { gpu.raw_device().device_wait_idle() }.unwrap();
    drop((wait, signal, late.join().unwrap()));
    drop(gpu);
    assert!(log.errors(&[]).is_empty(), "{:?}", log.errors(&[]));
}
