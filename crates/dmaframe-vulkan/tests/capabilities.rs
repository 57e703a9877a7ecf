//! The report says what the driver says, and the layer that the other tests rely on is really listening.

mod common;

use std::sync::Arc;

use ash::{ext, vk};
use common::open;
use dmaframe_core::negotiate::{FormatSet, MemoryKind, Route, negotiate, plan};
use dmaframe_core::{Fourcc, Modifier, Size};
use dmaframe_testkit::frames::{TIGHT, udmabuf_frame};
use dmaframe_vulkan::{Importer, OpenOptions, ValidationLog, ash};

#[test]
fn the_report_prints_and_negotiates() {
    let Some(bench) = open(&OpenOptions::new()) else {
        return;
    };
    let report = bench.gpu.capabilities();
    println!("{report}");
    assert!(report.to_string().contains(bench.gpu.name()));
    assert!(!report.is_node(0));
    if dmaframe_testkit::in_lab() {
        assert!(
            report.buffer_import && report.buffer_export && report.sync_fd_import && report.sync_fd_export
        );
        assert_eq!(report.host_pointer_alignment, Some(4096));
        let r8 = report
            .formats
            .iter()
            .find(|row| row.fourcc == Fourcc::R8)
            .unwrap();
        assert_eq!(r8.modifiers.len(), 1);
        assert_eq!(
            (r8.modifiers[0].modifier, r8.modifiers[0].planes),
            (Modifier::LINEAR, 1)
        );
        let nv12 = report
            .formats
            .iter()
            .find(|row| row.fourcc == Fourcc::NV12)
            .unwrap();
        assert_eq!(nv12.modifiers[0].planes, 2);
        let camera = FormatSet::new("camera").with(Fourcc::YUYV, Modifier::LINEAR);
        assert!(negotiate(&camera, &report.buffers()).is_ok());
        let screen = FormatSet::new("screen").with(Fourcc::XRGB8888, Modifier::LINEAR);
        assert!(negotiate(&screen, &report.sampled()).is_ok());
        assert!(negotiate(&report.rendered(), &screen).is_ok());
        let camera = camera.with_own_memory(MemoryKind::Vmalloc);
        let plan = plan(&camera, &report.consumer(), &[]).unwrap();
        let routes: Vec<_> = plan.remaining().iter().map(|way| way.route).collect();
        assert_eq!(routes, [Route::Buffer, Route::Image, Route::Copy], "{plan:?}");
    }
    bench.done();
}

#[test]
fn what_is_offered_as_images_is_imported_as_images() {
    let without = ext::image_drm_format_modifier::NAME;
    for options in [OpenOptions::new(), OpenOptions::new().without(without)] {
        let Some(bench) = open(&options) else { return };
        let importer = Importer::new(&bench.gpu);
        let offered = bench.gpu.capabilities().sampled();
        println!("{} formats", offered.len());
        for pair in offered.iter().filter(|pair| pair.modifier.is_linear()) {
            let Some((frame, _)) = udmabuf_frame(pair.fourcc, Size::new(256, 64), TIGHT, 1) else {
                return;
            };
            let taken = importer.image(&frame);
            assert!(taken.is_ok(), "{pair:?}: {taken:?}");
        }
        drop(importer);
        bench.done();
    }
}

#[test]
fn every_listed_device_opens_by_its_uuid() {
    let listed = match OpenOptions::new().list() {
        Ok(listed) if !listed.is_empty() => listed,
        other => return dmaframe_testkit::skip(&format!("no Vulkan device: {other:?}")),
    };
    for device in &listed {
        let gpu = OpenOptions::new().uuid(device.uuid).open().unwrap();
        let found = gpu.capabilities();
        assert_eq!(
            (gpu.name(), found.uuid, found.kind),
            (&*device.name, device.uuid, device.kind)
        );
    }
    let error = OpenOptions::new().uuid([7; 16]).open().unwrap_err().to_string();
    assert!(
        error.contains("another UUID") && error.contains("wanted UUID 0707"),
        "{error}"
    );
    let none = OpenOptions::new().name("no such device").list().unwrap();
    assert_eq!(none, []);
}

#[test]
fn the_validation_layer_is_listening() {
    let log = Arc::new(ValidationLog::default());
    let gpu = match OpenOptions::new().validation(&log).open() {
        Ok(gpu) => gpu,
        Err(error) => return dmaframe_testkit::skip(&error.to_string()),
    };
    let wrong = vk::BufferCreateInfo::default()
        .size(0)
        .usage(vk::BufferUsageFlags::TRANSFER_SRC);
    // SAFETY: a buffer of no bytes is refused or useless, and is what the layer is to complain about.
    if let Ok(buffer) = unsafe { gpu.raw_device().create_buffer(&wrong, None) } {
        // SAFETY: just made, and not used.
        unsafe { gpu.raw_device().destroy_buffer(buffer, None) };
    }
    let errors = log.errors(&[]);
    assert!(
        errors
            .iter()
            .any(|e| e.id == "VUID-VkBufferCreateInfo-size-00912"),
        "{errors:?}"
    );
    assert!(log.errors(&["VUID-VkBufferCreateInfo-size-00912"]).is_empty());
}

#[test]
fn a_devices_queue_has_one_user() {
    let Some(bench) = open(&OpenOptions::new()) else {
        return;
    };
    assert!(bench.gpu.queue().is_err());
    bench.done();
}
