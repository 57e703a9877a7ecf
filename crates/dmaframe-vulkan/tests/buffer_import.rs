//! A linear dma-buf is a buffer on the GPU, byte for byte, whatever its format, size, stride, offset and objects.

mod common;

use common::dmabuf_bench;
use dmaframe_core::{Fourcc, Size, format::all_formats};
use dmaframe_testkit::frames::{self, Shape, TIGHT, same, udmabuf_frame};
use dmaframe_vulkan::{Importer, Route};

#[test]
fn every_format_is_read_exactly() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let shape = Shape {
        objects: 1,
        offset: 0,
        padding: 52,
    };
    for info in all_formats() {
        let Some((frame, bytes)) = udmabuf_frame(info.fourcc, Size::new(67, 35), shape, 1) else {
            return;
        };
        let held = importer.buffer(&frame).unwrap();
        assert_eq!(held.route(), Route::Buffer);
        same(&bench.read(&held), &bytes, info.name);
    }
    drop(importer);
    bench.done();
}

#[test]
fn sizes_strides_offsets_and_objects_are_followed() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let sizes = [
        Size::new(1, 1),
        Size::new(3, 5),
        Size::new(641, 361),
        Size::new(1920, 1080),
    ];
    let shapes = [
        TIGHT,
        Shape { padding: 1, ..TIGHT },
        Shape {
            padding: 128,
            ..TIGHT
        },
        Shape { offset: 20, ..TIGHT },
        Shape {
            offset: 4097,
            ..TIGHT
        },
        Shape {
            objects: 2,
            offset: 7,
            padding: 3,
        },
    ];
    for size in sizes {
        for shape in shapes {
            let Some((frame, bytes)) = udmabuf_frame(Fourcc::NV12, size, shape, 2) else {
                return;
            };
            let held = importer.buffer(&frame).unwrap();
            assert_eq!(held.buffers(), shape.objects);
            same(&bench.read(&held), &bytes, &format!("{size} {shape:?}"));
        }
    }
    drop(importer);
    bench.done();
}

#[test]
fn a_heap_buffer_is_read_exactly() {
    let heap = dmaframe_testkit::need!(dmaframe_testkit::Device::SystemHeap);
    let Some(bench) = dmabuf_bench() else { return };
    let (fourcc, size) = (Fourcc::YUYV, Size::new(640, 480));
    let (planes, sizes) = frames::planes(fourcc, size, TIGHT);
    let fd = dmaframe_testkit::system_heap(&heap, sizes[0], true).unwrap();
    let bytes = frames::picture(frames::tight_len(fourcc, size), 3);
    let frame = frames::frame_in(vec![fd], fourcc, size, &planes, &bytes).unwrap();
    let importer = Importer::new(&bench.gpu);
    let held = importer.buffer(&frame).unwrap();
    same(&bench.read(&held), &bytes, "system heap");
    drop((importer, held));
    bench.done();
}

#[test]
fn a_second_picture_in_the_same_buffer_is_seen_without_a_new_import() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let Some((mut frame, first)) = udmabuf_frame(Fourcc::R8, Size::new(320, 240), TIGHT, 4) else {
        return;
    };
    let held = importer.buffer(&frame).unwrap();
    same(&bench.read(&held), &first, "first");
    let import = std::sync::Arc::clone(&held.import);
    drop(held);
    bench.queue.poll().unwrap();
    let second = frames::picture(first.len(), 5);
    frame
        .map_write(common::SOON)
        .unwrap()
        .copy_from_tight(&second)
        .unwrap();
    let held = importer.buffer(&frame).unwrap();
    assert!(std::sync::Arc::ptr_eq(&import, &held.import));
    same(&bench.read(&held), &second, "second");
    drop((importer, held, import));
    bench.done();
}
