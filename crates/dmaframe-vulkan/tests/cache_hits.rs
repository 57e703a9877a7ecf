//! Importing a buffer again costs no system call and no allocation; an entry never outlives what it was made from.
//! In a binary of its own, with one test, since the counting allocator is global.

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::dmabuf_bench;
use dmaframe_core::{Buffer, Fence, Fourcc, Frame, FrameMeta, Lease, Modifier, Object, Size};
use dmaframe_testkit::frames::{Shape, TIGHT, udmabuf_frame};
use dmaframe_testkit::{CountingAllocator, allocated_by, without_system_calls};
use dmaframe_vulkan::{ImportOptions, Importer};

#[global_allocator]
static GLOBAL: CountingAllocator = CountingAllocator;

#[test]
fn cache_hits() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Arc::new(Importer::with_options(
        &bench.gpu,
        ImportOptions::default().capacity(8),
    ));
    let shape = Shape { objects: 2, ..TIGHT };
    let Some((frame, _)) = udmabuf_frame(Fourcc::NV12, Size::new(64, 64), shape, 1) else {
        return;
    };
    let import = Arc::clone(&importer.buffer(&frame).unwrap().import);

    hits_allocate_nothing(&importer, &frame);
    hits_make_no_system_call(&importer, &frame);
    assert_eq!(importer.kept(), 1);
    assert!(Arc::ptr_eq(&import, &importer.buffer(&frame).unwrap().import));

    another_generation_or_layout_misses(&importer, &frame);
    a_full_cache_stays_full(&importer);
    assert!(importer.trim() > 0, "buffers that are gone can be let go of");
    drop((frame, import));
    importer.trim();
    assert_eq!(importer.kept(), 0);
    assert_eq!(bench.gpu.live().buffers, 0);
    drop(importer);
    bench.done();
}

fn hits_allocate_nothing(importer: &Importer, frame: &Frame) {
    let begin = Instant::now();
    let (_, allocated) = allocated_by(|| {
        for _ in 0..1000 {
            drop(importer.buffer(frame).unwrap());
        }
    });
    println!("a hit takes {:?}", begin.elapsed() / 1000);
    assert_eq!(allocated.calls, 0, "allocations in 1000 hits");
}

fn hits_make_no_system_call(importer: &Arc<Importer>, frame: &Frame) {
    let (importer, frame) = (Arc::clone(importer), frame.clone());
    without_system_calls(move || importer.buffer(&frame).is_ok());
}

/// The same memory in another wrapping.
fn again(frame: &Frame, stride: u32, generation: u64) -> Frame {
    let objects: Vec<Arc<Object>> = frame.buffer().objects().to_vec();
    let mut planes = frame.layout().planes().to_vec();
    planes[1].stride = stride;
    let buffer = Buffer::new(
        Fourcc::NV12,
        Modifier::LINEAR,
        Size::new(64, 64),
        objects,
        &planes,
        generation,
    )
    .unwrap();
    Frame::new(
        Arc::new(buffer),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap()
}

fn another_generation_or_layout_misses(importer: &Importer, frame: &Frame) {
    let first = importer.buffer(frame).unwrap().import;
    let generation = frame.buffer_id().generation();
    let same = again(frame, 64, generation);
    assert!(
        Arc::ptr_eq(&first, &importer.buffer(&same).unwrap().import),
        "the same memory"
    );
    let wider = again(frame, 65, generation);
    assert!(
        !Arc::ptr_eq(&first, &importer.buffer(&wider).unwrap().import),
        "another layout"
    );
    let newer = again(frame, 64, dmaframe_core::next_generation());
    assert!(
        !Arc::ptr_eq(&first, &importer.buffer(&newer).unwrap().import),
        "another generation"
    );
    assert_eq!(importer.retire(newer.buffer_id().generation()), 1);
}

fn a_full_cache_stays_full(importer: &Importer) {
    let frames: Vec<_> = (0..20)
        .filter_map(|seed| udmabuf_frame(Fourcc::R8, Size::new(64, 64), TIGHT, seed))
        .collect();
    for (frame, _) in &frames {
        drop(importer.buffer(frame).unwrap());
    }
    assert_eq!(importer.kept(), 8);
    assert!(importer.stats().evicted >= 12, "{:?}", importer.stats());
}
