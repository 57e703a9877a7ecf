//! 10 000 frames out of a pipeline, and 10 000 through both directions, while consumers hold some: descriptors, mappings
//! and memory stay where they were.

mod common;

use std::collections::VecDeque;

use common::{LONG, device, into_sink, next, patient, pushing, settled, small_pool, stamped, straight};
use dmaframe_core::Frame;
use dmaframe_gstreamer::{FrameSink, Received};
use dmaframe_testkit::{Device, Leaks, find_all, need, rss_kib};

const FRAMES: u64 = 10_000;
const WARM: u64 = 500;

/// Descriptors, mappings and memory after the warm-up.
#[derive(Default)]
struct Steady(Option<(Leaks, u64)>);

impl Steady {
    fn look(&mut self, now: bool) {
        if now {
            self.0 = Some((Leaks::now(), rss_kib()));
        }
    }

    /// That it is still the same.
    fn check(self) {
        let (leaks, rss) = self.0.expect("warmed up");
        let (now, rss_now) = (Leaks::now(), rss_kib());
        println!(
            "{} -> {} descriptors, {} -> {} mappings, rss {rss} -> {rss_now} KiB",
            leaks.fds.len(),
            now.fds.len(),
            leaks.mappings,
            now.mappings,
        );
        // What is queued and held varies by a few, so buffers may come to be that were not there: count kinds, not lists.
        assert!(
            now.fds.len() <= leaks.fds.len() + 8,
            "{:?} then {:?}",
            leaks.fds,
            now.fds
        );
        assert!(
            now.mappings <= leaks.mappings + 8,
            "{} then {} mappings",
            leaks.mappings,
            now.mappings
        );
        let grown = rss_now.saturating_sub(rss);
        assert!(grown < 4096, "{grown} KiB more");
    }
}

/// Takes frames, holding the last few, and compares the state after the warm-up with that at the end.
fn take(sink: &mut FrameSink, mut each: impl FnMut(u64)) -> u64 {
    let mut held = VecDeque::new();
    let mut state = Steady::default();
    for index in 0..FRAMES {
        each(index);
        let frame = next(sink);
        assert!(matches!(frame, Frame::Dmabuf(_)), "frame {index}: {frame:?}");
        held.push_back(frame);
        if held.len() > 3 {
            held.pop_front();
        }
        state.look(index == WARM);
    }
    state.check();
    sink.stats().delivered
}

#[test]
fn both_directions() {
    need!(Device::Udmabuf);
    let empty = Leaks::now();
    out_of_a_pipeline(60);
    let warm = Leaks::now();
    println!(
        "{} descriptors of GStreamer's own",
        warm.fds.len() - empty.fds.len()
    );

    assert_eq!(out_of_a_pipeline(i32::try_from(FRAMES + 100).unwrap()), FRAMES);
    settled(&warm);
    through_both();
    settled(&warm);
}

fn out_of_a_pipeline(count: i32) -> u64 {
    let mut sink = patient(2).build().unwrap();
    let source = format!(
        "videotestsrc pattern=solid-color num-buffers={count} ! video/x-raw,format=NV12,width=64,height=48"
    );
    let running = into_sink(&source, &sink);
    running.play();
    let delivered = if count > 1000 {
        let delivered = take(&mut sink, |_| {});
        assert_eq!(
            sink.hop().counts().cpu_bytes,
            0,
            "upstream wrote into our pool: {}",
            sink.hop().counts()
        );
        delivered
    } else {
        while let Ok(Received::Frame(_)) = sink.next(LONG) {}
        sink.stats().delivered
    };
    drop(running);
    delivered
}

fn through_both() {
    let source = pushing()
        .queue(2, dmaframe_gstreamer::Pacing::Wait)
        .build()
        .unwrap();
    let mut sink = patient(4).hold(8).build().unwrap();
    let running = straight(&source, &sink);
    let pool = small_pool(8);
    let mut buffers = std::collections::HashSet::new();
    take(&mut sink, |index| {
        let frame = stamped(&pool, index);
        buffers.insert(frame.buffer_id());
        source.push(frame, LONG).unwrap();
    });
    assert_eq!(sink.stats().detached, 0);
    assert_eq!(buffers.len(), 8, "each slot has one id");
    assert_eq!((source.stats().pushed, source.stats().copied), (FRAMES, 0));
    drop(running);
    drop((source, sink));
    assert_eq!(pool.outstanding(), 0, "every lease has run");
}

/// Ten times the consumers' share is held: what the camera makes goes on coming.
#[test]
fn held_frames_do_not_freeze_a_camera() {
    let camera = need!(Device::Capture("vivid"));
    let mut sink = FrameSink::builder().hold(3).build().unwrap();
    let source = format!("v4l2src io-mode=dmabuf device={}", device(&camera));
    let running = into_sink(
        &format!("{source} ! video/x-raw,format=YUY2,width=320,height=180"),
        &sink,
    );
    running.play();
    let held: Vec<_> = (0..30).map(|_| next(&mut sink)).collect();
    let stats = sink.stats();
    assert_eq!(stats.delivered, 30);
    assert!(stats.detached >= 27, "{stats:?}");
    assert!(held.iter().filter(|frame| frame.as_dmabuf().is_some()).count() <= 3);
    let sequences: Vec<_> = held.iter().map(|frame| frame.meta().sequence.unwrap()).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    drop(held);
    assert!(next(&mut sink).as_dmabuf().is_some(), "shared again");
    drop(running);
}

/// From all vivids at once, since one alone makes 50 pictures a second.
#[test]
fn ten_thousand_from_cameras() {
    need!(Device::Capture("vivid"));
    let cameras = find_all(Device::Capture("vivid"));
    let each = FRAMES.div_ceil(cameras.len() as u64);
    let sinks = |_| {
        let sink = patient(8).hold(9);
        sink.build().unwrap()
    };
    let capture = |sinks: &mut Vec<FrameSink>, count: u64| {
        let start = |(camera, sink): (&std::path::PathBuf, &FrameSink)| {
            let source = format!("v4l2src io-mode=dmabuf device={}", device(camera));
            let caps = "video/x-raw,format=YUY2,width=320,height=180,framerate=60/1";
            let running = into_sink(&format!("{source} ! {caps}"), sink);
            running.play();
            running
        };
        let running: Vec<_> = cameras.iter().zip(sinks.iter()).map(start).collect();
        let mut state = Steady::default();
        let mut held = VecDeque::new();
        for index in 0..count.div_ceil(8) {
            for sink in sinks.iter_mut() {
                // As many as wait: each wake-up is dear in a guest.
                for _ in 0..8 {
                    let frame = next(sink);
                    assert!(matches!(frame, Frame::Dmabuf(_)), "frame {index}: {frame:?}");
                    held.push_back(frame);
                    if held.len() > 3 * cameras.len() {
                        held.pop_front();
                    }
                }
            }
            state.look(index == WARM / 80);
        }
        state.check();
        running
    };
    // What GStreamer opens once and keeps.
    drop(capture(&mut cameras.iter().map(sinks).collect(), WARM / 10 + 1));
    let warm = Leaks::now();
    let mut sinks: Vec<_> = cameras.iter().map(sinks).collect();
    let running = capture(&mut sinks, each);
    let counts: Vec<_> = sinks.iter().map(|sink| sink.hop().counts()).collect();
    for counts in &counts {
        assert_eq!(
            (counts.cpu_bytes, counts.zero_copy),
            (0, counts.frames),
            "{counts}"
        );
    }
    assert!(counts.iter().map(|counts| counts.frames).sum::<u64>() >= FRAMES);
    drop((running, sinks));
    settled(&warm);
}
