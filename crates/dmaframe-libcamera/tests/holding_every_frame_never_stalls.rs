//! A consumer that never gives anything back gets copies or gaps; the camera goes on.

mod common;

use std::time::{Duration, Instant};

use common::{PATIENCE, VIMC, VIRTUAL, alone, frame, viewfinder, with_pool};
use dmaframe_alloc::Udmabuf;
use dmaframe_core::{Frame, Starvation};
use dmaframe_libcamera::CameraMetadata;
use dmaframe_testkit::streams::only_the_first_are_shared;
use dmaframe_testkit::{Device as Kit, Vgem, need};

#[test]
fn copies_come_when_the_buffers_run_out_and_zero_copy_returns_with_them() {
    let _alone = alone();
    let mut capture = viewfinder(need_camera!(VIRTUAL), 4).start().unwrap();
    let slots = capture.slots(0);
    let held: Vec<Frame> = (0..30).map(|_| frame(&mut capture)).collect();
    only_the_first_are_shared(&held, slots - 2, capture.stats(0), capture.hop(0).unwrap());
    let copy = held[29].meta();
    assert!(
        copy.extensions.get::<CameraMetadata>().is_some(),
        "what the camera said of it"
    );
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
    let nothing = capture.next(Duration::from_millis(300)).unwrap();
    assert!(nothing.is_none());
    let dropped = capture.stats(0).dropped;
    assert!(dropped > 5, "{dropped} in 0.3 s: the camera goes on");
    assert_eq!(capture.hop(0).unwrap().counts().dropped, dropped);
    drop(held);
    let next = capture.next(PATIENCE).unwrap().unwrap().into_frame().unwrap();
    assert!(next.as_dmabuf().is_some());
}

/// Somebody's GPU is at work on the memory, so that nothing can be copied from it just now: that costs the pictures which
/// were to be copied, and the stream goes on.
#[test]
fn a_copy_that_cannot_be_made_costs_one_picture_and_not_the_stream() {
    let _alone = alone();
    let vgem = Vgem::open(&need!(Kit::VgemRender)).unwrap();
    let (configured, pool) = with_pool(need_camera!(VIMC), Udmabuf::new());
    let mut capture = configured.start().unwrap();
    let held: Vec<Frame> = (0..2).map(|_| frame(&mut capture)).collect();
    let fences: Vec<u32> = pool
        .buffers()
        .iter()
        .map(|buffer| vgem.attach_write(buffer.objects()[0].lend(0).unwrap()).unwrap())
        .collect();
    let start = Instant::now();
    while capture.stats(0).dropped < 3 {
        assert!(capture.next(Duration::from_millis(200)).unwrap().is_none());
        // vgem's fences give up after ten.
        assert!(start.elapsed() < Duration::from_secs(8));
    }
    let stats = capture.stats(0);
    assert_eq!((stats.delivered, stats.detached), (2, 0), "{stats:?}");
    let hop = capture.hop(0).unwrap().counts();
    assert_eq!(hop.dropped, stats.dropped);
    assert!(
        hop.reason
            .is_some_and(|reason| reason.contains("could not be copied"))
    );
    for fence in fences {
        vgem.signal(fence).unwrap();
    }
    assert!(frame(&mut capture).as_dmabuf().is_none(), "a copy");
    drop(held);
}
