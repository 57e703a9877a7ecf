// Included once for each version of wgpu; `dw` is this crate's module for it.

use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::{Fence, Fourcc, FrameMeta, ReturnQueue, Size};
use dmaframe_testkit::{Leaks, rss_kib};
use dmaframe_wgpu::{GpuOptions, Route};

use crate::common::{SOON, TIGHT, memfd_frame, udmabuf_frame};

/// Together ten thousand.
const FRAMES: usize = 3334;

#[test]
fn ten_thousand_frames_through_four_slots_leave_nothing_behind() {
    let Some(bench) = Bench::bare() else { return };
    // Uploads as on a GPU with memory of its own; `in_place.rs` has the others.
    let options = GpuOptions::default().without_in_place();
    let gpu = Gpu::with_options(bench.gpu.device(), bench.gpu.queue(), options);
    let bench = Bench { gpu, ..bench };
    let importer = Importer::new(&bench.gpu);
    // Some by dma-buf, some by upload: what the device can.
    for dmabuf in [true, false] {
        if dmabuf && !bench.dmabufs() {
            continue;
        }
        let mut buffers = Vec::new();
        for seed in 0..4 {
            let frame = match dmabuf {
                true => udmabuf_frame(Fourcc::NV12, Size::new(32, 16), TIGHT, seed),
                false => Some(memfd_frame(Fourcc::NV12, Size::new(32, 16), TIGHT, seed)),
            };
            let Some((frame, _)) = frame else { return };
            buffers.push(Arc::clone(frame.buffer()));
        }
        let producer = ReturnQueue::new(4).unwrap();
        let run = |frames: usize| {
            for sequence in 0..frames {
                let slot = sequence % 4;
                let frame = loop {
                    if let Some(returned) = producer.next() {
                        assert!(returned.fence.wait(SOON).unwrap().is_signaled());
                    }
                    match producer.frame(slot, &buffers[slot], FrameMeta::default(), Fence::Signaled) {
                        Ok(frame) => break frame,
                        // All four are with the GPU.
                        Err(_) => std::thread::sleep(Duration::from_micros(50)),
                    }
                };
                let imported = importer.import(&frame).unwrap();
                assert_eq!(imported.route() == Route::Buffer, dmabuf);
                drop(frame);
                drop(bench.gpu.submit(&[&imported], []).unwrap());
            }
            assert!(bench.gpu.settle(SOON));
            bench
                .gpu
                .device()
                .poll(wgpu::PollType::wait_indefinitely())
                .unwrap();
            while producer.next().is_some() {}
        };
        run(100);
        let objects = || bench.gpu.vulkan().map(dmaframe_wgpu::vulkan::Gpu::live);
        let report = || {
            format!(
                "{:?}",
                bench
                    .instance
                    .generate_report()
                    .map(|r| r.hub.buffers.num_allocated)
            )
        };
        let (leaks, before, memory) = (Leaks::now(), (objects(), report()), rss_kib());
        run(if dmabuf { FRAMES - 500 } else { 500 });
        assert_eq!((Leaks::now(), (objects(), report())), (leaks, before));
        let grown = rss_kib().saturating_sub(memory);
        println!("memory grew by {grown} KiB; {}", report());
        assert!(grown < 4096, "memory grew by {grown} KiB");
    }
}
