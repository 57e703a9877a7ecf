// Included once for each version of wgpu; `dw` is this crate's module for it.

use std::time::Duration;

use dmaframe_core::{Fourcc, Frame, FrameMeta, Layout, Size};
use dmaframe_wgpu::{GpuOptions, ImportOptions, Route, Routes};

use crate::common::{FALSE_ERRORS, Shape, TIGHT, memfd_frame, picture, same, tight_len, udmabuf_frame};

/// Odd offsets and strides, not multiples of a page or of 4.
const ODD: Shape = Shape {
    objects: 1,
    offset: 4097,
    padding: 3,
};
/// NM12 and the like.
const TWO: Shape = Shape {
    objects: 2,
    offset: 0,
    padding: 16,
};
/// What images can be made of: whole texels.
const WIDE: Shape = Shape {
    objects: 1,
    offset: 64,
    padding: 64,
};
const SIZE: Size = Size::new(21, 11);

fn only(gpu: &Gpu, route: Route) -> Importer {
    Importer::with_options(gpu, ImportOptions::default().routes(Routes::only(&[route])))
}

fn formats() -> impl Iterator<Item = Fourcc> {
    dmaframe_core::format::all_formats()
        .iter()
        .map(|info| info.fourcc)
}

/// Imports the frame twice and compares what the GPU sees both times.
fn exact(bench: &Bench, importer: &Importer, frame: &Frame, bytes: &[u8], route: Route, what: &str) {
    for _ in 0..2 {
        let imported = importer.import(frame).unwrap();
        assert_eq!(imported.route(), route, "{what}");
        same(
            &bench.read(&imported),
            bytes,
            &format!("{} {what}", frame.fourcc()),
        );
    }
}

fn buffers_are_exact(bench: Bench, sizes: &[Size]) {
    if !bench.dmabufs() {
        return;
    }
    let importer = only(&bench.gpu, Route::Buffer);
    for (fourcc, size) in formats().flat_map(|fourcc| sizes.iter().map(move |size| (fourcc, *size))) {
        for shape in [ODD, TWO] {
            let Some((frame, bytes)) = udmabuf_frame(fourcc, size, shape, 1) else {
                return;
            };
            exact(
                &bench,
                &importer,
                &frame,
                &bytes,
                Route::Buffer,
                &format!("{shape:?}"),
            );
        }
    }
    drop(importer);
    bench.done();
}

#[test]
fn a_plain_device_reads_every_format_as_buffers() {
    if let Some(bench) = Bench::plain() {
        buffers_are_exact(bench, &[SIZE]);
    }
}

#[test]
fn a_device_of_ours_reads_every_format_as_buffers_with_ownership_transferred() {
    if let Some(bench) = Bench::ours() {
        assert!(bench.gpu.level() >= dmaframe_wgpu::Level::Release || !dmaframe_testkit::in_lab());
        buffers_are_exact(bench, &[SIZE]);
    }
}

/// As many formats as images are possible for; how many is the driver's and wgpu's business, but not none.
fn images_are_exact(bench: Bench, shapes: &[Shape]) {
    if !bench.dmabufs() {
        return;
    }
    let importer = only(&bench.gpu, Route::Image);
    let mut taken = Vec::new();
    // The second has strides that drivers like: plain linear images have the driver's own.
    for (fourcc, size) in formats().flat_map(|fourcc| [(fourcc, SIZE), (fourcc, Size::new(128, 11))]) {
        for shape in shapes {
            let Some((frame, bytes)) = udmabuf_frame(fourcc, size, *shape, 2) else {
                return;
            };
            match importer.import(&frame) {
                Ok(imported) => {
                    drop(imported);
                    exact(
                        &bench,
                        &importer,
                        &frame,
                        &bytes,
                        Route::Image,
                        &format!("{shape:?}"),
                    );
                    taken.push(fourcc);
                }
                Err(dmaframe_wgpu::Error::NoRoute(reasons)) => {
                    assert!(
                        reasons.iter().any(|(route, _)| *route == Route::Image),
                        "{reasons:?}"
                    );
                }
                Err(error) => panic!("{fourcc}: {error}"),
            }
        }
    }
    for needed in [Fourcc::NV12, Fourcc::YUV420, Fourcc::XRGB8888, Fourcc::R8] {
        assert!(taken.contains(&needed), "{needed} is not in {taken:?}");
    }
    for verdict in importer.verdicts() {
        println!("{verdict}");
    }
    drop(importer);
    bench.done_but(&FALSE_ERRORS);
}

#[test]
fn a_plain_device_reads_frames_as_textures() {
    if let Some(bench) = Bench::plain() {
        images_are_exact(bench, &[TIGHT, WIDE]);
    }
}

#[test]
fn a_device_of_ours_reads_frames_as_textures_with_ownership_transferred() {
    if let Some(bench) = Bench::ours() {
        images_are_exact(bench, &[TIGHT, WIDE, TWO]);
    }
}

#[test]
fn memfds_and_pooled_bytes_are_read_from_their_own_pages() {
    let Some(bench) = Bench::ours() else { return };
    let extensions = bench.gpu.vulkan().map(dmaframe_wgpu::vulkan::Gpu::extensions);
    if !extensions.is_some_and(|e| e.has(dmaframe_wgpu::vulkan::ash::ext::external_memory_host::NAME)) {
        dmaframe_testkit::skip("the device has no VK_EXT_external_memory_host");
        return;
    }
    let importer = Importer::new(&bench.gpu);
    for fourcc in formats() {
        for shape in [ODD, TWO] {
            let (frame, bytes) = memfd_frame(fourcc, SIZE, shape, 3);
            exact(
                &bench,
                &importer,
                &frame,
                &bytes,
                Route::HostPointer,
                &format!("{shape:?}"),
            );
        }
    }
    drop(importer);
    bench.done();
}

/// More than the staging memory that uploads have.
const MANY: u8 = 7;

#[test]
fn frames_imported_together_are_what_each_is_alone_with_one_submission_of_copies() {
    let (Some(bench), Some(in_place)) = (Bench::ours().map(copying), Bench::ours()) else {
        return;
    };
    for (bench, route) in [
        (&bench, Route::HostPointer),
        (&bench, Route::Upload),
        (&in_place, Route::Upload),
    ] {
        let importer = only(&bench.gpu, route);
        let frames: Vec<_> = (0..MANY)
            .map(|seed| memfd_frame(Fourcc::NV12, SIZE, ODD, seed))
            .collect();
        // The second time the pages are known, and targets are used again.
        for _ in 0..2 {
            let imported = match importer.import_all(frames.iter().map(|(frame, _)| frame)) {
                Ok(imported) => imported,
                Err(error) if route == Route::HostPointer && error.to_string().contains("memory_host") => {
                    dmaframe_testkit::skip("the device has no VK_EXT_external_memory_host");
                    break;
                }
                Err(error) => panic!("{route}: {error}"),
            };
            if route == Route::HostPointer {
                assert!(bench.gpu.outstanding() <= 1, "one submission, not one for each");
            }
            assert_eq!(imported.len(), frames.len());
            for (imported, (frame, bytes)) in imported.iter().zip(&frames) {
                assert_eq!(imported.route(), route);
                assert_eq!(imported.frame().content_id(), frame.content_id());
                same(&bench.read(imported), bytes, "one of several");
            }
            assert!(bench.gpu.settle(crate::common::SOON));
        }
    }
    in_place.done();
    bench.done();
}

#[test]
fn of_several_frames_the_one_that_fails_is_named_and_nothing_is_imported() {
    let Some(bench) = Bench::ours().filter(Bench::dmabufs) else {
        return;
    };
    let importer = only(&bench.gpu, Route::Buffer);
    let Some((good, bytes)) = udmabuf_frame(Fourcc::NV12, SIZE, TIGHT, 1) else {
        return;
    };
    let (bad, _) = memfd_frame(Fourcc::NV12, SIZE, TIGHT, 2);
    match importer.import_all([&good, &bad, &good]) {
        Err(dmaframe_wgpu::Error::OneOf { index: 1, error }) => {
            assert!(matches!(*error, dmaframe_wgpu::Error::NoRoute(_)), "{error}");
        }
        other => panic!("{other:?}"),
    }
    same(&bench.read(&importer.import(&good).unwrap()), &bytes, "the good one");
    drop(importer);
    bench.done();
}

fn uploads_are_exact(bench: Bench) {
    let importer = Importer::with_options(&bench.gpu, ImportOptions::default().without(Route::HostPointer));
    for fourcc in formats() {
        for shape in [ODD, TWO] {
            let (frame, bytes) = memfd_frame(fourcc, SIZE, shape, 4);
            exact(
                &bench,
                &importer,
                &frame,
                &bytes,
                Route::Upload,
                &format!("{shape:?}"),
            );
        }
        let layout = Layout::tight(fourcc, SIZE).unwrap();
        let bytes = picture(tight_len(fourcc, SIZE), 5);
        let frame = Frame::from_bytes(bytes.clone(), &layout, FrameMeta::default()).unwrap();
        exact(&bench, &importer, &frame, &bytes, Route::Upload, "bytes");
    }
    drop(importer);
    bench.done();
}

/// As on a GPU with memory of its own; `in_place.rs` has the others.
fn copying(bench: Bench) -> Bench {
    let options = GpuOptions::default().without_in_place();
    let gpu = Gpu::with_options(bench.gpu.device(), bench.gpu.queue(), options);
    Bench { gpu, ..bench }
}

#[test]
fn every_format_is_uploaded_where_nothing_else_is_possible() {
    if let Some(bench) = Bench::plain() {
        uploads_are_exact(copying(bench));
    }
}

#[test]
fn every_format_is_uploaded_on_another_backend() {
    if let Some(bench) = Bench::plain_with(GpuOptions::default().without_vulkan()) {
        assert_eq!(bench.gpu.level(), dmaframe_wgpu::Level::Upload);
        uploads_are_exact(bench);
    }
}

#[test]
fn an_upload_may_wait_without_an_end() {
    let kinds = [
        GpuOptions::default(),
        GpuOptions::default().without_in_place(),
        GpuOptions::default().without_vulkan(),
    ];
    for options in kinds {
        let Some(bench) = Bench::plain_with(options) else { return };
        let forever = ImportOptions::default().wait(Duration::MAX);
        let importer = Importer::with_options(&bench.gpu, forever.routes(Routes::only(&[Route::Upload])));
        let (frame, bytes) = memfd_frame(Fourcc::NV12, SIZE, TIGHT, 6);
        exact(&bench, &importer, &frame, &bytes, Route::Upload, "without an end");
        drop(importer);
        bench.done();
    }
}
