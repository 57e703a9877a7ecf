//! Ten thousand frames, dropped on other threads: every picture once, no buffer filled while it is held, and not one
//! descriptor, mapping or page more at the end than at the start. They come from all vivids at once, since one alone makes
//! 50 a second.

mod common;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use common::{PATIENCE, SMALL, fast, frame, still};
use dmaframe_core::{ContentId, Frame};
use dmaframe_testkit::{Device, Leaks, find_all, rss_kib};
use dmaframe_v4l2::{PixelFormat, Stats};

const FRAMES: u64 = 10_000;
/// Every buffer has been mapped once by then.
const WARM: u64 = 100;

/// Frames of one camera.
struct Run {
    contents: HashSet<ContentId>,
    twice: usize,
    seen: u64,
    stats: Stats,
}

/// How a capture says how far it is, and is told to end.
struct Pace {
    reached: mpsc::Sender<()>,
    end: mpsc::Receiver<()>,
}

/// Takes frames, and goes on holding the last ones until told to end. A consumer holds up to three and drops them out of order, with a look at the pixels.
fn run(path: &Path, count: u64, pace: &Pace) -> Run {
    let mut capture = fast(still(path), PixelFormat::YUYV, SMALL)
        .buffers(6)
        .start()
        .unwrap();
    let (send, receive) = mpsc::sync_channel::<Frame>(1);
    let held = Arc::new(Mutex::new(HashSet::new()));
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
    // The room is the test's own, and so not to be counted.
    let mut contents = HashSet::with_capacity(count as usize);
    let mut twice = 0;
    for n in 0..count {
        let frame = frame(&mut capture);
        if frame.as_dmabuf().is_some() && !held.lock().unwrap().insert(frame.buffer_id()) {
            twice += 1;
        }
        contents.insert(frame.content_id());
        send.send(frame).unwrap();
        if n == WARM {
            pace.reached.send(()).unwrap();
        }
    }
    pace.reached.send(()).unwrap();
    let _ = pace.end.recv();
    drop(send);
    let seen = consumer.join().unwrap();
    Run {
        contents,
        twice,
        seen,
        stats: capture.stats(),
    }
}

#[test]
fn ten_thousand_frames_dropped_elsewhere_leave_nothing_behind() {
    need_vivid!();
    let paths = find_all(Device::Capture("vivid"));
    let each = FRAMES.div_ceil(paths.len() as u64);
    let before = Leaks::now();
    let start = std::time::Instant::now();
    let ((steady, rss), (later, rss_later), runs) = std::thread::scope(|scope| {
        let (mut threads, mut reached, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for path in &paths {
            let ((tell, told), (end, ended)) = (mpsc::channel(), mpsc::channel());
            let pace = Pace {
                reached: tell,
                end: ended,
            };
            threads.push(scope.spawn(move || run(path, each, &pace)));
            reached.push(told);
            ends.push(end);
        }
        let look = || {
            for told in &reached {
                told.recv().expect("a capture has failed");
            }
            (Leaks::now(), rss_kib())
        };
        let (steady, later) = (look(), look());
        drop(ends);
        let runs: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
        (steady, later, runs)
    });
    let took = start.elapsed();
    let sum = |of: fn(&Run) -> u64| runs.iter().map(of).sum::<u64>();
    let all = sum(|run| run.seen);
    eprintln!(
        "{all} frames of {} cameras in {:.1} s ({:.1} a second), {} detached, {} gaps, {} -> {} descriptors, {} -> {} mappings, \
         rss {rss} -> {rss_later} KiB",
        paths.len(),
        took.as_secs_f64(),
        all as f64 / took.as_secs_f64(),
        sum(|run| run.stats.detached),
        sum(|run| run.stats.gaps),
        steady.fds.len(),
        later.fds.len(),
        steady.mappings,
        later.mappings,
    );
    for run in &runs {
        assert_eq!(run.twice, 0, "a buffer was delivered while somebody held it");
        assert_eq!(run.seen, each);
        assert_eq!(run.stats.delivered + run.stats.detached, each);
        assert_eq!((run.stats.errors, run.stats.short), (0, 0));
    }
    assert!(all >= FRAMES);
    let contents: HashSet<_> = runs.iter().flat_map(|run| &run.contents).collect();
    assert_eq!(contents.len() as u64, all, "a picture came twice");
    assert_eq!(
        (steady.fds.len(), steady.mappings),
        (later.fds.len(), later.mappings)
    );
    assert!(
        rss_later < rss + 1024,
        "resident memory grew from {rss} to {rss_later} KiB"
    );
    before.check();
}
