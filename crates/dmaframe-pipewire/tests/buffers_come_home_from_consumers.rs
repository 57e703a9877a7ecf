//! A consumer that holds every buffer of a camera and then lets some go: they are the producer's again, whether or not it asks the
//! camera for them.

mod common;

use std::time::{Duration, Instant};

use common::{PATIENCE, camera, capture, pool, watched};
use dmaframe_alloc::FramePool;
use dmaframe_core::{Frame, Starvation};
use dmaframe_pipewire::{CaptureStream, VirtualCamera};
use dmaframe_testkit::Daemon;

const SLOTS: usize = 4;

/// A camera of imported buffers, and a consumer that has them all.
fn hoarded(daemon: &Daemon) -> (FramePool, VirtualCamera, CaptureStream, Vec<Frame>) {
    let pool = pool(SLOTS);
    let cam = camera(daemon).import(pool.buffers()).start().unwrap();
    let hoarder = capture(daemon, "hoarder").budget(0, Starvation::Drop);
    let hoarder = hoarder.queue(8).start().unwrap();
    daemon.link("cam", "hoarder");
    watched(&cam);
    let mut held = Vec::new();
    let start = Instant::now();
    while held.len() < SLOTS {
        if let Ok(frame) = pool.acquire(Duration::from_millis(20)) {
            cam.push(frame, PATIENCE).unwrap();
        }
        held.extend(hoarder.next_frame(Duration::from_millis(20)).unwrap());
        assert!(start.elapsed() < PATIENCE, "{} held", held.len());
    }
    let free = pool.acquire(Duration::from_millis(100));
    assert!(free.is_err(), "a buffer that the consumer has is free");
    (pool, cam, hoarder, held)
}

#[test]
fn a_held_buffer_is_the_producers_again_when_it_is_dropped_in_whatever_order() {
    need_pipewire!();
    for order in [[0, 0, 0, 0], [3, 2, 1, 0], [1, 2, 0, 0]] {
        let daemon = Daemon::bare();
        let (pool, cam, _hoarder, mut held) = hoarded(&daemon);
        let mut home: Vec<Frame> = Vec::new();
        for index in order {
            let dropped = held.remove(index).buffer().identities().next();
            let back = pool.acquire(PATIENCE);
            let back =
                back.unwrap_or_else(|e| panic!("{order:?}, {} home: {e}; {:?}", home.len(), cam.stats()));
            assert_eq!(back.buffer().identities().next(), dropped, "{order:?}");
            home.push(back);
        }
    }
}

#[test]
fn the_last_buffers_pushed_are_the_producers_again_though_nothing_is_pushed_after_them() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let (pool, cam, reader, held) = hoarded(&daemon);
    drop(held);
    // Longer than anybody looks for what may come back at any moment.
    std::thread::sleep(Duration::from_millis(1500));
    for n in 0..10 {
        let home: Vec<_> = (0..SLOTS)
            .map(|slot| {
                let back = pool.acquire(PATIENCE);
                back.unwrap_or_else(|e| panic!("round {n}, slot {slot}: {e}; {:?}", cam.stats()))
            })
            .collect();
        for frame in home {
            cam.push(frame, PATIENCE).unwrap();
            // What it does not see is left to PipeWire.
            drop(reader.next_frame(Duration::from_millis(20)).unwrap());
        }
    }
}
