//! Ten thousand frames through four slots: as many descriptors and Vulkan objects at the end as after the first few.
//! Nothing is allocated for a frame. In a binary of its own, since it looks at all descriptors of the process.

mod common;

use std::sync::Arc;

use dmaframe_core::{Fence, Fourcc, FrameMeta, ReturnQueue, Size};
use dmaframe_testkit::frames;
use dmaframe_testkit::{CountingAllocator, Leaks, allocated_by};
use dmaframe_vulkan::{Gpu, Importer, Readback};
use frames::TIGHT;

#[global_allocator]
static GLOBAL: CountingAllocator = CountingAllocator;

const FRAMES: u64 = 10_000;

#[test]
fn ten_thousand_frames_through_four_slots_leave_nothing_behind() {
    // Without the layer: it keeps records of its own, and the other tests have it on.
    let gpu = match Gpu::open() {
        Ok(gpu) if gpu.extensions().dmabuf() => gpu,
        Ok(_) => return dmaframe_testkit::skip("the Vulkan device imports no dma-bufs"),
        Err(error) => return dmaframe_testkit::skip(&error.to_string()),
    };
    let queue = gpu.queue().unwrap();
    let (importer, size) = (Importer::new(&gpu), Size::new(64, 48));
    let mut buffers = Vec::new();
    for seed in 0..4 {
        let Some((frame, _)) = frames::udmabuf_frame(Fourcc::NV12, size, TIGHT, seed) else {
            return;
        };
        buffers.push(Arc::clone(frame.buffer()));
    }
    let producer = ReturnQueue::new(4).unwrap();
    let back = Readback::new(&gpu, Fourcc::NV12, size).unwrap();
    let fences = queue.can_export_fences();
    let run = |frames: u64| {
        for sequence in 0..frames {
            let slot = sequence as usize % 4;
            let frame = producer
                .frame(slot, &buffers[slot], FrameMeta::default(), Fence::Signaled)
                .unwrap();
            let held = importer.buffer(&frame).unwrap();
            let mut work = queue
                .submit(common::SOON, |commands| {
                    commands.reads(&held.frame)?;
                    if fences {
                        commands.export_fence()?;
                    }
                    commands.copy(&held.import, back.target())
                })
                .unwrap();
            drop((held, frame));
            if fences {
                drop(work.hand_back().unwrap());
            } else {
                assert!(work.wait(common::SOON).unwrap().is_signaled());
            }
            let returned = producer.next().expect("the slot is home");
            assert!(returned.fence.wait(common::SOON).unwrap().is_signaled());
        }
        queue.poll().unwrap();
    };
    run(200);
    let before = (Leaks::now(), gpu.live());
    let memory = dmaframe_testkit::rss_kib();
    let ((), allocated) = allocated_by(|| run(FRAMES));
    assert_eq!(allocated.calls, 0, "allocations in {FRAMES} frames");
    assert_eq!((Leaks::now(), gpu.live()), before);
    let grown = dmaframe_testkit::rss_kib().saturating_sub(memory);
    println!("{FRAMES} frames: {:?}, memory grew by {grown} KiB", gpu.live());
    assert!(grown < 4096, "memory grew by {grown} KiB");
    assert_eq!((importer.kept(), importer.stats().misses), (4, 4));
}
