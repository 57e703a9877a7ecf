//! One camera, a fast and a slow consumer, ten thousand frames as fast as they can be made: nobody waits for anybody, no
//! picture is torn, and nothing is left behind.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{PATIENCE, linear, number, paint, watched};
use dmaframe_core::{Size, Starvation};
use dmaframe_pipewire::{CaptureStream, Pushed, Target, VirtualCamera};
use dmaframe_testkit::{Daemon, Leaks, rss_kib};

const FRAMES: u32 = 10_000;

#[test]
fn ten_thousand_frames_for_a_fast_and_a_slow_consumer() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let before = Leaks::now();
    let camera = VirtualCamera::builder("cam")
        .remote(daemon.remote())
        .formats(linear())
        .size(Size::new(32, 16))
        .buffers(16)
        .start()
        .unwrap();
    let consumer = |name: &str| {
        CaptureStream::builder()
            .remote(daemon.remote())
            .name(name)
            .target(Target::Unlinked)
            .formats(linear())
            .budget(2, Starvation::Drop)
            .start()
            .unwrap()
    };
    let (fast, slow) = (Arc::new(consumer("fast")), Arc::new(consumer("slow")));
    daemon.link("cam", "fast");
    assert!(watched(&camera).modifier().is_linear());
    daemon.link("cam", "slow");

    let stop = Arc::new(AtomicBool::new(false));
    let reader = |stream: &Arc<CaptureStream>, pause: Duration, keep: usize| {
        let (stream, stop) = (Arc::clone(stream), Arc::clone(&stop));
        std::thread::spawn(move || {
            let (mut seen, mut torn, mut last, mut backwards) = (0u32, 0u32, 0, 0);
            let mut kept = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let Some(frame) = stream.next_frame(Duration::from_millis(100)).unwrap() else {
                    continue;
                };
                assert!(frame.as_dmabuf().is_some());
                std::thread::sleep(pause);
                // Looked at as late as possible: whoever writes too early has had the time to.
                match number(&frame) {
                    None => torn += 1,
                    Some(n) => {
                        backwards += u32::from(n < last);
                        last = n;
                    }
                }
                seen += 1;
                kept.push(frame);
                if kept.len() > keep {
                    let oldest = kept.remove(0);
                    torn += u32::from(number(&oldest).is_none());
                }
            }
            (seen, torn, backwards)
        })
    };
    let readers = [
        reader(&fast, Duration::ZERO, 1),
        reader(&slow, Duration::from_millis(20), 3),
    ];

    let start = Instant::now();
    let (mut steady, mut rss, mut longest) = (None, 0, Duration::ZERO);
    for n in 1..=FRAMES {
        let waited = Instant::now();
        let mut frame = camera.acquire(PATIENCE).unwrap();
        longest = longest.max(waited.elapsed());
        paint(&mut frame, n);
        assert_eq!(camera.push(frame, Duration::ZERO).unwrap(), Pushed::ZeroCopy);
        if n == 2000 {
            steady = Some(Leaks::now());
            rss = rss_kib();
        }
    }
    let took = start.elapsed();
    let (later, rss_later) = (Leaks::now(), rss_kib());
    stop.store(true, Ordering::Relaxed);
    let [
        (fast_seen, fast_torn, fast_back),
        (slow_seen, slow_torn, slow_back),
    ] = readers.map(|r| r.join().unwrap());
    let stats = camera.stats();
    eprintln!(
        "{FRAMES} frames in {:.1} s, longest wait {longest:?}, {stats:?}\nfast {fast_seen} {:?}\nslow {slow_seen} {:?}\nrss {rss} -> {rss_later} KiB",
        took.as_secs_f64(),
        fast.stats(),
        slow.stats(),
    );
    assert_eq!((fast_torn, slow_torn), (0, 0), "torn frames");
    assert_eq!(
        (fast_back, slow_back),
        (0, 0),
        "pictures that came after newer ones"
    );
    assert!(fast_seen > FRAMES / 20, "the slow consumer holds the fast one up");
    assert!(slow_seen > 10, "the fast consumer starves the slow one");
    let steady = steady.unwrap();
    assert_eq!(
        steady.fds.len(),
        later.fds.len(),
        "descriptors in mid-stream and at the end"
    );
    // A consumer maps a buffer when it sees it for the first time, and the slow one may see the last one late.
    assert!(
        later.mappings <= steady.mappings + 16,
        "{} mappings, {} before",
        later.mappings,
        steady.mappings
    );
    assert!(rss_later < rss + 2048, "resident memory grows");
    assert!(matches!(stats.copied, 0));

    drop((fast, slow, camera));
    before.check();
}
