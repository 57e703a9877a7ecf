//! A steady stream allocates nothing. In a binary of its own, since the counting allocator is global.

use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::{Buffer, Clock, Fence, Fourcc, FrameMeta, Layout, ReturnQueue, Size, Timestamp};
use dmaframe_testkit::{CountingAllocator, Device, allocated_by, need, udmabuf};

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

fn stream(buffers: &[Arc<Buffer>], frames: u64) {
    let queue = ReturnQueue::new(buffers.len()).unwrap();
    let run = |n: u64| {
        for sequence in 0..n {
            let slot = sequence as usize % buffers.len();
            let mut meta = FrameMeta::default();
            meta.sequence = Some(sequence);
            meta.timestamp = Some(Timestamp {
                ns: sequence,
                clock: Clock::Monotonic,
            });
            let frame = queue.frame(slot, &buffers[slot], meta, Fence::Signaled).unwrap();
            let clone = frame.clone();
            let view = clone.map_read(Duration::from_millis(100)).unwrap();
            let mut row = [0; 640];
            view.copy_row(0, 0, &mut row).unwrap();
            drop(view);
            clone.release_after(Fence::Signaled);
            drop(frame);
            drop(clone);
            assert_eq!(queue.next().map(|r| r.slot), Some(slot));
        }
    };
    // Each slot once around: shells and mappings are made.
    run(buffers.len() as u64 * 2);
    let ((), allocated) = allocated_by(|| run(frames));
    assert_eq!(allocated.calls, 0, "allocations in {frames} frames");
}

// One test, so that no other one allocates meanwhile.
#[test]
fn a_frame_in_steady_state_allocates_nothing() {
    let layout = Layout::linear(Fourcc::NV12, Size::new(640, 360), 64).unwrap();
    let bytes = |_| {
        let bytes = vec![0; layout.object_len(0) as usize];
        Arc::new(Buffer::from_bytes(bytes.into(), &layout).unwrap())
    };
    stream(&(0..4).map(bytes).collect::<Vec<_>>(), 1000);

    let device = need!(Device::Udmabuf);
    let dmabufs = |_| {
        let fd = udmabuf(&device, layout.object_len(0)).unwrap();
        Arc::new(Buffer::from_fd(fd, &layout, 1).unwrap())
    };
    stream(&(0..4).map(dmabufs).collect::<Vec<_>>(), 1000);
}
