//! A queue's work, however much of it: threads share it, its slots come back, and everything may be dropped meanwhile.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Bench, SOON, dmabuf_bench, fenced_bench, open};
use dmaframe_core::{Fourcc, Size};
use dmaframe_testkit::SwSync;
use dmaframe_testkit::frames::{TIGHT, same, udmabuf_frame};
use dmaframe_testkit::producer::{advance_later, pending, shared_frame};
use dmaframe_vulkan::{Importer, OpenOptions, Readback};

const SIZE: Size = Size::new(640, 480);

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
    assert!(work.wait(SOON).unwrap().is_signaled());
    drop(work);
    bench.done();
}

#[test]
fn many_submissions_in_flight_wait_for_a_free_slot_until_the_deadline() {
    let Some((bench, udmabuf, timeline)) = fenced_bench() else {
        return;
    };
    let (frame, _camera) = shared_frame(&udmabuf, SIZE, pending(&timeline));
    let works: Vec<_> = (0..16)
        .map(|_| {
            bench
                .queue
                .submit(SOON, |commands| commands.reads(&frame))
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
        assert!(work.wait(SOON).unwrap().is_signaled());
    }
    assert_eq!(bench.queue.in_flight(), 0);
    drop(frame);
    bench.done();
}

#[test]
fn threads_share_a_queue_and_an_importer() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let Some((frame, bytes)) = udmabuf_frame(Fourcc::NV12, Size::new(64, 48), TIGHT, 1) else {
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

/// Work that waits for a fence, and nothing else that is left of it.
fn abandoned(bench: &Bench, udmabuf: &Path, timeline: &SwSync) {
    let (frame, _camera) = shared_frame(udmabuf, SIZE, pending(timeline));
    let importer = Importer::new(&bench.gpu);
    let held = importer.buffer(&frame).unwrap();
    let image = importer.image(&frame).unwrap();
    let back = Readback::new(&bench.gpu, Fourcc::R8, SIZE).unwrap();
    let again = Readback::new(&bench.gpu, Fourcc::R8, SIZE).unwrap();
    let work = bench.queue.submit(SOON, |commands| {
        commands.reads(&held.frame)?;
        commands.copy(&held.import, back.target())?;
        commands.copy_image(&image.import, again.target())
    });
    assert!(!work.unwrap().is_done().unwrap());
}

#[test]
fn everything_may_be_dropped_while_the_gpu_is_still_at_work() {
    let Some((bench, udmabuf, timeline)) = fenced_bench() else {
        return;
    };
    abandoned(&bench, &udmabuf, &timeline);
    let live = bench.gpu.live();
    assert_eq!((live.buffers, live.images), (3, 1), "the work holds what it uses");
    timeline.advance(1).unwrap();
    bench.settle();
    let live = bench.gpu.live();
    assert_eq!((live.buffers, live.images, live.memories), (0, 0, 0));
    bench.done();
}

#[test]
fn a_queue_that_is_dropped_waits_for_its_work() {
    let Some((bench, udmabuf, timeline)) = fenced_bench() else {
        return;
    };
    abandoned(&bench, &udmabuf, &timeline);
    let begin = Instant::now();
    let signal = advance_later(timeline, Duration::from_millis(100));
    bench.done();
    assert!(begin.elapsed() >= Duration::from_millis(90));
    drop(signal.join().unwrap());
}
