//! After the first round a picture costs no heap allocation, on either thread.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use common::{SMALL, fast, frame, still};
use dmaframe_core::Frame;
use dmaframe_v4l2::PixelFormat;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: the system's allocator does the work; counting changes nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

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
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for round in 0..200 {
            held[round % 3] = Some(frame(&mut capture));
        }
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!(capture.stats().detached, 0);
        assert_eq!(allocations, 0, "{format}: in 200 frames");
    }
}
