// Included once for each version of wgpu; `dw` is this crate's module for it.

use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::{Buffer, Fence, Fourcc, Frame, FrameMeta, Lease, Modifier, Size, next_generation};
use dmaframe_testkit::Leaks;
use dmaframe_testkit::producer::leased;
use dmaframe_wgpu::{Error, ImportOptions, Refusal, Route, Routes};

use crate::common::{SOON, TIGHT, memfd_frame, said, same, udmabuf_frame};

const SIZE: Size = Size::new(64, 32);

/// The same memory under another modifier.
fn tiled(frame: &Frame, modifier: Modifier) -> Frame {
    let objects = frame.buffer().objects().to_vec();
    let planes = frame.layout().planes().to_vec();
    let buffer = Buffer::new(
        frame.fourcc(),
        modifier,
        SIZE,
        objects,
        &planes,
        next_generation(),
    )
    .unwrap();
    let meta = FrameMeta::default();
    Frame::new(Arc::new(buffer), meta, Fence::Signaled, Lease::none()).unwrap()
}

#[test]
fn a_modifier_that_the_driver_does_not_list_is_refused_by_every_route() {
    let Some(bench) = Bench::ours().filter(Bench::dmabufs) else {
        return;
    };
    let importer = Importer::new(&bench.gpu);
    let Some((linear, bytes)) = udmabuf_frame(Fourcc::XRGB8888, SIZE, TIGHT, 1) else {
        return;
    };
    // Intel X tiling, and "whatever the driver thinks".
    for modifier in [Modifier(0x0100_0000_0000_0001), Modifier::INVALID] {
        let frame = tiled(&linear, modifier);
        for _ in 0..2 {
            let Err(Error::NoRoute(reasons)) = importer.import(&frame) else {
                panic!("{modifier} was taken")
            };
            assert_eq!(reasons.len(), 4, "{reasons:?}");
            assert!(matches!(reasons[0], (Route::Buffer, Refusal::NotLinear { .. })));
            assert!(
                matches!(reasons[1], (Route::Image, Refusal::ModifierNotListed { .. })),
                "{reasons:?}"
            );
        }
    }
    same(
        &bench.read(&importer.import(&linear).unwrap()),
        &bytes,
        "the frame is as before",
    );
    drop((importer, linear));
    bench.done();
}

#[test]
fn what_a_binding_cannot_hold_goes_another_way() {
    let Some(bench) = Bench::plain().filter(Bench::dmabufs) else {
        return;
    };
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 4096,
        ..wgpu::Limits::downlevel_defaults()
    };
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    };
    let (device, queue) = crate::common::now(bench.adapter.request_device(&descriptor)).unwrap();
    let gpu = Gpu::new(&device, &queue);
    let importer = Importer::with_options(&gpu, ImportOptions::default().without(Route::Image));
    // The memory is larger than a binding, the picture is not: it is uploaded.
    let Some((frame, _)) = udmabuf_frame(Fourcc::R8, Size::new(64, 128), TIGHT, 1) else {
        return;
    };
    let Err(Error::NoRoute(reasons)) = importer.import(&frame) else {
        panic!("8192 bytes in 4096")
    };
    let too_long = |(_, why): &&(Route, Refusal)| {
        matches!(
            why,
            Refusal::Limit {
                value: 8192,
                limit: 4096,
                ..
            }
        )
    };
    assert_eq!(reasons.iter().filter(too_long).count(), 2, "{reasons:?}");
    let padded = crate::common::Shape {
        offset: 4096,
        ..TIGHT
    };
    let Some((frame, _)) = udmabuf_frame(Fourcc::R8, SIZE, padded, 1) else {
        return;
    };
    assert_eq!(importer.import(&frame).unwrap().route(), Route::Upload);
    assert!(gpu.settle(SOON));
    drop((importer, gpu, device, queue, frame));
    bench.done();
}

#[test]
fn imports_outlive_their_importer_and_its_gpu() {
    let Some(bench) = Bench::plain().filter(Bench::dmabufs) else {
        return;
    };
    let Some((frame, bytes)) = udmabuf_frame(Fourcc::NV12, SIZE, TIGHT, 3) else {
        return;
    };
    let (memfd, memfd_bytes) = memfd_frame(Fourcc::NV12, SIZE, TIGHT, 4);
    let gpu = Gpu::new(bench.gpu.device(), bench.gpu.queue());
    let importer = Importer::new(&gpu);
    let (one, two) = (importer.import(&frame).unwrap(), importer.import(&memfd).unwrap());
    drop((importer, gpu, frame, memfd));
    // A second importer of the same device has imports of its own, of the same memory.
    let again = Importer::new(&bench.gpu).import(one.frame()).unwrap();
    for (imported, bytes) in [(&one, &bytes), (&two, &memfd_bytes), (&again, &bytes)] {
        same(&bench.read(imported), bytes, &imported.route().to_string());
    }
    drop((one, two, again));
    bench.done();
}

#[test]
fn an_import_of_another_device_is_not_submitted() {
    let (Some(bench), Some(other)) = (Bench::plain(), Bench::plain()) else {
        return;
    };
    let (frame, _) = memfd_frame(Fourcc::R8, SIZE, TIGHT, 1);
    let imported = Importer::new(&other.gpu).import(&frame).unwrap();
    assert!(matches!(
        bench.gpu.submit(&[&imported], []),
        Err(Error::OtherDevice)
    ));
    assert!(matches!(bench.gpu.acquire(&imported), Err(Error::OtherDevice)));
    assert!(matches!(bench.gpu.track(imported), Err(Error::OtherDevice)));
    drop(frame);
    other.done();
    bench.done();
}

#[test]
fn commands_that_wgpu_refuses_are_an_error_and_the_frame_is_free() {
    for bench in Bench::both() {
        let importer = Importer::new(&bench.gpu);
        let Some((queue, frame)) = leased(SIZE, 1) else { return };
        let imported = importer.import(&frame).unwrap();
        drop(frame);
        // A buffer that is mapped cannot be copied to.
        let buffer = |usage, mapped_at_creation| {
            bench.gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 4096,
                usage,
                mapped_at_creation,
            })
        };
        let mapped = buffer(wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC, true);
        let target = buffer(wgpu::BufferUsages::COPY_DST, false);
        let mut encoder = bench.gpu.device().create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&mapped, 0, &target, 0, 4096);
        let refused = bench.gpu.submit(&[&imported], [encoder.finish()]);
        assert!(matches!(refused, Err(Error::Wgpu { .. })), "{refused:?}");
        let bytes = bench.read(&imported);
        assert_eq!(bytes.len(), 64 * 32, "the next submission is not disturbed");
        drop(imported);
        assert!(bench.gpu.settle(SOON));
        assert!(queue.next().is_some());
        drop((importer, mapped));
        said(&[]);
        bench.done();
    }
}

#[test]
fn a_destroyed_device_gives_typed_errors_and_every_frame_back() {
    for bench in Bench::both() {
        let importer = Importer::new(&bench.gpu);
        let Some((queue, frame)) = leased(SIZE, 1) else { return };
        let (memfd, _) = memfd_frame(Fourcc::R8, SIZE, TIGHT, 2);
        let imported = importer.import(&frame).unwrap();
        drop(frame);
        let (commands, _readback) = bench.copy_out(&imported);
        bench.gpu.device().destroy();
        let first = bench.gpu.submit(&[&imported], [commands]);
        println!("the first submission: {first:?}");
        if let Ok(work) = &first {
            let lost = work.wait(SOON);
            assert!(matches!(lost, Err(Error::DeviceLost { .. })), "{lost:?}");
        } else {
            assert!(
                matches!(first, Err(Error::DeviceLost { .. } | Error::Wgpu { .. })),
                "{first:?}"
            );
        }
        drop((first, imported));
        assert!(
            bench.gpu.settle(Duration::from_secs(2)),
            "frames are kept for ever"
        );
        assert!(queue.next().is_some(), "the frame is not home");
        let second = bench.gpu.track(memfd.clone());
        println!("the second: {second:?}");
        let third = importer.import(&memfd);
        println!("an upload: {third:?}");
        assert!(third.is_err());
        assert!(bench.gpu.settle(Duration::from_secs(2)));
        drop((second, third, importer, memfd));
        bench.lost();
    }
}

#[test]
fn copies_that_are_all_in_use_are_an_error_and_not_more_memory() {
    let Some(bench) = Bench::plain() else { return };
    let options = ImportOptions::default()
        .routes(Routes::only(&[Route::Upload]))
        .slots(2);
    let importer = Importer::with_options(&bench.gpu, options);
    let (frame, bytes) = memfd_frame(Fourcc::R8, SIZE, TIGHT, 1);
    let held: Vec<_> = (0..2).map(|_| importer.import(&frame).unwrap()).collect();
    let full = importer.import(&frame);
    assert!(matches!(full, Err(Error::Busy { limit: 2, .. })), "{full:?}");
    for imported in &held {
        same(&bench.read(imported), &bytes, "held");
    }
    drop(held);
    assert!(bench.gpu.settle(SOON));
    same(&bench.read(&importer.import(&frame).unwrap()), &bytes, "again");
    drop((importer, frame));
    bench.done();
}

#[test]
fn nothing_is_left_behind() {
    // Loads what stays loaded.
    if let Some(bench) = Bench::ours() {
        bench.done();
    }
    let before = Leaks::now();
    for _ in 0..3 {
        let Some(bench) = Bench::ours() else { return };
        let importer = Importer::new(&bench.gpu);
        for seed in 0..4 {
            let (frame, bytes) = memfd_frame(Fourcc::NV12, SIZE, TIGHT, seed);
            same(&bench.read(&importer.import(&frame).unwrap()), &bytes, "memfd");
            if let Some((frame, bytes)) = udmabuf_frame(Fourcc::NV12, SIZE, TIGHT, seed) {
                same(&bench.read(&importer.import(&frame).unwrap()), &bytes, "udmabuf");
            }
        }
        drop(importer);
        bench.done();
    }
    before.check();
}
