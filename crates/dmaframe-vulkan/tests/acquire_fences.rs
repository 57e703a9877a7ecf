//! The GPU waits for the producer, the CPU does not; a device that cannot wait has the CPU do so, with a deadline.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ash::{khr, vk};
use common::{Bench, SOON, fenced_bench, open};
use dmaframe_core::{Access, Errno, Fence, Fourcc, Frame, Size, Waited};
use dmaframe_testkit::frames::{picture, same};
use dmaframe_testkit::producer::{advance_later, later, pending, shared_frame};
use dmaframe_testkit::{Device, SwSync, need};
use dmaframe_vulkan::{Error, Importer, OpenOptions, Readback, ValidationLog, ash, raw, sync};

const SIZE: Size = Size::new(640, 480);
const LATE: Duration = Duration::from_millis(200);

/// Copies the frame of a producer that is late on the GPU, which alone waits.
fn read_late(bench: &Bench, frame: &Frame, begin: Instant) -> Vec<u8> {
    let importer = Importer::new(&bench.gpu);
    let held = importer.buffer(frame).unwrap();
    let mut back = Readback::new(&bench.gpu, Fourcc::R8, SIZE).unwrap();
    let called = Instant::now();
    let work = bench.copy(&held, &back).unwrap();
    let submitted = called.elapsed();
    assert!(!work.is_done().unwrap());
    assert!(work.wait(SOON).unwrap().is_signaled());
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
    back.bytes().unwrap().to_vec()
}

/// Whether the device waits for fences at all; says so when not.
fn waits(bench: &Bench) -> bool {
    let there = bench.gpu.capabilities().sync_fd_import;
    if !there {
        dmaframe_testkit::skip("the device waits for no SYNC_FD");
    }
    there
}

#[test]
fn a_pending_acquire_fence_is_waited_for_on_the_gpu() {
    let Some((bench, udmabuf, timeline)) = fenced_bench().filter(|(bench, ..)| waits(bench)) else {
        return;
    };
    let (frame, mut camera) = shared_frame(&udmabuf, SIZE, pending(&timeline));
    let wanted = picture(640 * 480, 9);
    let (bytes, begin) = (wanted.clone(), Instant::now());
    // It writes 50 ms before it signals.
    let camera = later(LATE - Duration::from_millis(50), move || {
        camera.map_write(SOON).unwrap().copy_from_tight(&bytes).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        timeline.advance(1).unwrap();
        timeline
    });
    let found = read_late(&bench, &frame, begin);
    same(&found, &wanted, "what the late producer wrote");
    drop((camera.join().unwrap(), frame));
    bench.done();
}

#[test]
fn an_implicit_fence_is_waited_for_on_the_gpu() {
    let Some((bench, udmabuf, timeline)) = fenced_bench().filter(|(bench, ..)| waits(bench)) else {
        return;
    };
    let (frame, _camera) = shared_frame(&udmabuf, SIZE, Fence::Signaled);
    let dmabuf = frame.as_dmabuf().unwrap();
    dmabuf.attach_fence(&pending(&timeline), Access::Write).unwrap();
    let begin = Instant::now();
    let signal = advance_later(timeline, LATE);
    read_late(&bench, &frame, begin);
    drop((signal.join().unwrap(), frame));
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
    let (frame, _camera) = shared_frame(&udmabuf, SIZE, pending(&timeline));
    let refused = bench
        .queue
        .submit(SOON, |commands| commands.reads(&frame))
        .unwrap_err();
    assert!(refused.refusal().is_some(), "{refused}");
    let begin = Instant::now();
    assert_eq!(
        sync::wait(&frame, Access::Read, Duration::from_millis(50)).unwrap(),
        Waited::TimedOut
    );
    assert!(begin.elapsed() >= Duration::from_millis(50));
    timeline.advance(1).unwrap();
    assert_eq!(sync::wait(&frame, Access::Read, SOON).unwrap(), Waited::Signaled);
    // Signalled: nothing is left that would need a semaphore.
    let work = bench
        .queue
        .submit(SOON, |commands| commands.reads(&frame))
        .unwrap();
    assert!(work.wait(SOON).unwrap().is_signaled());
    drop((frame, work));
    bench.done();
}

#[test]
fn a_picture_whose_producer_has_failed_is_refused_whoever_waits() {
    let Some((bench, udmabuf, timeline)) = fenced_bench().filter(|(bench, ..)| waits(bench)) else {
        return;
    };
    let (frame, camera) = shared_frame(&udmabuf, SIZE, pending(&timeline));
    drop(timeline);
    let failed = |error: &Error| matches!(error, Error::Frame(dmaframe_core::Error::FenceFailed { errno }) if *errno == Errno::NOENT);
    let error = bench
        .queue
        .submit(SOON, |commands| commands.reads(&frame))
        .unwrap_err();
    assert!(failed(&error), "{error}");
    let error = raw::WaitSemaphore::new(&bench.gpu, frame.acquire().try_clone().unwrap()).unwrap_err();
    assert!(failed(&error), "{error}");
    let error = sync::wait(&frame, Access::Read, SOON).unwrap_err();
    assert!(failed(&error), "{error}");
    drop((frame, camera));
    bench.done();
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
    let wait = raw::WaitSemaphore::new(&gpu, pending(&timeline))
        .unwrap()
        .expect("pending");
    let signal = raw::SignalSemaphore::new(&gpu).unwrap();
    let (waits, signals) = ([wait.handle()], [signal.handle()]);
    let submit = [vk::SubmitInfo::default()
        .wait_semaphores(&waits)
        .wait_dst_stage_mask(&[vk::PipelineStageFlags::ALL_COMMANDS])
        .signal_semaphores(&signals)];
    let begin = Instant::now();
    let late = advance_later(timeline, LATE);
    // SAFETY: the queue of a device made here, which nobody else has asked for; the semaphores live until it is idle.
    unsafe {
        let queue = gpu.raw_device().get_device_queue(gpu.queue_family(), 0);
        gpu.raw_device()
            .queue_submit(queue, &submit, vk::Fence::null())
            .unwrap();
    }
    // SAFETY: the submission above signals it, and nothing waits for it.
    let done = unsafe { signal.export() }.unwrap();
    assert!(done.wait(SOON).unwrap().is_signaled());
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
