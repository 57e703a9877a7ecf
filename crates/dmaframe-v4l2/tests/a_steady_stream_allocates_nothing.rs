//! After the first round a picture costs the thread that captures and drops it no heap allocation.

mod common;

use common::{SMALL, fast, frame, still};
use dmaframe_core::Frame;
use dmaframe_testkit::{CountingAllocator, allocated_by};
use dmaframe_v4l2::PixelFormat;

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

#[test]
fn a_frame_costs_no_allocation() {
    let path = need_vivid!();
    let multi = need_vivid!(multiplanar);
    for (path, format) in [(path, PixelFormat::YUYV), (multi, PixelFormat::NV12M)] {
        let mut capture = fast(still(&path), format, SMALL).start().unwrap();
        // A window of frames in hand, so that slots come back late and out of step.
        let mut held: [Option<Frame>; 3] = [None, None, None];
        for round in 0..30 {
            held[round % 3] = Some(frame(&mut capture));
        }
        let ((), allocated) = allocated_by(|| {
            for round in 0..200 {
                held[round % 3] = Some(frame(&mut capture));
            }
        });
        assert_eq!(capture.stats().detached, 0);
        assert_eq!(allocated.calls, 0, "{format}: in 200 frames");
    }
}
