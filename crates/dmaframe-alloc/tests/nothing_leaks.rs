//! Descriptors, mappings and memory stay flat over many frames. Alone in its binary: it counts the whole process's.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use dmaframe_alloc::{Allocator, DmaHeap, FramePool, Memfd, Request, Udmabuf};
use dmaframe_core::{Fourcc, Size, SyncFile};
use dmaframe_testkit::{Device, Leaks, SwSync, find, need, rss_kib};

const FRAMES: u32 = 10_000;
const WARM: u32 = 16;

fn flat(allocator: impl Allocator + 'static, timeline: Option<&SwSync>) {
    let name = allocator.name().to_owned();
    let outside = Leaks::now();
    let pool = FramePool::builder(Request::new(Fourcc::NV12, Size::new(320, 240)))
        .slots(4)
        .allocator(allocator)
        .build()
        .unwrap();
    // Frames go home from another thread.
    let (send, receive) = mpsc::sync_channel(2);
    let consumer = thread::spawn(move || receive.into_iter().for_each(drop));
    let mut inside = None;
    for number in 0..FRAMES {
        if number == WARM {
            // Every page of every slot is mapped by now. What the consumer holds does not matter: its descriptors are
            // the slots'.
            inside = Some((Leaks::now(), rss_kib()));
        }
        let mut frame = pool.acquire(Duration::from_secs(20)).unwrap();
        let mut view = frame.map_write(Duration::from_secs(1)).unwrap();
        if number < WARM {
            view.planes_mut()
                .unwrap()
                .iter_mut()
                .for_each(|plane| plane.fill(number as u8));
        } else {
            view.row_mut(0, number % 240).unwrap().fill(number as u8);
        }
        drop(view);
        if let Some(timeline) = timeline.filter(|_| number > WARM && number % 8 == 0) {
            frame.release_after(SyncFile::new(timeline.fence(number).unwrap()).unwrap().into());
            send.send(frame).unwrap();
            timeline.advance(8).unwrap();
        } else {
            send.send(frame).unwrap();
        }
    }
    drop(send);
    consumer.join().unwrap();
    if let Some(timeline) = timeline {
        timeline.advance(FRAMES).unwrap();
    }
    let all: Vec<_> = (0..4)
        .map(|_| pool.acquire(Duration::from_secs(1)).unwrap())
        .collect();
    let (leaks, rss) = inside.unwrap();
    leaks.check();
    let grown = rss_kib().saturating_sub(rss);
    assert!(
        grown < 512,
        "{name}: resident memory grew by {grown} KiB over {FRAMES} frames"
    );
    drop((all, pool));
    outside.check();
}

#[test]
fn ten_thousand_frames_leave_nothing_behind() {
    let timeline = find(Device::SwSync).ok().map(|path| SwSync::open(&path).unwrap());
    flat(Memfd::new(), timeline.as_ref());
    need!(Device::Udmabuf);
    flat(Udmabuf::new(), timeline.as_ref());
    need!(Device::SystemHeap);
    flat(DmaHeap::system(), timeline.as_ref());

    // Renegotiation with a frame out, and failures on the way, leave nothing either.
    let before = Leaks::now();
    let small = Request::new(Fourcc::NV12, Size::new(64, 64));
    let pool = FramePool::builder(&small)
        .slots(2)
        .allocator(Udmabuf::new())
        .build()
        .unwrap();
    let inside = Leaks::now();
    assert!(
        !inside.fds.iter().any(|fd| fd.contains("memfd")),
        "udmabuf's memfds are closed: {inside:?}"
    );
    for _ in 0..100 {
        let held = pool.try_acquire().unwrap();
        pool.renegotiate(&small).unwrap();
        assert_eq!(
            Leaks::now().fds.len(),
            inside.fds.len() + 2,
            "the frame that is out keeps its own buffer, and its way back to nowhere"
        );
        assert!(
            pool.renegotiate(Request::new(Fourcc::R8, Size::new(1 << 20, 1 << 20)))
                .is_err()
        );
        drop(held);
    }
    inside.check();
    let held = pool.try_acquire().unwrap();
    drop(pool);
    assert_eq!(
        Leaks::now().fds.len(),
        before.fds.len() + 2,
        "the same when the pool drops"
    );
    drop(held);
    before.check();
}
