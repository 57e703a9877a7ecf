//! A pool that changes its picture, or goes away, leaves the frames that are out alone.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dmaframe_alloc::{Bytes, Error, FramePool, Memfd, Request};
use dmaframe_core::{Fourcc, Modifier, Size};

fn request(width: u32) -> Request {
    Request::new(Fourcc::XRGB8888, Size::new(width, 16))
}

fn pool() -> FramePool {
    FramePool::builder(request(16))
        .slots(2)
        .allocator(Memfd::new())
        .build()
        .unwrap()
}

#[test]
fn frames_of_the_old_generation_stay_valid_and_return_to_nowhere() {
    let pool = pool();
    let mut old = pool.try_acquire().unwrap();
    old.map_write(Duration::ZERO)
        .unwrap()
        .plane_mut(0)
        .unwrap()
        .fill(7);
    let old_generation = pool.generation();
    pool.renegotiate(request(32)).unwrap();
    assert_ne!(pool.generation(), old_generation);
    assert_eq!(pool.layout().size(), Size::new(32, 16));
    assert_eq!(pool.outstanding(), 0, "old frames are not counted any more");

    let new = (pool.try_acquire().unwrap(), pool.try_acquire().unwrap());
    assert!(pool.try_acquire().is_err());
    assert_eq!(old.map_read(Duration::ZERO).unwrap().row(0, 15).unwrap(), [7; 64]);
    assert_eq!(old.buffer_id().generation(), old_generation);
    drop(old);
    assert!(
        pool.try_acquire().is_err(),
        "an old frame's drop frees no new slot"
    );
    drop(new);
    assert!(pool.try_acquire().is_ok());
}

#[test]
fn the_number_of_slots_can_change() {
    let pool = pool();
    let _held = pool.try_acquire().unwrap();
    pool.resize(request(16), 5).unwrap();
    let frames: Vec<_> = (0..5).map(|_| pool.try_acquire().unwrap()).collect();
    assert!(pool.try_acquire().is_err());
    assert_eq!((pool.slots(), pool.buffers().len()), (5, 5));
    assert_eq!(pool.stats().acquired, 6, "the counters go on");
    drop(frames);
    assert!(matches!(pool.resize(request(16), 0), Err(Error::Slots { .. })));
}

#[test]
fn a_refused_renegotiation_changes_nothing() {
    let pool = pool();
    let generation = pool.generation();
    assert!(
        pool.renegotiate(request(16).modifiers([Modifier::INVALID]))
            .is_err()
    );
    assert!(
        pool.renegotiate(Request::new(Fourcc(7), Size::new(1, 1)))
            .is_err()
    );
    assert_eq!(pool.generation(), generation);
    assert!(pool.try_acquire().is_ok());
}

#[test]
fn who_waits_for_a_slot_gets_one_of_the_new_generation() {
    let pool = Arc::new(pool());
    let _held = (pool.try_acquire().unwrap(), pool.try_acquire().unwrap());
    let waiter = {
        let pool = Arc::clone(&pool);
        thread::spawn(move || {
            let start = Instant::now();
            let size = pool.acquire(Duration::from_secs(20)).unwrap().layout().size();
            (size, start.elapsed())
        })
    };
    thread::sleep(Duration::from_millis(50));
    pool.renegotiate(request(32)).unwrap();
    let (size, waited) = waiter.join().unwrap();
    assert_eq!(size, Size::new(32, 16));
    assert!(
        waited < Duration::from_secs(10),
        "woken, not timed out: {waited:?}"
    );
}

#[test]
fn frames_outlive_their_pool() {
    for bytes in [false, true] {
        let builder = FramePool::builder(request(16)).slots(1);
        let builder = if bytes {
            builder.allocator(Bytes::new())
        } else {
            builder.allocator(Memfd::new())
        };
        let pool = builder.build().unwrap();
        let mut frame = pool.try_acquire().unwrap();
        frame
            .map_write(Duration::ZERO)
            .unwrap()
            .plane_mut(0)
            .unwrap()
            .fill(3);
        drop(pool);
        let clone = frame.clone();
        let read = thread::spawn(move || {
            clone
                .map_read(Duration::ZERO)
                .unwrap()
                .row(0, 0)
                .unwrap()
                .to_vec()
        });
        assert_eq!(read.join().unwrap(), [3; 64]);
        drop(frame);
    }
}
