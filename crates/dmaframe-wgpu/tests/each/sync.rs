// Included once for each version of wgpu, before the files in `sync`; `dw` is this crate's module for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_core::{Deadline, Fence, Fourcc, Frame, FrameMeta, ReturnQueue, Size};
use dmaframe_testkit::producer::{later, leased, leased_after, pending, shared_frame};
use dmaframe_testkit::{Device, SwSync, Vgem, need};
use dmaframe_wgpu::{Error, FenceExport, GpuOptions, ImportOptions, Level, Route, Routes};

use crate::common::{SOON, TIGHT, memfd_frame, picture, same, udmabuf_frame};

const SIZE: Size = Size::new(160, 120);
const LEN: usize = 160 * 120;

/// A device of each kind, at the level it is said to have.
fn both() -> Vec<Bench> {
    let both = Bench::both();
    for bench in &both {
        println!("{}", bench.gpu.level());
    }
    if let ([_, ours], true) = (&both[..], dmaframe_testkit::in_lab()) {
        let wanted = match module_path!().contains("v30") {
            true => Level::Explicit,
            false => Level::Release,
        };
        assert_eq!(ours.gpu.level(), wanted);
    }
    both
}

/// The slot, which has to come home by itself: nobody here polls the device.
fn comes_home(queue: &ReturnQueue) -> Fence {
    let begin = Instant::now();
    loop {
        if let Some(returned) = queue.next() {
            println!("home after {:?}", begin.elapsed());
            return returned.fence;
        }
        let waited = begin.elapsed();
        assert!(waited < Duration::from_millis(100), "not home after {waited:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The slot comes home by itself, whenever that is.
fn comes_home_in_the_end(queue: &ReturnQueue) {
    let soon = Deadline::after(SOON);
    while queue.next().is_none() {
        assert_ne!(soon.remaining(), Some(Duration::ZERO), "it does not come home");
        std::thread::sleep(Duration::from_millis(1));
    }
}
