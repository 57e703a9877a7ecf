//! A buffer with a consumer's work pending on it is not filled again, and nobody waits for it.

mod common;

use std::time::{Duration, Instant};

use common::{VIMC, VIRTUAL, alone, frame, unbudgeted, viewfinder, with_pool};
use dmaframe_alloc::Udmabuf;
use dmaframe_libcamera::ReleaseFences;
use dmaframe_testkit::producer::{advance_later, pending};
use dmaframe_testkit::streams::readable;
use dmaframe_testkit::{Device as Kit, SwSync, Vgem, need};

#[test]
fn a_pending_fence_keeps_the_buffer_from_the_camera_while_the_stream_goes_on() {
    let _alone = alone();
    let sync = need!(Kit::SwSync);
    let timeline = SwSync::open(&sync).unwrap();
    let mut capture = viewfinder(need_camera!(VIRTUAL), 4).start().unwrap();
    let held = frame(&mut capture);
    let id = held.buffer_id();
    held.release_after(pending(&timeline));
    drop(held);
    let start = Instant::now();
    for _ in 0..40 {
        assert_ne!(
            frame(&mut capture).buffer_id(),
            id,
            "filled before its fence has signalled"
        );
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(capture.queued(0) < capture.slots(0));
    timeline.advance(1).unwrap();
    assert!(
        (0..40).any(|_| frame(&mut capture).buffer_id() == id),
        "it never came back after its fence"
    );
}

/// With every buffer behind a fence the only thing that can happen is that one signals, and it wakes the waiter.
#[test]
fn a_signalled_fence_wakes_whoever_waits_for_a_picture() {
    let _alone = alone();
    let sync = need!(Kit::SwSync);
    let timeline = SwSync::open(&sync).unwrap();
    let mut capture = unbudgeted(need_camera!(VIRTUAL)).start().unwrap();
    let held: Vec<_> = (0..capture.slots(0)).map(|_| frame(&mut capture)).collect();
    for frame in held {
        frame.release_after(pending(&timeline));
    }
    assert!(capture.next(Duration::from_millis(50)).unwrap().is_none());
    assert_eq!(capture.queued(0), 0);
    assert!(
        !readable(&capture, Duration::from_millis(50)),
        "nothing to do yet"
    );
    let waker = advance_later(timeline, Duration::from_millis(100));
    drop(frame(&mut capture));
    drop(waker.join().unwrap());
}

/// libcamera waits: the request is queued with the fence and completes only after it.
#[test]
fn a_fence_handed_over_is_waited_for_by_libcamera() {
    let _alone = alone();
    let sync = need!(Kit::SwSync);
    let timeline = SwSync::open(&sync).unwrap();
    let configured = unbudgeted(need_camera!(VIRTUAL)).release_fences(ReleaseFences::HandOver);
    let mut capture = configured.start().unwrap();
    let held: Vec<_> = (0..capture.slots(0)).map(|_| frame(&mut capture)).collect();
    for frame in held {
        frame.release_after(pending(&timeline));
    }
    assert!(capture.try_next().unwrap().is_none());
    assert_eq!(
        capture.queued(0),
        capture.slots(0),
        "all with libcamera, fences and all"
    );
    let nothing = capture.next(Duration::from_millis(100)).unwrap();
    assert!(nothing.is_none(), "filled before the fence has signalled");
    timeline.advance(1).unwrap();
    for _ in 0..capture.slots(0) + 1 {
        drop(frame(&mut capture));
    }
    assert_eq!(capture.stats(0).errors, 0);
}

/// libcamera gives up after 300 ms: the request comes back unfilled, with its fence, and we go on waiting.
#[test]
fn a_fence_that_libcamera_gave_up_on_is_waited_for_here() {
    let _alone = alone();
    let sync = need!(Kit::SwSync);
    let timeline = SwSync::open(&sync).unwrap();
    let configured = unbudgeted(need_camera!(VIRTUAL)).release_fences(ReleaseFences::HandOver);
    let mut capture = configured.start().unwrap();
    let held = frame(&mut capture);
    let id = held.buffer_id();
    held.release_after(pending(&timeline));
    drop(held);
    let start = Instant::now();
    while capture.stats(0).errors == 0 {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "libcamera never gave up"
        );
        if let Some(next) = capture.next(Duration::from_millis(200)).unwrap() {
            assert_ne!(next.into_frame().unwrap().buffer_id(), id);
        }
    }
    for _ in 0..6 {
        assert_ne!(frame(&mut capture).buffer_id(), id, "its fence is still pending");
    }
    timeline.advance(1).unwrap();
    assert!((0..12).any(|_| frame(&mut capture).buffer_id() == id));
}

#[test]
fn stopping_with_fences_pending_leaks_nothing() {
    let _alone = alone();
    let sync = need!(Kit::SwSync);
    let timeline = SwSync::open(&sync).unwrap();
    // The manager stays, so that only the stream's own descriptors count.
    let cameras = dmaframe_libcamera::Cameras::new().unwrap();
    drop(viewfinder(need_camera!(VIRTUAL), 4).start().unwrap());
    let before = dmaframe_testkit::Leaks::now();
    for fences in [ReleaseFences::Wait, ReleaseFences::HandOver] {
        let configured = viewfinder(need_camera!(VIRTUAL), 4).configure().unwrap();
        let mut capture = configured.release_fences(fences).start().unwrap();
        let held = frame(&mut capture);
        held.release_after(pending(&timeline));
        drop(held);
        drop(frame(&mut capture));
        capture.stop().unwrap();
        capture.start().unwrap();
        drop(frame(&mut capture));
        drop(capture);
        before.check();
    }
    drop(cameras);
}

#[test]
fn one_descriptor_tells_of_pictures_and_of_returned_buffers() {
    let _alone = alone();
    let mut capture = unbudgeted(need_camera!(VIRTUAL)).start().unwrap();
    let mut held = Vec::new();
    while held.len() < capture.slots(0) {
        assert!(readable(&capture, Duration::from_millis(900)), "a picture is due");
        held.extend(capture.try_next().unwrap());
    }
    assert!(
        !readable(&capture, Duration::from_millis(50)),
        "the camera has no buffer"
    );
    drop(held.pop());
    assert!(
        readable(&capture, Duration::from_millis(900)),
        "a buffer came back"
    );
    // Queued, or queued and filled at once.
    if capture.try_next().unwrap().is_none() {
        assert_eq!(capture.queued(0), 1);
        drop(frame(&mut capture));
    }
}

/// A renderer that only knows implicit sync puts its fence on the dma-buf and drops the frame.
#[test]
fn implicit_fences_keep_the_buffer_from_the_camera_when_asked_to() {
    let _alone = alone();
    let vgem = Vgem::open(&need!(Kit::VgemRender)).unwrap();
    for implicit in [false, true] {
        let (configured, _pool) = with_pool(need_camera!(VIMC), Udmabuf::new());
        let mut capture = configured.implicit_fences(implicit).start().unwrap();
        let held = frame(&mut capture);
        let id = held.buffer_id();
        let number = vgem
            .attach_write(held.as_dmabuf().unwrap().lend(0).unwrap())
            .unwrap();
        drop(held);
        let came = (0..12).any(|_| frame(&mut capture).buffer_id() == id);
        assert_eq!(came, !implicit, "filled before its fence has signalled");
        vgem.signal(number).unwrap();
        assert!((0..12).any(|_| frame(&mut capture).buffer_id() == id));
    }
}
