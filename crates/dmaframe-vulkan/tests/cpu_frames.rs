//! Frames in CPU memory: the device reads their pages where they are, or a ring of staging buffers that is kept.

mod common;

use ash::ext;
use common::{Bench, open};
use dmaframe_core::{Fourcc, Frame, FrameMeta, Layout, Plane, Size};
use dmaframe_testkit::frames::{self, Shape, TIGHT, memfd_frame, same, udmabuf_frame};
use dmaframe_vulkan::{Error, Importer, OpenOptions, Readback, Refusal, Route, Upload, ash};

/// A device that reads the CPU's pages.
fn pinning() -> Option<Bench> {
    let bench = open(&OpenOptions::new())?;
    if !bench.gpu.extensions().has(ext::external_memory_host::NAME) {
        dmaframe_testkit::skip("no VK_EXT_external_memory_host");
        return None;
    }
    Some(bench)
}

#[test]
fn pages_of_a_memfd_are_read_exactly_where_they_are() {
    let Some(bench) = pinning() else { return };
    let importer = Importer::new(&bench.gpu);
    for fourcc in [Fourcc::NV12, Fourcc::YUYV, Fourcc::XRGB8888, Fourcc::P010] {
        for size in [Size::new(67, 35), Size::new(1280, 720)] {
            for shape in [
                TIGHT,
                Shape {
                    padding: 5,
                    offset: 13,
                    objects: 1,
                },
                Shape { objects: 2, ..TIGHT },
            ] {
                if shape.objects > fourcc.info().unwrap().planes().len() {
                    continue;
                }
                let (frame, bytes) = memfd_frame(fourcc, size, shape, 1);
                let held = importer.any_buffer(&frame).unwrap();
                assert_eq!(
                    (held.route(), held.buffers()),
                    (Route::HostPointer, shape.objects)
                );
                same(&bench.read(&held), &bytes, &format!("{fourcc} {size} {shape:?}"));
            }
        }
    }
    // The next picture in the same pages needs no new import.
    let (mut frame, _) = memfd_frame(Fourcc::R8, Size::new(640, 480), TIGHT, 2);
    drop(importer.host_pointer(&frame).unwrap());
    let later = frames::picture(640 * 480, 3);
    frame
        .map_write(common::SOON)
        .unwrap()
        .copy_from_tight(&later)
        .unwrap();
    let held = importer.host_pointer(&frame).unwrap();
    same(&bench.read(&held), &later, "the second picture");
    drop((importer, held));
    bench.done();
}

#[test]
fn of_a_memfd_far_larger_than_its_picture_the_device_gets_the_picture() {
    let Some(bench) = pinning() else { return };
    let importer = Importer::new(&bench.gpu);
    let (size, len) = (Size::new(640, 480), 640 * 480);
    // What a peer sends that has written nothing behind its picture, so that its memory is not paid for.
    let fd = dmaframe_testkit::memfd(1 << 36, true).unwrap().into();
    let plane = Plane {
        object: 0,
        offset: 4096,
        stride: 640,
    };
    let bytes = frames::picture(len, 4);
    let frame = frames::frame_in(vec![fd], Fourcc::R8, size, &[plane], &bytes).unwrap();
    let held = importer.host_pointer(&frame).unwrap();
    let given = held.import.size(0).unwrap();
    assert!((4096 + len as u64..1 << 20).contains(&given), "{given} bytes");
    same(&bench.read(&held), &bytes, "the picture");
    drop((importer, held, frame));
    bench.done();
}

#[test]
fn bytes_that_are_no_whole_pages_are_refused() {
    let Some(bench) = open(&OpenOptions::new()) else {
        return;
    };
    let importer = Importer::new(&bench.gpu);
    let layout = Layout::tight(Fourcc::R8, Size::new(100, 3)).unwrap();
    let frame = Frame::from_bytes(vec![1; 300], &layout, FrameMeta::default()).unwrap();
    let refused = importer.host_pointer(&frame).unwrap_err();
    assert!(
        matches!(
            refused.refusal(),
            Some(Refusal::HostAlignment { .. } | Refusal::ExtensionOff(_))
        ),
        "{refused}"
    );
    drop((importer, frame));
    bench.done();
}

#[test]
fn an_upload_is_exact_and_its_ring_is_kept() {
    let Some(bench) = open(&OpenOptions::new()) else {
        return;
    };
    let size = Size::new(641, 361);
    let ring = Upload::new(&bench.gpu, Fourcc::NV12, size, 3).unwrap();
    let shape = Shape {
        padding: 7,
        offset: 3,
        objects: 1,
    };
    let live = |n: usize| {
        let (mut frames, mut wanted) = (vec![memfd_frame(Fourcc::NV12, size, shape, 1)], Vec::new());
        if bench.gpu.extensions().dmabuf() {
            frames.extend(udmabuf_frame(Fourcc::NV12, size, shape, 2));
        }
        for _ in 0..n {
            for (frame, bytes) in &frames {
                let staged = ring.stage(frame, common::SOON).unwrap();
                assert_eq!(staged.route(), Route::Upload);
                let mut back = Readback::new(&bench.gpu, Fourcc::NV12, size).unwrap();
                let work = bench
                    .queue
                    .submit(common::SOON, |commands| commands.copy(&staged, back.target()));
                drop(staged);
                assert!(work.unwrap().wait(common::SOON).unwrap().is_signaled());
                same(back.bytes().unwrap(), bytes, "upload");
                wanted.push(());
            }
        }
    };
    live(5);
    assert!(
        ring.slots() <= 2,
        "{} slots for one upload at a time",
        ring.slots()
    );
    let (frame, _) = memfd_frame(Fourcc::NV12, size, TIGHT, 1);
    let held: Vec<_> = (0..3)
        .map(|_| ring.stage(&frame, common::SOON).unwrap())
        .collect();
    assert!(matches!(
        ring.stage(&frame, common::SOON),
        Err(Error::Busy { .. })
    ));
    drop(held);
    assert!(ring.stage(&frame, common::SOON).is_ok());
    let (other, _) = memfd_frame(Fourcc::NV12, Size::new(64, 64), TIGHT, 1);
    assert!(matches!(
        ring.stage(&other, common::SOON),
        Err(Error::Unsupported { .. })
    ));
    drop(ring);
    bench.done();
}

#[test]
fn a_ring_without_a_limit_takes_no_more_memory_than_it_needs() {
    let Some(bench) = open(&OpenOptions::new()) else {
        return;
    };
    let ring = Upload::new(&bench.gpu, Fourcc::R8, Size::new(64, 64), usize::MAX).unwrap();
    assert_eq!(ring.slots(), 0);
    let (frame, _) = memfd_frame(Fourcc::R8, Size::new(64, 64), TIGHT, 1);
    drop(ring.stage(&frame, common::SOON).unwrap());
    assert_eq!(ring.slots(), 1);
    drop(ring);
    bench.done();
}

#[test]
fn a_readback_is_not_shown_while_the_device_may_write_it() {
    let Some(bench) = open(&OpenOptions::new()) else {
        return;
    };
    let mut back = Readback::new(&bench.gpu, Fourcc::R8, Size::new(8, 8)).unwrap();
    let other = std::sync::Arc::clone(back.target());
    assert!(matches!(back.bytes(), Err(Error::Busy { .. })));
    drop(other);
    assert_eq!(back.bytes().unwrap().len(), 64);
    drop(back);
    bench.done();
}
