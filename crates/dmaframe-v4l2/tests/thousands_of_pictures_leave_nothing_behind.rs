//! Thousands of pictures through an encoder: each comes out once, in order, at its time, and at the end there is not one
//! descriptor, mapping or page more than after the first hundred, and the thread has allocated nothing.

mod common;

use std::collections::VecDeque;

use common::{PATIENCE, pool};
use dmaframe_core::{Bitstream, Frame, Layout, Size, Timestamp};
use dmaframe_testkit::{CountingAllocator, Leaks, allocated_by, rss_kib};
use dmaframe_v4l2::{Device, Encoder, Error, FormatRequest, Output, PixelFormat};

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

/// About 13 s in the lab; ten thousand pass as well.
const FRAMES: u64 = 4_000;

#[test]
fn each_comes_out_once_and_nothing_grows() {
    let path = need_m2m!("vicodec", Encoder);
    // Luma alone, in the fewest rows: the codec's own work is nearly all of the time.
    let size = Size::new(640, 360);
    let layout = Layout::tight(PixelFormat::GREY.frame().unwrap().fourcc, size).unwrap();
    let mut encoder = Encoder::builder(Device::open_m2m(&path).unwrap())
        .input(FormatRequest::new(PixelFormat::GREY, size))
        .buffers(4, 6)
        .gop(1)
        .start()
        .unwrap();
    // More pictures than the queue has buffers, so that the driver's imports change hands.
    let pool = pool(&layout, 6);
    let mut kept: VecDeque<Bitstream> = VecDeque::with_capacity(2);
    let mut next = 0;
    let mut keep = |unit: Bitstream| {
        assert_eq!(unit.timestamp().map(|time| time.ns), Some(next));
        assert_eq!(unit.meta().sequence, Some(next));
        next += 1;
        // Not given back at once, so that buffers come back out of step.
        if kept.len() == 2 {
            kept.pop_front();
        }
        kept.push_back(unit);
    };
    let mut work = |from: u64, to: u64| {
        for n in from..to {
            // The pictures' content stays: drawing them would take longer than the rest.
            let mut frame: Frame = pool.acquire(PATIENCE).unwrap();
            frame.meta_mut().unwrap().timestamp = Some(Timestamp {
                ns: n,
                clock: dmaframe_core::Clock::Monotonic,
            });
            while let Err(rejected) = encoder.try_submit(frame) {
                assert!(matches!(rejected.error, Error::Full { .. }), "{}", rejected.error);
                frame = rejected.value;
                encoder
                    .next(PATIENCE)
                    .unwrap()
                    .and_then(Output::into_item)
                    .map(&mut keep);
            }
            while let Some(output) = encoder.try_next().unwrap() {
                output.into_item().map(&mut keep);
            }
        }
    };
    work(0, 100);
    let (before, rss) = (Leaks::now(), rss_kib());
    let ((), allocated) = allocated_by(|| work(100, FRAMES));
    before.check();
    assert!(rss_kib() < rss + 512, "{rss} KiB before, {} after", rss_kib());
    assert_eq!(allocated.calls, 0);
    encoder.drain().unwrap();
    loop {
        match encoder.next(PATIENCE).unwrap().expect("the rest") {
            Output::Item(unit) => keep(unit),
            Output::Drained => break,
            _ => {}
        }
    }
    assert_eq!(next, FRAMES);
    assert_eq!(encoder.input_hop().counts().zero_copy, FRAMES);
    assert_eq!(encoder.output_hop().counts().cpu_bytes, 0);
}
