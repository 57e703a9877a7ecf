//! What cannot be imported is refused with a typed reason: no validation error, no leak, and the frame is as before.
//! One test in this binary looks at all descriptors of the process, so they take turns.

mod common;

use std::sync::Mutex;

use ash::{ext, khr};
use common::{dmabuf_bench, open};
use dmaframe_core::{Fourcc, Frame, FrameParts, Modifier, Plane, Size};
use dmaframe_testkit::Leaks;
use dmaframe_testkit::frames::{self, TIGHT, memfd_frame, udmabuf_frame};
use dmaframe_vulkan::{Error, ImportOptions, Importer, OpenOptions, Refusal, Route, ash};

static TURN: Mutex<()> = Mutex::new(());

#[test]
fn a_missing_loader_and_a_missing_device_are_typed_errors() {
    let _turn = TURN.lock();
    let missing = OpenOptions::new().loader("/nonexistent/libvulkan.so.1").open();
    assert!(matches!(missing, Err(Error::Loader { .. })), "{missing:?}");
    // Without a loader at all that is the error here too.
    let other = OpenOptions::new().name("no device is called so").open();
    match other {
        Err(Error::NoDevice { found, wanted }) => assert!(wanted.contains("called so"), "{found} {wanted}"),
        Err(Error::Loader { .. }) => dmaframe_testkit::skip("no Vulkan loader"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let _turn = TURN.lock();
    let Some(bench) = dmabuf_bench() else { return };
    let Some((dmabuf, bytes)) = udmabuf_frame(Fourcc::NV12, Size::new(64, 64), TIGHT, 1) else {
        return;
    };
    let (memfd, _) = memfd_frame(Fourcc::NV12, Size::new(64, 64), TIGHT, 1);
    let importer = Importer::new(&bench.gpu);
    // Whatever drivers open for good at their first import is open now.
    drop(importer.buffer(&dmabuf).unwrap());
    let before = (Leaks::now(), bench.gpu.live());
    for _ in 0..10 {
        let refused = importer.buffer(&memfd).unwrap_err();
        assert_eq!(refused.refusal(), Some(&Refusal::NotDmabuf), "{refused}");
        let refused = importer.image(&memfd).unwrap_err();
        assert_eq!(refused.refusal(), Some(&Refusal::NotDmabuf), "{refused}");
        let refused = importer.host_pointer(&dmabuf).unwrap_err();
        assert!(
            matches!(
                refused.refusal(),
                Some(Refusal::IsDmabuf | Refusal::ExtensionOff(_))
            ),
            "{refused}"
        );
        assert_eq!((Leaks::now(), bench.gpu.live()), before);
    }
    frames::same(
        &dmabuf.map_read(common::SOON).unwrap().to_tight().unwrap(),
        &bytes,
        "the frame after refusals",
    );
    drop(importer);
    bench.done();
}

#[test]
fn a_buffer_smaller_than_the_image_needs_is_refused_before_the_driver_sees_it() {
    let _turn = TURN.lock();
    let Some(bench) = open(&OpenOptions::new().without(ext::image_drm_format_modifier::NAME)) else {
        return;
    };
    let device = dmaframe_testkit::need!(dmaframe_testkit::Device::Udmabuf);
    // The last row ends with its last sample: a picture for the CPU and the buffer route, but an image of whole strides
    // would reach past the object.
    let (stride, height) = (4096 + 64, 64u32);
    let size = Size::new(64, height);
    let plane = dmaframe_core::Plane {
        object: 0,
        offset: 0,
        stride,
    };
    let end = u64::from(stride) * u64::from(height - 1) + 64;
    let fd = dmaframe_testkit::udmabuf(&device, end).unwrap();
    let frame = frames::frame_in(vec![fd], Fourcc::R8, size, &[plane], &frames::picture(64 * 64, 1)).unwrap();
    let importer = Importer::new(&bench.gpu);
    if bench.gpu.extensions().dmabuf() {
        drop(importer.buffer(&frame).unwrap());
    }
    let before = (Leaks::now(), bench.gpu.live());
    for _ in 0..10 {
        let refused = importer.image(&frame).unwrap_err();
        match refused.refusal() {
            Some(Refusal::TooSmall {
                object: 0,
                needed,
                found,
            }) => assert!(needed > found, "{refused}"),
            other => panic!("{other:?}"),
        }
        assert_eq!((Leaks::now(), bench.gpu.live()), before);
    }
    drop((importer, frame));
    bench.done();
}

#[test]
fn a_compressed_picture_is_not_read_where_its_layout_is_not_known() {
    let _turn = TURN.lock();
    let device = dmaframe_testkit::need!(dmaframe_testkit::Device::Udmabuf);
    // DCC of AMD's, with its metadata behind the pixels, and a tiling without.
    for (modifier, planes) in [(0x0200_0000_0000_2a01, 2), (0x0200_0000_0000_0a01, 1)] {
        for foreign in [true, false] {
            let options = match foreign {
                true => OpenOptions::new(),
                false => OpenOptions::new().without(ext::queue_family_foreign::NAME),
            };
            let Some(bench) = open(&options) else { return };
            let mut parts = FrameParts::new(Fourcc::ABGR8888, Size::new(64, 64));
            parts.modifier = Modifier(modifier);
            parts
                .objects
                .push(dmaframe_testkit::udmabuf(&device, 1 << 16).unwrap());
            for plane in 0..planes {
                parts.planes.push(Plane {
                    object: 0,
                    offset: plane * 32768,
                    stride: 256,
                });
            }
            let frame = Frame::try_from(parts).unwrap();
            let refused = Importer::new(&bench.gpu).image(&frame).unwrap_err();
            let off = matches!(refused.refusal(), Some(Refusal::ExtensionOff(name)) if *name == ext::queue_family_foreign::NAME);
            assert_eq!(off, planes == 2 && !foreign, "{refused}");
            drop(frame);
            bench.done();
        }
    }
}

#[test]
fn an_extension_that_is_off_is_named() {
    let _turn = TURN.lock();
    let plain = OpenOptions::new()
        .without(ext::external_memory_dma_buf::NAME)
        .without(ext::external_memory_host::NAME)
        .without(khr::external_semaphore_fd::NAME);
    let Some(bench) = open(&plain) else { return };
    let importer = Importer::new(&bench.gpu);
    let off = |name| Some(Refusal::ExtensionOff(name));
    if let Some((frame, _)) = udmabuf_frame(Fourcc::R8, Size::new(64, 64), TIGHT, 1) {
        let refused = importer.buffer(&frame).unwrap_err();
        assert_eq!(
            refused.refusal().cloned(),
            off(ext::external_memory_dma_buf::NAME)
        );
        match importer.any_buffer(&frame).unwrap_err() {
            Error::NoRoute(reasons) => {
                let routes: Vec<_> = reasons.iter().map(|(route, _)| *route).collect();
                assert_eq!(routes, [Route::Buffer, Route::HostPointer]);
            }
            other => panic!("{other}"),
        }
    }
    let (memfd, _) = memfd_frame(Fourcc::R8, Size::new(64, 64), TIGHT, 1);
    let refused = importer.host_pointer(&memfd).unwrap_err();
    assert_eq!(refused.refusal().cloned(), off(ext::external_memory_host::NAME));
    assert!(!bench.queue.can_export_fences());
    let refused = bench
        .queue
        .submit(common::SOON, |commands| commands.export_fence())
        .unwrap_err();
    assert_eq!(refused.refusal().cloned(), off(khr::external_semaphore_fd::NAME));
    drop(importer);
    bench.done();
}

#[test]
fn a_route_can_be_switched_off() {
    let _turn = TURN.lock();
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::with_options(&bench.gpu, ImportOptions::default().without(Route::Buffer));
    let Some((frame, _)) = udmabuf_frame(Fourcc::R8, Size::new(64, 64), TIGHT, 1) else {
        return;
    };
    assert_eq!(
        importer.buffer(&frame).unwrap_err().refusal(),
        Some(&Refusal::SwitchedOff)
    );
    drop(importer.image(&frame).unwrap());
    drop(importer);
    bench.done();
}

#[test]
fn a_read_only_descriptor_can_be_read_or_is_refused_but_never_written() {
    let _turn = TURN.lock();
    let heap = dmaframe_testkit::need!(dmaframe_testkit::Device::SystemHeap);
    let Some(bench) = dmabuf_bench() else { return };
    let fd = dmaframe_testkit::system_heap(&heap, 64 * 64, false).unwrap();
    let mut parts = dmaframe_core::FrameParts::new(Fourcc::R8, Size::new(64, 64));
    parts.objects.push(fd);
    parts.planes.push(dmaframe_core::Plane {
        object: 0,
        offset: 0,
        stride: 64,
    });
    let frame = dmaframe_core::Frame::try_from(parts).unwrap();
    let importer = Importer::new(&bench.gpu);
    let before = Leaks::now();
    for _ in 0..10 {
        match importer.buffer(&frame) {
            Ok(held) => frames::same(&bench.read(&held), &[0; 64 * 64], "read-only"),
            Err(error) => {
                println!("{error}");
                assert!(error.refusal().is_some(), "{error}");
                assert_eq!(Leaks::now(), before);
            }
        }
    }
    let claim = frame.buffer().claim_for_device().unwrap();
    let refused = importer
        .target_buffer(&claim, ash::vk::BufferUsageFlags::TRANSFER_DST)
        .unwrap_err();
    assert_eq!(refused.refusal(), Some(&Refusal::ReadOnly { object: 0 }));
    drop((importer, claim, frame));
    bench.done();
}

/// Valid for the core: the samples lie inside the object. What drivers make of them is another matter.
#[test]
fn extreme_layouts_are_read_exactly_or_refused_with_a_reason() {
    let _turn = TURN.lock();
    let Some(bench) = dmabuf_bench() else { return };
    let device = dmaframe_testkit::need!(dmaframe_testkit::Device::Udmabuf);
    let object = 1 << 20;
    let cases = [
        // (format, width, height, offset, stride)
        (Fourcc::R8, 1, 1, 0, u32::MAX),
        (Fourcc::R8, 1, 2, object - 2, 1),
        (Fourcc::R8, 1, 2, 7, 1 << 19),
        (Fourcc::R8, 1 << 20, 1, 0, 1 << 20),
        (Fourcc::R8, 1, 1 << 20, 0, 1),
        (Fourcc::XRGB8888, 3, 3, 5, 13),
        (Fourcc::XRGB8888, 1, 1, object - 4, u32::MAX),
        (Fourcc::XRGB8888, 16385, 2, 0, 16385 * 4),
        (Fourcc::ABGR16161616F, 2, 2, 1, 17),
        (Fourcc::RGB888, 5, 5, 1, 16),
        (Fourcc::YUYV, 1, 3, 2, 4),
        (Fourcc::YUYV, 6, 3, 4, 16),
    ];
    let importer = Importer::new(&bench.gpu);
    for (fourcc, width, height, offset, stride) in cases {
        let size = Size::new(width, height);
        let plane = dmaframe_core::Plane {
            object: 0,
            offset,
            stride,
        };
        let fd = dmaframe_testkit::udmabuf(&device, object).unwrap();
        let bytes = frames::picture(frames::tight_len(fourcc, size), 3);
        let frame = frames::frame_in(vec![fd], fourcc, size, &[plane], &bytes).unwrap();
        let what = format!("{fourcc} {size} at {offset} stride {stride}");
        let held = importer
            .buffer(&frame)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        frames::same(&bench.read(&held), &bytes, &what);
        drop(held);
        for import in [Importer::image, Importer::multi_planar_image] {
            match import(&importer, &frame) {
                Ok(held) => frames::same(&bench.read_image(&held), &bytes, &what),
                Err(error) => {
                    println!("{what}: {error}");
                    assert!(error.refusal().is_some(), "{error}");
                }
            }
        }
    }
    drop(importer);
    bench.done();
}
