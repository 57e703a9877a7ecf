//! The driver writes into memory the caller allocated, and nothing that does not fit gets that far.

mod common;

use std::sync::Arc;

use common::{Allocator, PATIENCE, SMALL, alone, buffers, frame, pixels, read_picture, still, sys};
use dmaframe_core::{Buffer, BufferId, Layout, Size};
use dmaframe_testkit::{Device as Kit, need};
use dmaframe_v4l2::{Capture, Error, FormatRequest, Interval, PixelFormat};

#[test]
fn udmabufs_and_heap_buffers_hold_the_picture() {
    let path = need_vivid!();
    let (udmabuf, heap) = (need!(Kit::Udmabuf), need!(Kit::SystemHeap));
    let _alone = alone();
    for code in [b"NV12", b"YUYV", b"YU12", b"RGB3"] {
        let device = still(&path);
        let format = device.set_format(FormatRequest::new(PixelFormat::new(code), SMALL)).unwrap();
        let expected = read_picture(&path, &format);
        for (allocator, node) in [(Allocator::Udmabuf, &udmabuf), (Allocator::SystemHeap, &heap)] {
            let device = still(&path);
            let ours = buffers(&device, &format, node, allocator, 4);
            let ids: Vec<BufferId> = ours.iter().map(|buffer| buffer.id()).collect();
            let mut capture = Capture::builder(device).interval(Interval::fps(50)).import(ours).start().unwrap();
            for _ in 0..8 {
                let frame = frame(&mut capture);
                assert!(ids.contains(&frame.buffer_id()), "{allocator:?}: the caller's own buffer");
                assert_eq!(pixels(&frame), expected, "{allocator:?} {}", PixelFormat::new(code));
            }
            let hop = capture.hop().counts();
            assert_eq!((hop.name.as_str(), hop.cpu_bytes, hop.zero_copy), ("vivid(V4L2,DMABUF)", 0, 8));
        }
    }
}

#[test]
fn two_objects_a_buffer_are_filled_through_the_multi_planar_api() {
    let path = need_vivid!(multiplanar);
    let single = need_vivid!();
    let (udmabuf, heap) = (need!(Kit::Udmabuf), need!(Kit::SystemHeap));
    let _alone = alone();
    let reference = still(&single);
    let format = reference.set_format(FormatRequest::new(PixelFormat::NV12, SMALL)).unwrap();
    let expected = read_picture(&single, &format);
    for (allocator, node) in [(Allocator::Udmabuf, &udmabuf), (Allocator::SystemHeap, &heap)] {
        let device = still(&path);
        let format = device.set_format(FormatRequest::new(PixelFormat::NV12M, SMALL)).unwrap();
        let ours = buffers(&device, &format, node, allocator, 4);
        let mut capture = Capture::builder(device).interval(Interval::fps(50)).import(ours).start().unwrap();
        for _ in 0..8 {
            let frame = frame(&mut capture);
            assert_eq!(frame.as_dmabuf().unwrap().objects().len(), 2);
            assert!(frame.as_dmabuf().unwrap().is_disjoint());
            assert_eq!(pixels(&frame), expected, "{allocator:?}");
        }
    }
}

/// The caller has other handles of the memory a driver is writing, so no view of it hands out slices.
#[test]
fn views_of_imported_memory_copy_out() {
    let path = need_vivid!();
    let heap = need!(Kit::SystemHeap);
    let _alone = alone();
    let device = still(&path);
    let format = device.set_format(FormatRequest::new(PixelFormat::NV12, SMALL)).unwrap();
    let ours = buffers(&device, &format, &heap, Allocator::SystemHeap, 3);
    let mut capture = Capture::builder(device).import(ours).start().unwrap();
    let frame = frame(&mut capture);
    assert!(!frame.map_read(PATIENCE).unwrap().has_slices());
}

#[test]
fn buffers_that_do_not_fit_are_refused_before_the_driver_sees_them() {
    let path = need_vivid!();
    let heap = need!(Kit::SystemHeap);
    let _alone = alone();
    let device = still(&path);
    let format = device.set_format(FormatRequest::new(PixelFormat::NV12, SMALL)).unwrap();
    let good = format.layout(&device).unwrap();
    let buffer = |layout: &Layout, size: u64| {
        Arc::new(Buffer::from_fd(sys::heap(&heap, size), layout, 1).unwrap())
    };
    let start = |list: Vec<Arc<Buffer>>| {
        let device = still(&path);
        Capture::builder(device).import(list).start().expect_err("refused")
    };

    let wider = Layout::linear(good.fourcc(), good.size(), 256).unwrap();
    let error = start(vec![buffer(&wider, 1 << 20)]);
    assert!(matches!(&error, Error::BufferLayout { buffer: 0, reason, .. } if reason.contains("planes")), "{error}");

    let larger = Layout::tight(good.fourcc(), Size::new(640, 360)).unwrap();
    let error = start(vec![buffer(&good, 1 << 20), buffer(&larger, 1 << 20)]);
    assert!(matches!(&error, Error::BufferLayout { buffer: 1, reason, .. } if reason.contains("640x360")), "{error}");

    let memfd = Arc::new(Buffer::from_fd(sys::memfd(1 << 20), &good, 1).unwrap());
    let error = start(vec![memfd]);
    assert!(matches!(&error, Error::BufferLayout { reason, .. } if reason.contains("no dma-buf")), "{error}");

    let error = start(Vec::new());
    assert!(matches!(error, Error::BufferCount { found: 0, needed: 1, limit: 32, .. }), "{error}");

    // A picture that a larger format is then asked of: vivid wants every byte of it.
    let device = still(&path);
    let small = vec![buffer(&good, good.object_len(0)), buffer(&good, good.object_len(0))];
    let request = FormatRequest::new(PixelFormat::NV12, Size::new(640, 360));
    let error = Capture::builder(device).format(request).import(small).start().expect_err("refused");
    assert!(matches!(error, Error::BufferLayout { .. }), "{error}");

    // Nothing of all this has left the device busy.
    let request = FormatRequest::new(PixelFormat::NV12, SMALL);
    let one = [buffer(&good, 1 << 20)];
    let mut capture = Capture::builder(still(&path)).format(request).import(one).start().unwrap();
    drop(frame(&mut capture));
}
