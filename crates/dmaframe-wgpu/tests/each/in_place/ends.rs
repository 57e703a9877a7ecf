// What is left when it ends, or goes on for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dmaframe_testkit::{Leaks, rss_kib};

#[test]
fn a_device_that_is_destroyed_takes_no_memory_from_under_the_cpu() {
    for bench in [Bench::plain(), Bench::ours()] {
        let Some(bench) = unified(bench) else { return };
        let importer = Arc::new(uploads(&bench.gpu, ImportOptions::default()));
        let size = Size::new(1920, 1080);
        let (frame, _) = plain_frame(size, 1);
        let (end, begun) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let thread = std::thread::spawn({
            let (importer, frame, end) = (Arc::clone(&importer), frame.clone(), Arc::clone(&end));
            let begun = Arc::clone(&begun);
            move || {
                while !end.load(Ordering::Relaxed) {
                    drop(importer.import(&frame));
                    begun.store(true, Ordering::Relaxed);
                }
            }
        });
        while !begun.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let imported = importer.import(&frame).unwrap();
        bench.gpu.device().destroy();
        for _ in 0..20 {
            let _ = bench.gpu.device().poll(wgpu::PollType::Poll);
            std::thread::sleep(Duration::from_millis(5));
        }
        let first = bench.gpu.submit(&[&imported], []).and_then(|work| work.wait(SOON));
        assert!(matches!(first, Err(Error::DeviceLost { .. } | Error::Wgpu { .. })), "{first:?}");
        let second = importer.import(&frame);
        assert!(matches!(second, Err(Error::DeviceLost { .. })), "{second:?}");
        end.store(true, Ordering::Relaxed);
        thread.join().unwrap();
        drop((imported, importer, frame));
        bench.lost();
    }
}

/// Together ten thousand.
const FRAMES: usize = 3334;

#[test]
fn ten_thousand_frames_leave_nothing_behind() {
    let Some(bench) = unified(Bench::bare()) else { return };
    let (gpu, converter) = (&bench.gpu, Converter::new(&bench.gpu));
    let importer = uploads(gpu, ImportOptions::default().slots(1).wait(SOON));
    let size = Size::new(64, 16);
    let frames: Vec<_> = (0..4).map(|seed| plain_frame(size, seed).0).collect();
    let view = canvas(gpu, size);
    let (target, conversion) = (Target::new(&view), assuming());
    let encoder = || gpu.device().create_command_encoder(&Default::default());
    // Every buffer of the ring is made, and bound.
    let mut all = vec![];
    for _ in 0..1 + MORE {
        let (imported, mut encoder) = (importer.import(&frames[0]).unwrap(), encoder());
        converter.encode(&mut encoder, &imported, &target, &conversion).unwrap();
        all.push(encoder);
    }
    drop(all);
    let run = |frames_to_run: usize| {
        for sequence in 0..frames_to_run {
            let imported = importer.import(&frames[sequence % 4]).unwrap();
            assert!(imported.is_in_place());
            if sequence % 2 == 0 {
                drop(converter.convert(&imported, &target, &conversion).unwrap());
            } else {
                let mut encoder = encoder();
                converter.encode(&mut encoder, &imported, &target, &conversion).unwrap();
                gpu.queue().submit([encoder.finish()]);
            }
        }
        assert!(gpu.settle(SOON));
        gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    };
    run(200);
    let objects = || gpu.vulkan().map(dmaframe_wgpu::vulkan::Gpu::live);
    let report = || bench.instance.generate_report().map(|report| report.hub.buffers.num_allocated);
    let (leaks, before, memory) = (Leaks::now(), (objects(), report()), rss_kib());
    assert_eq!(before.1, Some(1 + MORE), "wgpu has more buffers than the ring");
    run(FRAMES);
    assert_eq!((Leaks::now(), (objects(), report())), (leaks, before));
    let grown = rss_kib().saturating_sub(memory);
    println!("memory grew by {grown} KiB; {before:?}");
    assert!(grown < 4096, "memory grew by {grown} KiB");
}
