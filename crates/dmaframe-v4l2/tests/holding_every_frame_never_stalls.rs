//! A consumer that never gives anything back gets copies or gaps; the camera goes on.

mod common;

use std::time::Duration;

use common::{Allocator, PATIENCE, SMALL, alone, buffers, fast, frame, pixels, set, still};
use dmaframe_core::{Frame, Starvation};
use dmaframe_testkit::streams::only_the_first_are_shared;
use dmaframe_testkit::{Device as Kit, Vgem, need};
use dmaframe_v4l2::PixelFormat;

#[test]
fn copies_come_when_the_buffers_run_out_and_zero_copy_returns_with_them() {
    let path = need_vivid!();
    let _alone = alone();
    let builder = fast(still(&path), PixelFormat::NV12, SMALL).buffers(4);
    let mut capture = builder.budget(2, Starvation::Detach).start().unwrap();
    let slots = capture.slots();
    let held: Vec<Frame> = (0..40).map(|_| frame(&mut capture)).collect();
    only_the_first_are_shared(&held, slots - 2, capture.stats(), capture.hop());
    assert_eq!(pixels(&held[0]), pixels(&held[39]), "a copy is the picture");

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
    let nothing = capture.next(Duration::from_millis(300)).unwrap();
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

/// Somebody's GPU is at work on the memory, so that nothing can be copied from it just now: that costs the pictures which
/// were to be copied, and the stream goes on.
#[test]
fn a_copy_that_cannot_be_made_costs_one_picture_and_not_the_stream() {
    let path = need_vivid!();
    let udmabuf = need!(Kit::Udmabuf);
    let vgem = Vgem::open(&need!(Kit::VgemRender)).unwrap();
    let _alone = alone();
    let (device, format) = set(&path, PixelFormat::NV12);
    let ours = buffers(&device, &format, &udmabuf, Allocator::Udmabuf, 4);
    let builder = fast(device, PixelFormat::NV12, SMALL).import(ours.clone());
    let mut capture = builder.budget(2, Starvation::Detach).start().unwrap();
    let held: Vec<Frame> = (0..2).map(|_| frame(&mut capture)).collect();
    let fences: Vec<u32> = ours
        .iter()
        .map(|buffer| vgem.attach_write(buffer.objects()[0].lend(0).unwrap()).unwrap())
        .collect();
    assert!(capture.next(Duration::from_millis(300)).unwrap().is_none());
    let stats = capture.stats();
    assert!(
        stats.dropped > 2 && (stats.delivered, stats.detached) == (2, 0),
        "{stats:?}"
    );
    let hop = capture.hop().counts();
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
