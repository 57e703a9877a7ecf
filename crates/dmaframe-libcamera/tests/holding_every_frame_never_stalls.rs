//! A consumer that never gives anything back gets copies or gaps; the camera goes on.

mod common;

use common::{PATIENCE, VIRTUAL, alone, frame, pixels, viewfinder};
use dmaframe_core::{Frame, Starvation};

#[test]
fn copies_come_when_the_buffers_run_out_and_zero_copy_returns_with_them() {
    let _alone = alone();
    let mut capture = viewfinder(need_camera!(VIRTUAL), 4).start().unwrap();
    let slots = capture.slots(0);
    let held: Vec<Frame> = (0..30).map(|_| frame(&mut capture)).collect();
    let shared = held.iter().filter(|frame| frame.as_dmabuf().is_some()).count();
    assert_eq!(shared, slots - 2, "all but the two the camera keeps");
    let stats = capture.stats(0);
    assert_eq!(
        (stats.delivered, stats.detached),
        (shared as u64, 30 - shared as u64)
    );
    // A copy is a picture of the same kind.
    let (first, last) = (&held[0], &held[29]);
    assert_eq!(pixels(first).len(), pixels(last).len());
    assert_eq!(first.meta().color, last.meta().color);
    assert!(
        last.meta()
            .extensions
            .get::<dmaframe_libcamera::CameraMetadata>()
            .is_some()
    );
    let hop = capture.hop(0).unwrap().counts();
    assert_eq!(hop.cpu_bytes, (30 - shared as u64) * first.layout().tight_len());
    assert!(hop.reason.is_some_and(|reason| reason.contains("consumers hold")));
    drop(held);
    for _ in 0..20 {
        assert!(frame(&mut capture).as_dmabuf().is_some());
    }
}

#[test]
fn pictures_are_dropped_and_counted_if_that_is_the_policy() {
    let _alone = alone();
    let configured = viewfinder(need_camera!(VIRTUAL), 4).configure().unwrap();
    let mut capture = configured.budget(2, Starvation::Drop).start().unwrap();
    let held: Vec<Frame> = (0..capture.slots(0) - 2).map(|_| frame(&mut capture)).collect();
    let nothing = capture.next(std::time::Duration::from_millis(300)).unwrap();
    assert!(nothing.is_none());
    let dropped = capture.stats(0).dropped;
    assert!(dropped > 5, "{dropped} in 0.3 s: the camera goes on");
    assert_eq!(capture.hop(0).unwrap().counts().dropped, dropped);
    drop(held);
    let next = capture.next(PATIENCE).unwrap().unwrap().into_frame().unwrap();
    assert!(next.as_dmabuf().is_some());
}
