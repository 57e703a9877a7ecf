//! The driver writes into memory the caller allocated, and nothing that does not fit gets that far.

mod common;

use std::sync::Arc;

use common::{Allocator, PATIENCE, SMALL, allocate, alone, buffers, frame, pixels, read_picture, set, still};
use dmaframe_core::{Buffer, BufferId, Layout, Misfit, Size};
use dmaframe_testkit::streams::{frame_of, is_in_use};
use dmaframe_testkit::{Device as Kit, need};
use dmaframe_v4l2::{Capture, Error, FormatRequest, Interval, PixelFormat};
use rustix::io::Errno;

#[test]
fn udmabufs_and_heap_buffers_hold_the_picture() {
    let path = need_vivid!();
    let (udmabuf, heap) = (need!(Kit::Udmabuf), need!(Kit::SystemHeap));
    let _alone = alone();
    for code in [b"NV12", b"YUYV", b"YU12", b"RGB3"] {
        let (_, format) = set(&path, PixelFormat::new(code));
        let expected = read_picture(&path, &format);
        for (allocator, node) in [(Allocator::Udmabuf, &udmabuf), (Allocator::SystemHeap, &heap)] {
            let device = still(&path);
            let ours = buffers(&device, &format, node, allocator, 4);
            let ids: Vec<BufferId> = ours.iter().map(|buffer| buffer.id()).collect();
            let mut capture = Capture::builder(device)
                .interval(Interval::fps(50))
                .import(ours)
                .start()
                .unwrap();
            for _ in 0..8 {
                let frame = frame(&mut capture);
                assert!(
                    ids.contains(&frame.buffer_id()),
                    "{allocator:?}: the caller's own buffer"
                );
                assert_eq!(
                    pixels(&frame),
                    expected,
                    "{allocator:?} {}",
                    PixelFormat::new(code)
                );
            }
            let hop = capture.hop().counts();
            assert_eq!(
                (hop.name.as_str(), hop.cpu_bytes, hop.zero_copy),
                ("vivid(V4L2,DMABUF)", 0, 8)
            );
        }
    }
}

#[test]
fn two_objects_a_buffer_are_filled_through_the_multi_planar_api() {
    let path = need_vivid!(multiplanar);
    let single = need_vivid!();
    let (udmabuf, heap) = (need!(Kit::Udmabuf), need!(Kit::SystemHeap));
    let _alone = alone();
    let (_reference, format) = set(&single, PixelFormat::NV12);
    let expected = read_picture(&single, &format);
    for (allocator, node) in [(Allocator::Udmabuf, &udmabuf), (Allocator::SystemHeap, &heap)] {
        let (device, format) = set(&path, PixelFormat::NV12M);
        let ours = buffers(&device, &format, node, allocator, 4);
        let mut capture = Capture::builder(device)
            .interval(Interval::fps(50))
            .import(ours)
            .start()
            .unwrap();
        for _ in 0..8 {
            let frame = frame(&mut capture);
            assert_eq!(frame.as_dmabuf().unwrap().objects().len(), 2);
            assert!(frame.as_dmabuf().unwrap().is_disjoint());
            assert_eq!(pixels(&frame), expected, "{allocator:?}");
        }
    }
}

/// A device without an IOMMU (`vivid.allocators=1` on the kernel's command line) cannot be given scattered pages; every
/// other one can.
#[test]
fn memory_the_device_cannot_reach_is_refused_and_its_own_still_works() {
    let path = need_vivid!();
    let udmabuf = need!(Kit::Udmabuf);
    let _alone = alone();
    let contiguous = std::fs::read_to_string("/sys/module/vivid/parameters/allocators")
        .is_ok_and(|allocators| allocators.starts_with('1'));
    let (device, format) = set(&path, PixelFormat::NV12);
    let ours = buffers(&device, &format, &udmabuf, Allocator::Udmabuf, 4);
    match Capture::builder(device).import(ours).start() {
        Ok(_) => assert!(!contiguous),
        Err(error) => {
            assert!(contiguous, "{error}");
            assert!(
                matches!(
                    error,
                    Error::ImportRefused {
                        buffer: 0,
                        errno: Errno::FAULT,
                        ..
                    }
                ),
                "{error}"
            );
            assert!(error.to_string().contains("IOMMU"), "{error}");
        }
    }
    drop(frame(&mut Capture::builder(still(&path)).start().unwrap()));
}

/// A pool's buffers are claimed while the driver writes, so slices of them are sound; of others the caller may have
/// handles that nothing excludes.
#[test]
fn slices_are_given_of_private_buffers_only() {
    let path = need_vivid!();
    let heap = need!(Kit::SystemHeap);
    let _alone = alone();
    let (device, format) = set(&path, PixelFormat::NV12);
    let layout = format.layout(&device).unwrap();
    let private = buffers(&device, &format, &heap, Allocator::SystemHeap, 3);
    let shared = (0..3).map(|_| {
        let fd = allocate(&heap, Allocator::SystemHeap, layout.object_len(0));
        Arc::new(Buffer::from_fd(fd, &layout, 7).unwrap())
    });
    for (ours, slices) in [(private, true), (shared.collect(), false)] {
        let mut capture = Capture::builder(still(&path)).import(ours).start().unwrap();
        assert_eq!(
            frame(&mut capture).map_read(PATIENCE).unwrap().has_slices(),
            slices
        );
    }
}

/// Somebody kept a handle of a buffer that the driver is writing: no frame, so no slice, can be made of it. And one that
/// is in a frame of theirs is not written.
#[test]
fn a_buffer_is_with_the_driver_or_in_a_frame_never_both() {
    let path = need_vivid!();
    let heap = need!(Kit::SystemHeap);
    let _alone = alone();
    let (device, format) = set(&path, PixelFormat::NV12);
    let imported = buffers(&device, &format, &heap, Allocator::SystemHeap, 3);
    for builder in [
        Capture::builder(still(&path)),
        Capture::builder(still(&path)).import(imported),
    ] {
        let mut capture = builder.interval(Interval::fps(50)).start().unwrap();
        let kept = Arc::clone(frame(&mut capture).buffer());
        // Back at the driver with the next call.
        drop(capture.try_next().unwrap());
        assert!(is_in_use(&kept));

        // Between its frame's end and the next call it is nobody's; whoever takes it then has it.
        let ours = loop {
            let next = frame(&mut capture);
            if next.buffer_id() == kept.id() {
                drop(next);
                break frame_of(&kept).unwrap();
            }
        };
        for _ in 0..8 {
            assert_ne!(frame(&mut capture).buffer_id(), kept.id());
        }
        drop(ours);
        assert!(
            (0..12).any(|_| frame(&mut capture).buffer_id() == kept.id()),
            "it joins again"
        );
    }
}

#[test]
fn buffers_that_do_not_fit_are_refused_before_the_driver_sees_them() {
    let path = need_vivid!();
    let heap = need!(Kit::SystemHeap);
    let _alone = alone();
    let (device, format) = set(&path, PixelFormat::NV12);
    let good = format.layout(&device).unwrap();
    let buffer = |layout: &Layout, size: u64| {
        Arc::new(Buffer::from_fd(allocate(&heap, Allocator::SystemHeap, size), layout, 1).unwrap())
    };
    let start = |list: Vec<Arc<Buffer>>| {
        let device = still(&path);
        Capture::builder(device)
            .import(list)
            .start()
            .expect_err("refused")
    };

    let wider = Layout::linear(good.fourcc(), good.size(), 256).unwrap();
    let error = start(vec![buffer(&wider, 1 << 20), buffer(&wider, 1 << 20)]);
    assert!(
        matches!(
            &error,
            Error::BufferLayout {
                buffer: 0,
                error: Misfit::Plane { plane: 0, .. },
                ..
            }
        ),
        "{error}"
    );

    let larger = Layout::tight(good.fourcc(), Size::new(640, 360)).unwrap();
    let error = start(vec![buffer(&good, 1 << 20), buffer(&larger, 1 << 20)]);
    assert!(
        matches!(&error, Error::BufferLayout { buffer: 1, error: Misfit::Picture { found_size, .. }, .. } if *found_size == larger.size()),
        "{error}"
    );

    let memfd =
        Arc::new(Buffer::from_fd(dmaframe_testkit::memfd(1 << 20, true).unwrap().into(), &good, 1).unwrap());
    let error = start(vec![Arc::clone(&memfd), memfd]);
    assert!(
        matches!(
            &error,
            Error::BufferLayout {
                error: Misfit::NotDmabuf,
                ..
            }
        ),
        "{error}"
    );

    let error = start(Vec::new());
    assert!(
        matches!(
            error,
            Error::BufferCount {
                found: 0,
                needed: 1,
                limit: 32,
                ..
            }
        ),
        "{error}"
    );

    // A picture that a larger format is then asked of: vivid wants every byte of it.
    let device = still(&path);
    let small = vec![
        buffer(&good, good.object_len(0)),
        buffer(&good, good.object_len(0)),
    ];
    let request = FormatRequest::new(PixelFormat::NV12, Size::new(640, 360));
    let error = Capture::builder(device)
        .format(request)
        .import(small)
        .start()
        .expect_err("refused");
    assert!(matches!(error, Error::BufferLayout { .. }), "{error}");

    // Nothing of all this has left the device busy.
    let request = FormatRequest::new(PixelFormat::NV12, SMALL);
    let two = [buffer(&good, 1 << 20), buffer(&good, 1 << 20)];
    let mut capture = Capture::builder(still(&path))
        .format(request)
        .import(two)
        .start()
        .unwrap();
    drop(frame(&mut capture));

    // And what fits one format is not given to another.
    let refused = capture.reconfigure(FormatRequest::new(PixelFormat::YUYV, SMALL));
    assert!(matches!(refused, Err(Error::ImportFixed { .. })), "{refused:?}");
    drop(frame(&mut capture));
}

/// A driver that is given fewer buffers than it works with starts all the same and waits for ever for the others: that is
/// said instead.
#[test]
fn fewer_buffers_than_the_driver_needs_are_refused_with_both_numbers() {
    let path = need_vivid!();
    let heap = need!(Kit::SystemHeap);
    let _alone = alone();
    let (device, format) = set(&path, PixelFormat::NV12);
    let one = buffers(&device, &format, &heap, Allocator::SystemHeap, 1);
    let error = Capture::builder(device).import(one).start().expect_err("refused");
    assert!(
        matches!(
            error,
            Error::BufferCount {
                found: 1,
                needed: 2,
                limit: 32,
                ..
            }
        ),
        "{error}"
    );
    drop(frame(&mut Capture::builder(still(&path)).start().unwrap()));
}
