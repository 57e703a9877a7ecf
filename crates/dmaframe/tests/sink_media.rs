//! Sinks that have others behind them: a recording that plays, and a virtual camera that somebody watches, at once.

mod common;

use std::time::Duration;

use dmaframe::alloc::{FramePool, Request};
use dmaframe::pipewire::{CaptureStream, Event, Target};
use dmaframe::report::PathReport;
use dmaframe::sink::{self, Error, Fanout, Opening, Taken};
use dmaframe::source::{Next, Source, Which, Wish};
use dmaframe::{ColorInfo, Fourcc, Frame, Size};
use dmaframe_testkit::{Daemon, Device, need};

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

    let watcher = std::thread::spawn({
        let remote = daemon.remote();
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
                    Some(Event::Frame(frame)) => seen.push(frame.as_dmabuf().is_some()),
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
    for n in 0..60 {
        assert!(sinks.take(&grey(&pool, 40 + n)).is_empty());
        std::thread::sleep(Duration::from_millis(10));
    }
    let done: Vec<_> = sinks.finish().into_iter().map(Result::unwrap).collect();
    let seen = watcher.join().unwrap();
    println!("{}\n{}\n{} seen", done[0], done[1], seen.len());
    assert!(seen.len() >= 5 && seen.iter().all(|dmabuf| *dmabuf), "{seen:?}");
    assert_eq!((done[0].frames, done[0].dropped), (60, 0));
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
    assert_eq!(played, 60);
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
    assert!(error.starts_with("the pictures became NV12 640x360"), "{error}");
    assert!(other.is_unique());
    assert_eq!(recording.finish().unwrap().frames, 1);
    std::fs::remove_file(file).unwrap();
}
