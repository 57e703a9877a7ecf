//! A pool's buffers as libcamera's: the camera writes into our memory.

mod common;

use std::sync::Arc;

use common::{VIMC, VIRTUAL, alone, frame, open, pixels, pool, viewfinder, with_pool};
use dmaframe_alloc::{Allocator, DmaHeap, Udmabuf};
use dmaframe_core::{Buffer, Fourcc, Frame, Layout, Size};
use dmaframe_libcamera::{Cameras, Error};
use dmaframe_testkit::Leaks;
use dmaframe_testkit::streams::{frame_of, shared};

/// Where a pool's memory comes from: the heap that the virtual pipeline itself takes, or pages.
fn memory(heap: bool) -> Box<dyn Allocator> {
    if heap {
        Box::new(DmaHeap::system())
    } else {
        Box::new(Udmabuf::new())
    }
}

#[test]
fn pictures_land_in_the_pools_buffers() {
    let _alone = alone();
    let cameras = Cameras::new().unwrap();
    for (id, heap) in [(VIMC, false), (VIRTUAL, true), (VIRTUAL, false)] {
        let Some(camera) = open(&cameras, id) else {
            dmaframe_testkit::skip(&format!("libcamera lists no camera {id}"));
            return;
        };
        let own = pixels(&frame(&mut viewfinder(camera, 4).start().unwrap()));
        let before = Leaks::now();
        let (configured, pool) = with_pool(open(&cameras, id).unwrap(), memory(heap));
        let ids: Vec<_> = pool.buffers().iter().map(|buffer| buffer.id()).collect();
        let mut capture = configured.start().unwrap();
        for _ in 0..6 {
            let frame = frame(&mut capture);
            assert!(
                ids.contains(&frame.buffer_id()),
                "{id}: memory of somebody else's"
            );
            let picture = pixels(&frame);
            assert!(picture.iter().any(|byte| *byte != 0), "{id}: nothing was written");
            assert_eq!(picture.len(), own.len());
            assert!(
                frame.map_read(common::PATIENCE).unwrap().plane(0).is_ok(),
                "a pool's frames give slices"
            );
        }
        // A picture in hand, and the pool and the capture gone.
        let held = frame(&mut capture);
        drop((capture, pool));
        assert!(pixels(&held).iter().any(|byte| *byte != 0));
        drop(held);
        before.check();
    }
}

/// What libcamera does not have to hand out stays the pool's.
#[test]
fn a_buffer_in_somebodys_frame_is_not_written() {
    let _alone = alone();
    let (configured, pool) = with_pool(need_camera!(VIRTUAL), DmaHeap::system());
    let taken = pool.try_acquire().unwrap();
    let mine = taken.buffer_id();
    // Claimed while a frame has it: refused before anything is written.
    let refused = configured.start();
    assert!(matches!(refused, Err(Error::Core { .. })), "{refused:?}");
    drop(taken);
    let configured = viewfinder(need_camera!(VIRTUAL), 4).configure().unwrap();
    let mut capture = configured.import(0, pool.buffers()).unwrap().start().unwrap();
    assert!((0..20).any(|_| frame(&mut capture).buffer_id() == mine));
}

#[test]
fn buffers_of_another_layout_are_refused_with_the_reason() {
    let _alone = alone();
    let refused = |buffers: Vec<Arc<Buffer>>| {
        let camera = open(&Cameras::new().unwrap(), VIRTUAL)?;
        let configured = viewfinder(camera, 4).configure().unwrap();
        Some(configured.import(0, buffers).unwrap_err().to_string())
    };
    let of = |fourcc, size, align| {
        let layout = Layout::linear(fourcc, size, align).unwrap();
        pool(&layout, DmaHeap::system()).buffers()
    };
    let size = Size::new(640, 360);
    let Some(format) = refused(of(Fourcc::YUYV, size, 1)) else {
        dmaframe_testkit::skip("libcamera lists no camera Virtual0");
        return;
    };
    assert!(format.contains("YUYV") && format.contains("NV12"), "{format}");
    let small = refused(of(Fourcc::NV12, Size::new(320, 180), 1)).unwrap();
    assert!(small.contains("320x180"), "{small}");
    let strides = refused(of(Fourcc::NV12, size, 256)).unwrap();
    assert!(strides.contains("stride 640"), "{strides}");
    assert!(refused(Vec::new()).unwrap().contains("buffers to import 0"));
    let memory = Layout::tight(Fourcc::NV12, size).unwrap();
    let bytes = vec![0; usize::try_from(memory.object_len(0)).unwrap()];
    let cpu = Buffer::from_bytes(bytes.into_boxed_slice(), &memory).unwrap();
    assert!(refused(vec![Arc::new(cpu)]).unwrap().contains("no dma-buf"));
    let camera = need_camera!(VIRTUAL);
    let second = viewfinder(camera, 4).configure().unwrap().import(1, Vec::new());
    assert!(matches!(
        second,
        Err(Error::OutOfRange {
            found: 1,
            limit: 1,
            ..
        })
    ));
}

/// The camera cannot have what somebody put into a frame of their own, so that counts against the budget like any other
/// frame that is held.
#[test]
fn a_buffer_in_somebodys_own_frame_counts_as_held() {
    let _alone = alone();
    let (configured, _pool) = with_pool(need_camera!(VIRTUAL), DmaHeap::system());
    let mut capture = configured.start().unwrap();
    assert_eq!(capture.slots(0), 4);
    let first = frame(&mut capture);
    let buffer = Arc::clone(first.buffer());
    drop(first);
    // Between its frame's end and the next call it is nobody's; whoever takes it then has it.
    let theirs = frame_of(&buffer).unwrap();
    // One is elsewhere, two stay with the camera: one is left to share.
    let mut held: Vec<Frame> = (0..6).map(|_| frame(&mut capture)).collect();
    assert_eq!(shared(&held), 1, "the camera keeps two");
    drop(theirs);
    held.extend((0..6).map(|_| frame(&mut capture)));
    assert_eq!(shared(&held), 2, "it counts no more");
}
