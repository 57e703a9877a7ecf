//! The camera is pulled out and plugged in again, round after round: one `Gone`, pictures to bridge the time, `Back`, and
//! nothing left behind. Frames in hand stay readable.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dmaframe::source::{Next, Placeholder, Source, Which, Wish};
use dmaframe::v4l2::{Device as Camera, PixelFormat};
use dmaframe::{Fourcc, Frame, Size};
use dmaframe_testkit::{Device, Leaks, need};

/// A wait that reaches it is a hang.
const LONG: Duration = Duration::from_secs(20);
const SIZE: Size = Size::new(320, 180);
const ROUNDS: u64 = 4;

/// The tests share one driver.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn driver(action: &str) {
    let file = format!("/sys/bus/platform/drivers/vivid/{action}");
    std::fs::write(&file, "vivid.0").unwrap_or_else(|error| panic!("{file}: {error}"));
}

fn frame(source: &mut Source) -> Frame {
    match source.next(LONG) {
        Next::Frame(frame) => frame,
        other => panic!("{}: {other:?}", source.describe()),
    }
}

fn pixels(frame: &Frame) -> Vec<u8> {
    frame.map_read(LONG).unwrap().to_tight().unwrap()
}

fn is_placeholder(frame: &Frame) -> bool {
    frame.meta().extensions.get::<Placeholder>().is_some()
}

/// Until the source says that the camera is gone: pictures that were on their way come first.
fn gone(source: &mut Source) -> String {
    let start = Instant::now();
    loop {
        match source.next(LONG) {
            Next::Gone(reason) => return reason,
            Next::Frame(frame) => assert!(!is_placeholder(&frame)),
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < LONG, "the stream goes on without its device");
    }
}

#[test]
fn vivid_goes_and_comes_back_round_after_round() {
    if !dmaframe_testkit::in_lab() {
        dmaframe_testkit::skip("unbinding a driver is for the lab alone");
        return;
    }
    let _alone = alone();
    let path = need!(Device::Capture("vivid"));
    let wish = Wish::new(Which::V4l2(path))
        .size(SIZE)
        .fps(60)
        .format(PixelFormat::NV12)
        .placeholder(true);
    let mut source = Source::open(&wish, &mut Vec::new()).unwrap();
    drop(frame(&mut source));
    let mut before = None;
    for round in 1..=ROUNDS {
        let (held, leased) = (frame(&mut source), frame(&mut source));
        let picture = pixels(&held);
        driver("unbind");
        let reason = gone(&mut source);
        assert!(reason.contains("unplugged"), "{reason}");
        assert!(!source.is_there());

        // Said once; then there are pictures, of its size, at its rate.
        let start = Instant::now();
        for _ in 0..30 {
            let still = frame(&mut source);
            assert!(is_placeholder(&still) && still.as_dmabuf().is_some(), "{still:?}");
            assert_eq!((still.fourcc(), still.layout().size()), (Fourcc::NV12, SIZE));
            assert!(still.meta().timestamp.is_some());
            let shown = pixels(&still);
            let (lit, all) = (shown.iter().filter(|luma| **luma == 180).count(), shown.len());
            assert!(
                (all / 100..all / 4).contains(&lit),
                "{lit} bytes of letters in {all}"
            );
        }
        assert!(
            start.elapsed() >= Duration::from_millis(29 * 1000 / 61),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(pixels(&held), picture, "a frame in hand outlives its camera");
        drop(leased);

        driver("bind");
        let start = Instant::now();
        loop {
            match source.next(LONG) {
                Next::Back => break,
                Next::Frame(frame) => assert!(is_placeholder(&frame)),
                other => panic!("{other:?}"),
            }
            assert!(start.elapsed() < LONG, "the camera is there and was not found");
        }
        assert!(source.is_there());
        for _ in 0..10 {
            let real = frame(&mut source);
            assert!(!is_placeholder(&real));
            assert_eq!((real.fourcc(), real.layout().size()), (Fourcc::NV12, SIZE));
        }
        assert_eq!(pixels(&held), picture, "and its return");
        drop(held);
        assert_eq!(source.stats().replugs, round);
        // The node's number may be another; everything else is as after the first round.
        let now = Leaks::now();
        let (fds, mappings) = before.get_or_insert((now.fds.len(), now.mappings));
        assert_eq!((now.fds.len(), now.mappings), (*fds, *mappings), "{:?}", now.fds);
    }
    let (stats, counts) = (source.stats(), source.hop().counts());
    assert_eq!(counts.cpu_bytes, 0, "{counts}");
    let shown = stats.delivered + stats.placeholders;
    assert_eq!((shown, stats.detached), (counts.frames, 0), "{counts}");
    assert!(
        stats.delivered >= 12 * ROUNDS && stats.placeholders >= 30 * ROUNDS,
        "{stats:?}"
    );
}

/// Vivid's own button takes its device away until the last descriptor closes.
#[test]
fn without_a_wish_for_placeholders_it_is_quiet_until_the_camera_is_back() {
    if !dmaframe_testkit::in_lab() {
        dmaframe_testkit::skip("disconnecting a device is for the lab alone");
        return;
    }
    let _alone = alone();
    let path = need!(Device::CaptureMplane("vivid"));
    let wish = Wish::new(Which::V4l2(path.clone())).size(SIZE).fps(60);
    let mut source = Source::open(&wish, &mut Vec::new()).unwrap();
    let held = frame(&mut source);
    Camera::open(&path).unwrap().press_control("Disconnect").unwrap();
    gone(&mut source);
    drop(held);
    let start = Instant::now();
    loop {
        match source.next(Duration::from_millis(50)) {
            Next::Back => break,
            Next::Quiet => {}
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < LONG, "not found again");
    }
    assert_eq!(frame(&mut source).layout().size(), SIZE);
    assert_eq!((source.stats().replugs, source.stats().placeholders), (1, 0));
}
