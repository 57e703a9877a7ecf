//! A dma-buf is an image on the GPU where the driver lists its modifier, or where its own linear pitch meets the stride.

mod common;

use ash::{ext, vk};
use common::{dmabuf_bench, open};
use dmaframe_core::{Fourcc, Modifier, Size};
use dmaframe_testkit::frames::{Shape, TIGHT, same, udmabuf_frame};
use dmaframe_vulkan::{Error, ImportOptions, Importer, OpenOptions, Readback, Refusal, Route, ash};

/// Formats of one plane, and of several, each plane an image.
const FORMATS: [Fourcc; 16] = [
    Fourcc::XRGB8888,
    Fourcc::ARGB8888,
    Fourcc::ABGR8888,
    Fourcc::XBGR8888,
    Fourcc::R8,
    Fourcc::GR88,
    Fourcc::R16,
    Fourcc::GR1616,
    Fourcc::RGB565,
    Fourcc::ABGR2101010,
    Fourcc::ABGR16161616F,
    Fourcc::NV12,
    Fourcc::NV16,
    Fourcc::NV24,
    Fourcc::P010,
    Fourcc::YUV420,
];

#[test]
fn linear_images_are_read_exactly() {
    let Some(bench) = dmabuf_bench() else { return };
    if !bench.gpu.extensions().has(ext::image_drm_format_modifier::NAME) {
        dmaframe_testkit::skip("no VK_EXT_image_drm_format_modifier");
        return;
    }
    let importer = Importer::new(&bench.gpu);
    let shapes = [
        TIGHT,
        Shape { padding: 64, ..TIGHT },
        Shape {
            offset: 4096,
            padding: 16,
            ..TIGHT
        },
    ];
    for fourcc in FORMATS {
        for size in [Size::new(64, 32), Size::new(67, 35)] {
            for shape in shapes {
                let Some((frame, bytes)) = udmabuf_frame(fourcc, size, shape, 1) else {
                    return;
                };
                let held = importer.image(&frame).unwrap();
                assert_eq!(held.route(), Route::Image);
                same(
                    &bench.read_image(&held),
                    &bytes,
                    &format!("{fourcc} {size} {shape:?}"),
                );
            }
        }
    }
    drop(importer);
    bench.done();
}

#[test]
fn two_objects_are_two_images() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let shape = Shape {
        objects: 2,
        offset: 0,
        padding: 0,
    };
    let Some((frame, bytes)) = udmabuf_frame(Fourcc::NV12, Size::new(640, 360), shape, 2) else {
        return;
    };
    let held = importer.image(&frame).unwrap();
    assert_eq!(held.images().len(), 2);
    same(&bench.read_image(&held), &bytes, "NM12");
    drop((importer, held));
    bench.done();
}

#[test]
fn without_modifiers_the_image_is_as_wide_as_the_stride() {
    let Some(bench) = open(&OpenOptions::new().without(ext::image_drm_format_modifier::NAME)) else {
        return;
    };
    if !bench.gpu.extensions().dmabuf() {
        dmaframe_testkit::skip("the Vulkan device imports no dma-bufs");
        return;
    }
    let importer = Importer::new(&bench.gpu);
    for fourcc in [Fourcc::XRGB8888, Fourcc::R8, Fourcc::NV12, Fourcc::P010] {
        for padding in [0, 64, 128] {
            let shape = Shape { padding, ..TIGHT };
            let Some((frame, bytes)) = udmabuf_frame(fourcc, Size::new(1920, 64), shape, 3) else {
                return;
            };
            let held = importer.image(&frame).unwrap();
            let texel = u32::from(fourcc.info().unwrap().planes()[0].block_bytes);
            assert_eq!(held.images()[0].width(), 1920);
            assert_eq!(held.images()[0].padded_width(), 1920 + padding / texel);
            same(&bench.read_image(&held), &bytes, &format!("{fourcc} +{padding}"));
        }
    }
    // 3 bytes of padding are no whole texels.
    let shape = Shape { padding: 3, ..TIGHT };
    let Some((frame, _)) = udmabuf_frame(Fourcc::XRGB8888, Size::new(64, 4), shape, 3) else {
        return;
    };
    let refused = importer.image(&frame).unwrap_err();
    assert!(
        matches!(refused.refusal(), Some(Refusal::PitchMismatch { frame: 259, .. })),
        "{refused}"
    );
    // A plane that does not start where the driver can bind an image.
    let shape = Shape { offset: 4, ..TIGHT };
    let Some((frame, _)) = udmabuf_frame(Fourcc::XRGB8888, Size::new(64, 4), shape, 3) else {
        return;
    };
    let refused = importer.image(&frame).unwrap_err();
    assert!(
        matches!(
            refused.refusal(),
            Some(Refusal::OffsetAlignment { offset: 4, .. })
        ),
        "{refused}"
    );
    let refused = importer.multi_planar_image(&frame);
    assert!(refused.is_err());
    drop((importer, frame));
    bench.done();
}

#[test]
fn a_multi_planar_image_is_exact_or_refused_with_a_reason() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    for fourcc in [Fourcc::NV12, Fourcc::P010] {
        for objects in [1, 2] {
            let shape = Shape {
                objects,
                offset: 0,
                padding: 0,
            };
            let Some((frame, bytes)) = udmabuf_frame(fourcc, Size::new(128, 64), shape, 4) else {
                return;
            };
            match importer.multi_planar_image(&frame) {
                Ok(held) => {
                    println!("{fourcc} in {objects} object(s): imported");
                    same(&bench.read_image(&held), &bytes, "multi-planar");
                    view_planes(&bench, &held.images()[0]);
                }
                Err(error) => {
                    println!("{fourcc} in {objects} object(s): {error}");
                    assert!(error.refusal().is_some(), "{error}");
                }
            }
        }
    }
    let Some((odd, _)) = udmabuf_frame(Fourcc::NV12, Size::new(127, 63), TIGHT, 4) else {
        return;
    };
    let refused = importer.multi_planar_image(&odd).unwrap_err();
    assert!(
        matches!(refused.refusal(), Some(Refusal::FormatUnsupported { .. })),
        "{refused}"
    );
    drop((importer, odd));
    bench.done();
}

/// Views of the planes that an image says it can be viewed as, under the layer.
fn view_planes(bench: &common::Bench, image: &dmaframe_vulkan::PlaneImage) {
    println!("planes can be viewed as {:?}", image.plane_formats());
    let aspects = [
        vk::ImageAspectFlags::PLANE_0,
        vk::ImageAspectFlags::PLANE_1,
        vk::ImageAspectFlags::PLANE_2,
    ];
    let device = bench.gpu.raw_device();
    for (format, aspect) in image.plane_formats().iter().zip(aspects) {
        let info = vk::ImageViewCreateInfo::default()
            .image(image.handle())
            .view_type(vk::ImageViewType::TYPE_2D)
            .format(*format)
            .subresource_range(vk::ImageSubresourceRange {
                aspect_mask: aspect,
                base_mip_level: 0,
                level_count: 1,
                base_array_layer: 0,
                layer_count: 1,
            });
        // SAFETY: a live image of this device with these planes; the view is not used, and destroyed at once.
        unsafe {
            let view = device.create_image_view(&info, None).unwrap();
            device.destroy_image_view(view, None);
        }
    }
}

#[test]
fn copies_of_images_need_their_transfer_usages_and_a_clear_whole_pixels() {
    let Some(bench) = dmabuf_bench() else { return };
    let sampled = ImportOptions::default().image_usage(vk::ImageUsageFlags::SAMPLED);
    let importer = Importer::with_options(&bench.gpu, sampled);
    let size = Size::new(64, 32);
    let Some((frame, _)) = udmabuf_frame(Fourcc::XRGB8888, size, TIGHT, 6) else {
        return;
    };
    let read = importer.image(&frame).unwrap();
    let back = Readback::new(&bench.gpu, Fourcc::XRGB8888, size).unwrap();
    let target = |fourcc, usage| {
        let (frame, _) = udmabuf_frame(fourcc, size, TIGHT, 7)?;
        let buffer = std::sync::Arc::clone(frame.buffer());
        drop(frame);
        let claim = buffer.claim_for_device().unwrap();
        importer.target_image(&claim, usage).ok()
    };
    let rendered = target(Fourcc::XRGB8888, vk::ImageUsageFlags::COLOR_ATTACHMENT).unwrap();
    let packed = target(Fourcc::YUYV, vk::ImageUsageFlags::TRANSFER_DST);
    println!("YUYV as a copy's target: {packed:?}");
    let unsupported = |work: Result<_, Error>| {
        assert!(matches!(work, Err(Error::Unsupported { .. })), "{work:?}");
    };
    let queue = &bench.queue;
    unsupported(queue.submit(common::SOON, |commands| {
        commands.copy_image(&read.import, back.target())
    }));
    unsupported(queue.submit(common::SOON, |commands| {
        commands.copy_to_image(back.target(), &rendered)
    }));
    unsupported(queue.submit(common::SOON, |commands| commands.clear(&rendered, [0.0; 4])));
    if let Some(packed) = &packed {
        unsupported(queue.submit(common::SOON, |commands| commands.clear(packed, [0.0; 4])));
    }
    drop((importer, read, back, rendered, packed, frame));
    bench.done();
}

#[test]
fn a_render_target_of_foreign_memory_is_written_exactly() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let Some((frame, _)) = udmabuf_frame(Fourcc::XRGB8888, Size::new(640, 360), TIGHT, 5) else {
        return;
    };
    let buffer = std::sync::Arc::clone(frame.buffer());
    drop(frame);
    let claim = buffer.claim_for_device().unwrap();
    let usage = vk::ImageUsageFlags::COLOR_ATTACHMENT | vk::ImageUsageFlags::TRANSFER_DST;
    let target = importer.target_image(&claim, usage).unwrap();
    let work = bench.queue.submit(common::SOON, |commands| {
        commands.clear(&target, [1.0, 0.0, 0.2, 1.0])
    });
    assert!(work.unwrap().wait(common::SOON).unwrap().is_signaled());
    drop(claim);
    let frame = dmaframe_core::Frame::new(
        buffer,
        dmaframe_core::FrameMeta::default(),
        dmaframe_core::Fence::Signaled,
        dmaframe_core::Lease::none(),
    );
    let seen = frame.unwrap().map_read(common::SOON).unwrap().to_tight().unwrap();
    let wanted = [0x33, 0, 0xff, 0xff].repeat(640 * 360);
    same(&seen, &wanted, "cleared");
    drop((importer, target));
    bench.done();
}

#[test]
fn a_modifier_the_driver_does_not_list_is_refused_before_the_driver_says_yes() {
    let Some(bench) = dmabuf_bench() else { return };
    let device = dmaframe_testkit::need!(dmaframe_testkit::Device::Udmabuf);
    let importer = Importer::new(&bench.gpu);
    for modifier in [Modifier(0x0100_0000_0000_0001), Modifier::INVALID] {
        let mut parts = dmaframe_core::FrameParts::new(Fourcc::XRGB8888, Size::new(64, 64));
        parts.modifier = modifier;
        parts
            .objects
            .push(dmaframe_testkit::udmabuf(&device, 64 * 64 * 4).unwrap());
        parts.planes.push(dmaframe_core::Plane {
            object: 0,
            offset: 0,
            stride: 256,
        });
        let frame = dmaframe_core::Frame::try_from(parts).unwrap();
        let refused = importer.image(&frame).unwrap_err();
        assert!(
            matches!(refused.refusal(), Some(Refusal::ModifierNotListed { .. })),
            "{refused}"
        );
        let refused = importer.buffer(&frame).unwrap_err();
        assert!(
            matches!(refused.refusal(), Some(Refusal::NotLinear { .. })),
            "{refused}"
        );
    }
    drop(importer);
    bench.done();
}
