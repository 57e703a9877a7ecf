// Included once for each version of wgpu; `dw` is this crate's module for it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::sync::Arc;
use std::time::Instant;

use dmaframe_core::{Buffer, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Modifier, Size};
use dmaframe_testkit::{allocated_by, without_system_calls};
use dmaframe_wgpu::vulkan::ash::ext;
use dmaframe_wgpu::{ImportOptions, Route};

use crate::common::{SOON, Shape, TIGHT, same, udmabuf_frame};

const SIZE: Size = Size::new(64, 64);

#[test]
fn a_hit_costs_nothing_and_a_stale_entry_is_never_hit() {
    let Some(bench) = Bench::plain().filter(Bench::dmabufs) else {
        return;
    };
    let importer = Arc::new(Importer::with_options(
        &bench.gpu,
        ImportOptions::default().capacity(8),
    ));
    let shape = Shape { objects: 2, ..TIGHT };
    let Some((frame, bytes)) = udmabuf_frame(Fourcc::NV12, SIZE, shape, 1) else {
        return;
    };
    let first = importer.import(&frame).unwrap();

    let hits_are_free = || {
        let begin = Instant::now();
        let (_, allocated) = allocated_by(|| {
            for _ in 0..1000 {
                drop(importer.import(&frame).unwrap());
            }
        });
        println!("a hit takes {:?}", begin.elapsed() / 1000);
        assert_eq!(allocated.calls, 0, "allocations in 1000 hits");
        let (hits, again_and_again) = (Arc::clone(&importer), frame.clone());
        without_system_calls(move || hits.import(&again_and_again).is_ok());
    };
    hits_are_free();
    same(&bench.read(&first), &bytes, "the first");
    // From here on wgpu is asked whether it was destroyed, whose locks note in debug builds who takes them: with a backtrace,
    // if panics have those.
    if Backtrace::capture().status() == BacktraceStatus::Disabled {
        hits_are_free();
    }
    assert_eq!((importer.kept(), importer.stats().misses), (1, 1));

    // The same memory in another wrapping, with another stride, and of another generation.
    let generation = frame.buffer_id().generation();
    drop(importer.import(&again(&frame, 64, generation)).unwrap());
    assert_eq!(importer.stats().misses, 1, "the same memory");
    drop(importer.import(&again(&frame, 65, generation)).unwrap());
    assert_eq!(importer.stats().misses, 2, "another layout");
    let newer = again(&frame, 64, dmaframe_core::next_generation());
    same(
        &bench.read(&importer.import(&newer).unwrap()),
        &bytes,
        "another generation",
    );
    assert_eq!(importer.stats().misses, 3);
    assert_eq!(importer.retire(newer.buffer_id().generation()), 1);

    let frames: Vec<_> = (0..20)
        .filter_map(|seed| udmabuf_frame(Fourcc::R8, SIZE, TIGHT, seed))
        .collect();
    for (frame, bytes) in &frames {
        same(
            &bench.read(&importer.import(frame).unwrap()),
            bytes,
            "one of many",
        );
    }
    assert_eq!(importer.kept(), 8, "a full cache stays full");
    // The thread that sees the end of work lets go of the last frame a moment after its reader has seen it.
    assert!(importer.gpu().settle(SOON), "work that ends");
    drop((frames, first, frame, newer));
    importer.trim();
    assert_eq!(importer.kept(), 0, "buffers that are gone are let go of");
    drop(importer);
    bench.done();
}

/// Bytes of whole pages, for a device that pins them, or of anything else.
fn pooled(whole: bool) -> Option<Arc<Buffer>> {
    let layout = Layout::tight(Fourcc::R8, SIZE).unwrap();
    // One allocation after the other begins 16 bytes further into its page.
    let mut others = Vec::new();
    for _ in 0..4096 {
        let bytes = vec![7; 4096].into_boxed_slice();
        if (bytes.as_ptr() as usize).is_multiple_of(4096) == whole {
            return Some(Arc::new(Buffer::from_bytes(bytes, &layout).unwrap()));
        }
        others.push(bytes);
    }
    dmaframe_testkit::skip("no bytes of whole pages");
    None
}

#[test]
fn bytes_of_a_pool_are_known_when_they_come_again() {
    let (Some(plain), Some(ours)) = (Bench::plain(), Bench::ours()) else {
        return;
    };
    let pins = ours.gpu.vulkan().is_some_and(|gpu| gpu.extensions().has(ext::external_memory_host::NAME));
    for (bench, whole) in [(plain, false), (ours, pins)] {
        let Some(buffer) = pooled(whole) else { return };
        let importer = Importer::new(&bench.gpu);
        let picture = || {
            let meta = FrameMeta::default();
            Frame::new(Arc::clone(&buffer), meta, Fence::Signaled, Lease::none()).unwrap()
        };
        for time in 0..4 {
            let imported = importer.import(&picture()).unwrap();
            let wanted = match whole && time > 0 {
                true => Route::HostPointer,
                false => Route::Upload,
            };
            assert_eq!(imported.route(), wanted, "the {time}. time");
            same(&bench.read(&imported), &[7; 4096], "bytes");
            assert_eq!(importer.kept(), 1, "the {time}. time");
            // Bytes that the GPU reads where they are come home when it has, and somebody has seen it.
            assert!(importer.gpu().settle(SOON));
        }
        assert_eq!((importer.stats().misses, importer.stats().hits), (1, 3));
        assert_eq!(importer.trim(), 0, "the pool has them");
        drop(buffer);
        assert_eq!(importer.trim(), 1, "nobody has them but the import");
        drop(importer);
        bench.done();
    }
}

/// The same memory in another wrapping.
fn again(frame: &Frame, stride: u32, generation: u64) -> Frame {
    let objects = frame.buffer().objects().to_vec();
    let mut planes = frame.layout().planes().to_vec();
    planes[1].stride = stride;
    let buffer = Buffer::new(Fourcc::NV12, Modifier::LINEAR, SIZE, objects, &planes, generation).unwrap();
    let meta = FrameMeta::default();
    Frame::new(Arc::new(buffer), meta, Fence::Signaled, Lease::none()).unwrap()
}
