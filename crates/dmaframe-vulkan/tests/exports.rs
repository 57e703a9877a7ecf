//! What the GPU wrote is a dma-buf that anybody can read.

mod common;

use ash::{ext, vk};
use common::{dmabuf_bench, open};
use dmaframe_core::{Fence, Fourcc, Frame, FrameMeta, Lease, Modifier, ObjectKind, Size, next_generation};
use dmaframe_testkit::frames::{self, TIGHT, same, udmabuf_frame};
use dmaframe_vulkan::{Importer, OpenOptions, Refusal, ash, export};

fn frame_of(buffer: &std::sync::Arc<dmaframe_core::Buffer>) -> Frame {
    Frame::new(
        std::sync::Arc::clone(buffer),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap()
}

#[test]
fn an_exported_buffer_holds_what_was_copied_into_it() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let usage = vk::BufferUsageFlags::TRANSFER_DST | vk::BufferUsageFlags::STORAGE_BUFFER;
    for fourcc in [Fourcc::NV12, Fourcc::ABGR8888, Fourcc::YUYV, Fourcc::P010] {
        let size = Size::new(641, 361);
        let Some((source, bytes)) = udmabuf_frame(fourcc, size, TIGHT, 1) else {
            return;
        };
        let slot = export::buffer(&bench.gpu, fourcc, size, usage, next_generation()).unwrap();
        assert_eq!(slot.buffer.objects()[0].kind(), ObjectKind::Dmabuf);
        let held = importer.buffer(&source).unwrap();
        let work = bench.queue.submit(common::SOON, |commands| {
            commands.reads(&held.frame)?;
            commands.copy(&held.import, &slot.import)
        });
        assert!(work.unwrap().wait(common::SOON).unwrap().is_signaled());
        let frame = frame_of(&slot.buffer);
        same(
            &frame.map_read(common::SOON).unwrap().to_tight().unwrap(),
            &bytes,
            "through the CPU's mapping",
        );
        // And back in, as anybody else's frame.
        let again = importer.buffer(&frame).unwrap();
        same(&bench.read(&again), &bytes, "imported again");
    }
    drop(importer);
    bench.done();
}

#[test]
fn an_exported_image_holds_what_was_rendered_into_it() {
    let Some(bench) = dmabuf_bench() else { return };
    let usage = vk::ImageUsageFlags::COLOR_ATTACHMENT | vk::ImageUsageFlags::TRANSFER_DST;
    let size = Size::new(333, 77);
    let slot = export::image(
        &bench.gpu,
        Fourcc::ABGR8888,
        size,
        usage,
        &[Modifier(0x0100_0000_0000_0001), Modifier::LINEAR],
        next_generation(),
    )
    .unwrap();
    println!("{:?}", slot.buffer.layout());
    let work = bench.queue.submit(common::SOON, |commands| {
        commands.clear(&slot.import, [0.2, 1.0, 0.0, 1.0])
    });
    assert!(work.unwrap().wait(common::SOON).unwrap().is_signaled());
    if slot.buffer.layout().modifier().is_linear() {
        let seen = frame_of(&slot.buffer)
            .map_read(common::SOON)
            .unwrap()
            .to_tight()
            .unwrap();
        same(&seen, &[0x33, 0xff, 0, 0xff].repeat(333 * 77), "rendered");
    }
    let none = export::image(
        &bench.gpu,
        Fourcc::ABGR8888,
        size,
        usage,
        &[Modifier(0x0100_0000_0000_0001)],
        next_generation(),
    );
    let none = none.unwrap_err();
    assert!(
        matches!(none.refusal(), Some(Refusal::ModifierNotListed { .. })),
        "{none}"
    );
    drop(slot);
    bench.done();
}

#[test]
fn without_modifiers_a_linear_image_can_be_exported_and_nothing_else() {
    let options = OpenOptions::new().without(ext::image_drm_format_modifier::NAME);
    let Some(bench) = open(&options) else { return };
    if !bench.gpu.extensions().dmabuf() {
        dmaframe_testkit::skip("the Vulkan device exports no dma-bufs");
        return;
    }
    let usage = vk::ImageUsageFlags::COLOR_ATTACHMENT | vk::ImageUsageFlags::TRANSFER_DST;
    let make = |fourcc, size, modifier| {
        export::image(&bench.gpu, fourcc, size, usage, &[modifier], next_generation())
    };
    let slot = make(Fourcc::XRGB8888, Size::new(65, 33), Modifier::LINEAR).unwrap();
    let work = bench.queue.submit(common::SOON, |commands| {
        commands.clear(&slot.import, [0.0, 0.0, 1.0, 1.0])
    });
    assert!(work.unwrap().wait(common::SOON).unwrap().is_signaled());
    let seen = frame_of(&slot.buffer)
        .map_read(common::SOON)
        .unwrap()
        .to_tight()
        .unwrap();
    same(&seen, &[0xff, 0, 0, 0xff].repeat(65 * 33), "rendered");
    let huge = Size::new(1 << 20, 1 << 20);
    for refused in [
        make(Fourcc::XRGB8888, Size::new(64, 64), Modifier(1)),
        make(Fourcc::XRGB8888, huge, Modifier::LINEAR),
        make(Fourcc::NV12, Size::new(64, 64), Modifier::LINEAR),
        make(Fourcc::YUYV, Size::new(63, 64), Modifier::LINEAR),
        make(Fourcc::XRGB8888, Size::new(0, 64), Modifier::LINEAR),
    ] {
        let refused = refused.unwrap_err();
        assert!(refused.refusal().is_some(), "{refused}");
    }
    let refused = export::buffer(
        &bench.gpu,
        Fourcc::XRGB8888,
        huge,
        vk::BufferUsageFlags::TRANSFER_DST,
        1,
    );
    assert!(refused.unwrap_err().refusal().is_some());
    drop(slot);
    bench.done();
}

#[test]
fn foreign_memory_is_written_as_target_and_views_copy_it_out() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let size = Size::new(320, 240);
    let Some((source, bytes)) = udmabuf_frame(Fourcc::NV12, size, TIGHT, 1) else {
        return;
    };
    let Some((target, _)) = udmabuf_frame(Fourcc::NV12, size, frames::Shape { padding: 64, ..TIGHT }, 2)
    else {
        return;
    };
    let buffer = std::sync::Arc::clone(target.buffer());
    assert!(buffer.claim_for_device().is_err(), "still in a frame");
    drop(target);
    let claim = buffer.claim_for_device().unwrap();
    let import = importer
        .target_buffer(&claim, vk::BufferUsageFlags::TRANSFER_DST)
        .unwrap();
    let held = importer.buffer(&source).unwrap();
    let work = bench.queue.submit(common::SOON, |commands| {
        commands.reads(&held.frame)?;
        commands.copy(&held.import, &import)
    });
    assert!(work.unwrap().wait(common::SOON).unwrap().is_signaled());
    drop(claim);
    let frame = frame_of(&buffer);
    let view = frame.map_read(common::SOON).unwrap();
    assert!(!view.has_slices(), "the device may write it again");
    same(&view.to_tight().unwrap(), &bytes, "written by the device");
    // An import made for reading is not written.
    let refused = bench
        .queue
        .submit(common::SOON, |commands| commands.copy(&held.import, &held.import));
    assert!(refused.is_err());
    drop(view);
    drop((importer, held, import));
    bench.done();
}
