//! Acquire, write, clone, drop: no allocation. Alone in its binary: it counts the whole process's.

use std::time::Duration;

use dmaframe_alloc::{FramePool, Memfd, Request};
use dmaframe_core::{Fourcc, Size, SyncFile};
use dmaframe_testkit::{CountingAllocator, Device, SwSync, allocated_by, find};

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

fn allocations(work: impl FnOnce()) -> u64 {
    allocated_by(work).1.calls
}

// One test, since tests of one binary run at the same time.
#[test]
fn a_running_pool_allocates_nothing() {
    let request = Request::new(Fourcc::NV12, Size::new(64, 64));
    let build = || {
        FramePool::builder(&request)
            .slots(3)
            .allocator(Memfd::new())
            .build()
            .unwrap()
    };
    let pool = build();
    let first = allocations(|| drop(pool.try_acquire().unwrap()));
    assert_eq!(
        first, 0,
        "not even for the first frame: the builder has warmed the slots"
    );

    let cycle = |pool: &FramePool| {
        let mut frame = pool.acquire(Duration::from_secs(1)).unwrap();
        frame
            .map_write(Duration::ZERO)
            .unwrap()
            .plane_mut(0)
            .unwrap()
            .fill(1);
        frame.meta_mut().unwrap().sequence = Some(1);
        let clone = frame.clone();
        drop(frame);
        assert_eq!(clone.map_read(Duration::ZERO).unwrap().row(0, 0).unwrap()[0], 1);
    };
    for _ in 0..3 {
        cycle(&pool);
    }
    assert_eq!(
        allocations(|| (0..1000).for_each(|_| cycle(&pool))),
        0,
        "1000 frames"
    );

    let held: Vec<_> = (0..3).map(|_| pool.try_acquire().unwrap()).collect();
    assert_eq!(
        allocations(|| assert!(pool.try_acquire().is_err())),
        0,
        "starvation"
    );
    let copies = build();
    let copy = || drop(copies.detach_into(&held[0], Duration::ZERO).unwrap());
    (0..3).for_each(|_| copy());
    assert_eq!(allocations(|| (0..100).for_each(|_| copy())), 0, "copies");
    drop(held);

    if let Ok(path) = find(Device::SwSync) {
        let timeline = SwSync::open(&path).unwrap();
        let count = allocations(|| {
            for value in 1..=100 {
                let frames = [0; 3].map(|_| pool.try_acquire().unwrap());
                for frame in &frames {
                    frame.release_after(SyncFile::new(timeline.fence(value).unwrap()).unwrap().into());
                }
                drop(frames);
                assert!(pool.try_acquire().is_err());
                timeline.advance(1).unwrap();
            }
        });
        assert_eq!(count, 0, "pending fences");
    }
}
