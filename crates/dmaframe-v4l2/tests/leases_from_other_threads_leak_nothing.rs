//! Ten thousand frames, dropped on another thread: every picture once, no buffer filled while it is held, and not one
//! descriptor, mapping or page more at the end than at the start.

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use common::{PATIENCE, SMALL, fast, frame, still};
use dmaframe_core::Frame;
use dmaframe_testkit::{Leaks, rss_kib};
use dmaframe_v4l2::PixelFormat;

const FRAMES: u64 = 10_000;

#[test]
fn ten_thousand_frames_dropped_elsewhere_leave_nothing_behind() {
    let path = need_vivid!();
    let before = Leaks::now();
    let mut capture = fast(still(&path), PixelFormat::YUYV, SMALL)
        .buffers(6)
        .start()
        .unwrap();

    // Consumers hold up to three frames and drop them out of order, with a look at the pixels.
    let (send, receive) = mpsc::sync_channel::<Frame>(1);
    let held = Arc::new(Mutex::new(HashSet::new()));
    let twice = Arc::new(AtomicUsize::new(0));
    let consumer = std::thread::spawn({
        let held = Arc::clone(&held);
        move || {
            let mut kept: Vec<Frame> = Vec::new();
            let mut seen = 0u64;
            for frame in receive {
                assert!(frame.map_read(PATIENCE).unwrap().row(0, 0).unwrap().len() == 640);
                seen += 1;
                kept.push(frame);
                if kept.len() == 3 {
                    let out = kept.swap_remove((seen % 3) as usize);
                    // Out of the set first: the moment it drops, it may be filled and delivered again.
                    held.lock().unwrap().remove(&out.buffer_id());
                    drop(out);
                }
            }
            for frame in kept {
                held.lock().unwrap().remove(&frame.buffer_id());
            }
            seen
        }
    });

    let mut contents = HashSet::new();
    let (mut steady, mut rss) = (None, 0);
    let start = std::time::Instant::now();
    for n in 0..FRAMES {
        let frame = frame(&mut capture);
        if frame.as_dmabuf().is_some() && !held.lock().unwrap().insert(frame.buffer_id()) {
            twice.fetch_add(1, Ordering::Relaxed);
        }
        assert!(contents.insert(frame.content_id()), "a picture came twice");
        send.send(frame).unwrap();
        if n == 500 {
            // Every buffer has been mapped once by now.
            contents.reserve(FRAMES as usize);
            steady = Some(Leaks::now());
            rss = rss_kib();
        }
    }
    let took = start.elapsed();
    let (later, rss_later) = (Leaks::now(), rss_kib());
    drop(send);
    let seen = consumer.join().unwrap();
    let stats = capture.stats();
    drop(capture);

    eprintln!(
        "{FRAMES} frames in {:.1} s ({:.1} a second), {stats:?}, {} descriptors, {} mappings, rss {rss} -> {rss_later} KiB",
        took.as_secs_f64(),
        FRAMES as f64 / took.as_secs_f64(),
        later.fds.len(),
        later.mappings,
    );
    assert_eq!(
        twice.load(Ordering::Relaxed),
        0,
        "a buffer was delivered while somebody held it"
    );
    assert_eq!(seen, FRAMES);
    assert_eq!(stats.delivered + stats.detached, FRAMES);
    assert_eq!((stats.errors, stats.short), (0, 0));
    let steady = steady.unwrap();
    assert_eq!(
        (steady.fds.len(), steady.mappings),
        (later.fds.len(), later.mappings)
    );
    // The set of content ids above is the test's own.
    assert!(
        rss_later < rss + 1024,
        "resident memory grew from {rss} to {rss_later} KiB"
    );
    before.check();
}
