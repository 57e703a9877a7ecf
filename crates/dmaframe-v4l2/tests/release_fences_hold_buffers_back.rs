//! A buffer with a consumer's work pending on it is not filled again, and nobody waits for it.

mod common;

use std::time::{Duration, Instant};

use common::{Allocator, PATIENCE, SMALL, alone, buffers, fast, frame, set, still, unbudgeted};
use dmaframe_testkit::producer::{advance_later, pending};
use dmaframe_testkit::streams::readable;
use dmaframe_testkit::{Device as Kit, SwSync, Vgem, need};
use dmaframe_v4l2::PixelFormat;

#[test]
fn a_pending_fence_keeps_the_buffer_from_the_driver_while_the_stream_goes_on() {
    let path = need_vivid!();
    let sync = need!(Kit::SwSync);
    let _alone = alone();
    let timeline = SwSync::open(&sync).unwrap();
    let mut capture = fast(still(&path), PixelFormat::NV12, SMALL)
        .buffers(6)
        .start()
        .unwrap();
    let slots = capture.slots();

    let held = frame(&mut capture);
    let id = held.buffer_id();
    held.release_after(pending(&timeline));
    drop(held);
    let start = Instant::now();
    for _ in 0..3 * slots {
        assert_ne!(
            frame(&mut capture).buffer_id(),
            id,
            "filled before its fence has signalled"
        );
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(capture.try_next().is_ok());
    assert!(capture.queued() < slots);

    timeline.advance(1).unwrap();
    let back = (0..3 * slots).any(|_| frame(&mut capture).buffer_id() == id);
    assert!(back, "it never came back after its fence");
}

/// With every buffer behind a fence the only thing that can happen is that one signals, and it wakes the waiter.
#[test]
fn a_signalled_fence_wakes_whoever_waits_for_a_picture() {
    let path = need_vivid!();
    let sync = need!(Kit::SwSync);
    let _alone = alone();
    let timeline = SwSync::open(&sync).unwrap();
    let mut capture = unbudgeted(&path);
    let held: Vec<_> = (0..capture.slots()).map(|_| frame(&mut capture)).collect();
    for frame in held {
        frame.release_after(pending(&timeline));
    }
    assert!(capture.next(Duration::from_millis(50)).unwrap().is_none());
    assert_eq!(capture.queued(), 0);
    assert!(
        !readable(&capture, Duration::from_millis(50)),
        "nothing to do yet"
    );
    let waker = advance_later(timeline, Duration::from_millis(100));
    drop(frame(&mut capture));
    drop(waker.join().unwrap());
}

/// A consumer that crashed: its timeline closes, its fences end with an error, the buffers go on.
#[test]
fn a_fence_that_fails_frees_its_buffer() {
    let path = need_vivid!();
    let sync = need!(Kit::SwSync);
    let _alone = alone();
    let timeline = SwSync::open(&sync).unwrap();
    let mut capture = fast(still(&path), PixelFormat::NV12, SMALL).start().unwrap();
    let held = frame(&mut capture);
    let id = held.buffer_id();
    held.release_after(pending(&timeline));
    drop(held);
    assert!((0..12).all(|_| frame(&mut capture).buffer_id() != id));
    drop(timeline);
    assert!((0..18).any(|_| frame(&mut capture).buffer_id() == id));
}

#[test]
fn stopping_with_fences_pending_leaks_nothing() {
    let path = need_vivid!();
    let sync = need!(Kit::SwSync);
    let _alone = alone();
    let timeline = SwSync::open(&sync).unwrap();
    let before = dmaframe_testkit::Leaks::now();
    let mut capture = fast(still(&path), PixelFormat::NV12, SMALL).start().unwrap();
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

#[test]
fn one_descriptor_tells_of_pictures_and_of_returned_buffers() {
    let path = need_vivid!();
    let _alone = alone();
    let mut capture = unbudgeted(&path);
    let mut held = Vec::new();
    while held.len() < capture.slots() {
        assert!(readable(&capture, Duration::from_millis(900)), "a picture is due");
        held.extend(capture.try_next().unwrap());
    }
    assert!(
        !readable(&capture, Duration::from_millis(50)),
        "the driver has no buffer"
    );
    drop(held.pop());
    assert!(
        readable(&capture, Duration::from_millis(50)),
        "a buffer came back"
    );
    drop(capture.try_next().unwrap());
    assert_eq!(capture.queued(), 1);
}

/// A renderer that only knows implicit sync puts its fence on the dma-buf and drops the frame.
#[test]
fn implicit_fences_keep_the_buffer_from_the_driver_when_asked_to() {
    let path = need_vivid!();
    let udmabuf = need!(Kit::Udmabuf);
    let vgem = Vgem::open(&need!(Kit::VgemRender)).unwrap();
    let _alone = alone();
    for implicit in [false, true] {
        let (device, format) = set(&path, PixelFormat::NV12);
        let ours = buffers(&device, &format, &udmabuf, Allocator::Udmabuf, 4);
        let builder = fast(device, PixelFormat::NV12, SMALL).import(ours);
        let mut capture = builder.implicit_fences(implicit).start().unwrap();
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
        assert!(capture.next(PATIENCE).unwrap().is_some());
    }
}
