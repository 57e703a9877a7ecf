//! Sinks that have others behind them: a recording that plays, and a virtual camera that somebody watches, at once.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dmaframe::alloc::{FramePool, Request};
use dmaframe::pipewire::{CaptureStream, Event, Target};
use dmaframe::report::PathReport;
use dmaframe::sink::{self, Error, Fanout, Opening, Taken};
use dmaframe::source::{Next, Source, Which, Wish};
use dmaframe::{ColorInfo, Fence, Fourcc, Frame, Size, SyncFile};
use dmaframe_testkit::{Daemon, Device, SwSync, need};

/// A wait that reaches it is a hang.
const LONG: Duration = Duration::from_secs(30);
const SIZE: Size = Size::new(320, 180);

/// A grey picture in one of the pool's dma-bufs.
fn grey(pool: &FramePool, luma: u8) -> Frame {
    let mut frame = pool.acquire(LONG).unwrap();
    let mut view = frame.map_write(LONG).unwrap();
    let mut bytes = vec![luma; (SIZE.width * SIZE.height) as usize];
    bytes.resize(bytes.len() * 3 / 2, 128);
    view.copy_from_tight(&bytes).unwrap();
    drop(view);
    frame.meta_mut().unwrap().color = ColorInfo::BT709;
    frame
}

fn pool(size: Size) -> FramePool {
    FramePool::builder(Request::new(Fourcc::NV12, size))
        .slots(8)
        .build()
        .unwrap()
}

// One after the other: they share the daemon's name in the environment.
#[test]
fn a_recording_plays_and_a_virtual_camera_is_watched_at_once_and_neither_copies() {
    need!(Device::Program("pipewire"));
    need!(Device::Udmabuf);
    let daemon = Daemon::bare();
    for name in ["XDG_RUNTIME_DIR", "PIPEWIRE_RUNTIME_DIR"] {
        common::sys::set_env(name, daemon.dir().as_os_str());
    }
    common::init_gstreamer();
    let pool = pool(SIZE);
    let first = grey(&pool, 40);
    let file = std::env::temp_dir().join(format!("dmaframe-sink-{}.mkv", std::process::id()));
    let opening = Opening::of(&first).buffers(pool.buffers());

    let unknown = sink::record("a.txt", &opening, &mut Vec::new()).err().unwrap();
    assert!(matches!(unknown, Error::Gstreamer(_)), "{unknown}");
    let mut notes = Vec::new();
    // As many as the encoder takes, and no longer: every picture of this test is to be in the file.
    let patient = opening.clone().patience(LONG);
    let recording = match sink::record(&file, &patient, &mut notes) {
        Ok(recording) => recording,
        Err(error) => {
            dmaframe_testkit::skip(&format!("no encoder here: {error}"));
            return;
        }
    };
    assert!(
        notes.last().is_some_and(|note| note.starts_with("recording ")),
        "{notes:?}"
    );
    let mut camera = sink::virtual_camera("sink", &opening).unwrap();
    assert_eq!(camera.take(&first).unwrap(), Taken::Dropped("nobody is watching"));

    let count = Arc::new(AtomicU32::new(0));
    let watcher = std::thread::spawn({
        let (remote, count) = (daemon.remote(), Arc::clone(&count));
        move || {
            let capture = CaptureStream::builder()
                .remote(remote)
                .name("watcher")
                .target(Target::Unlinked)
                .start()
                .unwrap();
            let mut seen = Vec::new();
            loop {
                match capture.next(LONG).unwrap() {
                    Some(Event::Frame(frame)) => {
                        seen.push(frame.as_dmabuf().is_some());
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(Event::Unlinked | Event::NodeRemoved { .. }) | None => return seen,
                    Some(_) => {}
                }
            }
        }
    });
    daemon.link("sink", "watcher");
    let mut sinks = Fanout::new();
    sinks.push(recording);
    sinks.push(camera);
    drop(first);
    let path = PathReport::new();
    sinks.report(&path);
    // Until both have had some, however slow the machine is.
    let (start, mut pushed) = (Instant::now(), 0_u64);
    while pushed < 60 || count.load(Ordering::Relaxed) < 5 {
        assert!(start.elapsed() < LONG, "the watcher sees nothing");
        assert!(sinks.take(&grey(&pool, 40 + (pushed % 60) as u8)).is_empty());
        pushed += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    let done: Vec<_> = sinks.finish().into_iter().map(Result::unwrap).collect();
    let seen = watcher.join().unwrap();
    println!("{}\n{}\n{} seen", done[0], done[1], seen.len());
    assert!(seen.len() >= 5 && seen.iter().all(|dmabuf| *dmabuf), "{seen:?}");
    assert_eq!((done[0].frames, done[0].dropped), (pushed, 0));
    assert_eq!(done[1].copied, Some(0));
    let bytes: Vec<_> = path.counts().iter().map(|hop| hop.cpu_bytes).collect();
    assert_eq!(bytes, [0, 0], "{path}");
    assert!(done[1].frames >= seen.len() as u64);

    let mut source = Source::open(&Wish::new(Which::File(file.clone())), &mut Vec::new()).unwrap();
    let mut played = 0;
    loop {
        match source.next(LONG) {
            Next::Frame(frame) => {
                assert_eq!(frame.layout().size(), SIZE);
                played += 1;
            }
            Next::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(played, pushed);
    std::fs::remove_file(file).unwrap();

    a_picture_to_be_copied_that_is_not_finished_is_missed_and_ends_no_virtual_camera(&daemon);
}

fn a_picture_to_be_copied_that_is_not_finished_is_missed_and_ends_no_virtual_camera(daemon: &Daemon) {
    let (pool, timeline) = (pool(SIZE), SwSync::open(&need!(Device::SwSync)).unwrap());
    let mut frame = grey(&pool, 99);
    let mut camera = sink::virtual_camera("copied", &Opening::of(&frame).framerate(10, 1)).unwrap();
    let capture = CaptureStream::builder()
        .remote(daemon.remote())
        .name("copies")
        .target(Target::Unlinked)
        .start()
        .unwrap();
    daemon.link("copied", "copies");
    // Until one arrives: what is sent before the consumer is in the graph's cycle is nobody's. It takes what it gets, so that
    // there is a free buffer again.
    let (start, mut copied) = (Instant::now(), false);
    while !matches!(
        capture.next(Duration::from_millis(10)).unwrap(),
        Some(Event::Frame(_))
    ) {
        assert!(start.elapsed() < LONG, "nobody watches");
        copied |= matches!(camera.take(&frame).unwrap(), Taken::Copied(_));
    }
    assert!(copied);
    frame.acquire_after(fence(&timeline, 1)).unwrap();
    let start = Instant::now();
    let missed = loop {
        match camera.take(&frame).unwrap() {
            Taken::Dropped("consumers hold all buffers") if start.elapsed() < LONG => {}
            other => break other,
        }
    };
    assert_eq!(missed, Taken::Dropped("the picture was not finished in time"));
    timeline.advance(1).unwrap();
    assert!(matches!(camera.take(&frame).unwrap(), Taken::Copied(_)));

    // Nobody has this one either: it is missed where the others are counted.
    let before = camera.hop().counts().dropped;
    let other = self::pool(Size::new(640, 360)).acquire(LONG).unwrap();
    let missed = camera.take(&other).unwrap();
    assert_eq!(
        missed,
        Taken::Dropped("the picture changed: consumers negotiate again")
    );
    assert_eq!(camera.hop().counts().dropped, before + 1);
}

fn fence(timeline: &SwSync, value: u32) -> Fence {
    SyncFile::new(timeline.fence(value).unwrap()).unwrap().into()
}

#[test]
fn a_recording_beside_a_preview_waits_one_frames_time_for_a_gpus_picture_and_goes_on_without_it() {
    common::init_gstreamer();
    need!(Device::Udmabuf);
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let pool = pool(SIZE);
    let first = grey(&pool, 99);
    let file = std::env::temp_dir().join(format!("dmaframe-sink-{}-c.mkv", std::process::id()));
    // Without patience, as beside others; a frame's time is long, so that a slow machine is in time.
    let opening = Opening::of(&first).framerate(1, 1);
    let Ok(recording) = sink::record(&file, &opening, &mut Vec::new()) else {
        dmaframe_testkit::skip("no encoder here");
        return;
    };
    let mut sinks = Fanout::new();
    sinks.push(recording);
    let mut take = |frame: &Frame| {
        let failed = sinks.take(frame);
        assert!(failed.is_empty(), "{}", failed[0]);
    };
    take(&first);
    let pending = |value| {
        let mut frame = grey(&pool, 40);
        frame.acquire_after(fence(&timeline, value)).unwrap();
        frame
    };
    // Finished while it is waited for.
    let soon = pending(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            timeline.advance(1).unwrap();
        });
        take(&soon);
    });
    // Not finished in time, and never.
    let late = pending(2);
    let start = Instant::now();
    take(&late);
    assert!(
        start.elapsed() >= Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    timeline.advance(1).unwrap();
    let failed = pending(3);
    drop(timeline);
    take(&failed);
    take(&grey(&pool, 50));
    let done = sinks.finish().pop().unwrap().unwrap();
    assert_eq!((done.frames, done.dropped), (3, 2), "{done}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_recordings_pictures_cannot_change_and_the_frame_is_still_the_callers() {
    common::init_gstreamer();
    need!(Device::Udmabuf);
    let (small, big) = (pool(SIZE), pool(Size::new(640, 360)));
    let first = grey(&small, 99);
    let file = std::env::temp_dir().join(format!("dmaframe-sink-{}-b.mkv", std::process::id()));
    let Ok(mut recording) = sink::record(&file, &Opening::of(&first), &mut Vec::new()) else {
        dmaframe_testkit::skip("no encoder here");
        return;
    };
    recording.take(&first).unwrap();
    let other = big.acquire(LONG).unwrap();
    let error = recording.take(&other).unwrap_err().to_string();
    assert!(error.contains("NV12 640x360"), "{error}");
    assert!(other.is_unique());
    assert_eq!(recording.finish().unwrap().frames, 1);
    std::fs::remove_file(file).unwrap();
}
