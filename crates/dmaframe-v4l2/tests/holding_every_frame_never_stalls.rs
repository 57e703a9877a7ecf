//! A consumer that never gives anything back gets copies or gaps; the camera goes on.

mod common;

use common::{PATIENCE, SMALL, alone, fast, frame, pixels, still};
use dmaframe_core::{Frame, Starvation};
use dmaframe_v4l2::PixelFormat;

#[test]
fn copies_come_when_the_buffers_run_out_and_zero_copy_returns_with_them() {
    let path = need_vivid!();
    let _alone = alone();
    let builder = fast(still(&path), PixelFormat::NV12, SMALL).buffers(4);
    let mut capture = builder.budget(2, Starvation::Detach).start().unwrap();
    let slots = capture.slots();
    let held: Vec<Frame> = (0..40).map(|_| frame(&mut capture)).collect();
    let shared = held.iter().filter(|frame| frame.as_dmabuf().is_some()).count();
    assert_eq!(shared, slots - 2, "all but the two the driver keeps");
    let stats = capture.stats();
    assert_eq!(
        (stats.delivered, stats.detached),
        (shared as u64, 40 - shared as u64)
    );
    // A copy is the picture.
    let (first, last) = (&held[0], &held[39]);
    assert_eq!(pixels(first), pixels(last));
    assert_eq!(first.meta().color, last.meta().color);
    let hop = capture.hop().counts();
    assert_eq!(hop.cpu_bytes, (40 - shared as u64) * first.layout().tight_len());
    assert!(hop.reason.is_some_and(|reason| reason.contains("consumers hold")));

    drop(held);
    for _ in 0..20 {
        assert!(frame(&mut capture).as_dmabuf().is_some());
    }
}

#[test]
fn pictures_are_dropped_and_counted_if_that_is_the_policy() {
    let path = need_vivid!();
    let _alone = alone();
    let builder = fast(still(&path), PixelFormat::NV12, SMALL).buffers(4);
    let mut capture = builder.budget(2, Starvation::Drop).start().unwrap();
    let slots = capture.slots();
    let held: Vec<Frame> = (0..slots - 2).map(|_| frame(&mut capture)).collect();
    let nothing = capture.next(std::time::Duration::from_millis(300)).unwrap();
    assert!(nothing.is_none());
    let dropped = capture.stats().dropped;
    assert!(dropped > 5, "{dropped} in 0.3 s: the camera goes on");
    assert_eq!(capture.hop().counts().dropped, dropped);
    drop(held);
    let next = capture.next(PATIENCE).unwrap().unwrap().into_frame().unwrap();
    assert!(next.as_dmabuf().is_some());
}

#[test]
fn a_single_shared_buffer_beyond_the_minimum_is_enough() {
    let path = need_vivid!();
    let _alone = alone();
    let builder = fast(still(&path), PixelFormat::NV12, SMALL).buffers(2);
    let mut capture = builder.budget(8, Starvation::Detach).start().unwrap();
    let held: Vec<Frame> = (0..20).map(|_| frame(&mut capture)).collect();
    assert_eq!(held.len(), 20);
}
