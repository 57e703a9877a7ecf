//! What the driver loses, damages or refuses is counted or told, and the stream goes on.

mod common;

use common::{PATIENCE, SMALL, alone, fast, frame, next, steady, still};
use dmaframe_testkit::streams::error_of;
use dmaframe_v4l2::{Capture, Error, PixelFormat};
use rustix::io::Errno;

fn capture(path: &std::path::Path) -> Capture {
    steady(still(path)).start().unwrap()
}

/// Vivid does it once.
fn inject(capture: &Capture, what: &str) {
    capture.device().press_control(what).unwrap();
}

#[test]
fn every_missing_sequence_number_is_a_gap() {
    let path = need_vivid!();
    let _alone = alone();
    let mut capture = capture(&path);
    capture
        .device()
        .set_control("Percentage of Dropped Buffers", 50)
        .unwrap();
    let first = frame(&mut capture).meta().sequence.unwrap();
    let before = capture.stats().gaps;
    let mut last = first;
    for _ in 0..40 {
        last = frame(&mut capture).meta().sequence.unwrap();
    }
    capture
        .device()
        .set_control("Percentage of Dropped Buffers", 0)
        .unwrap();
    let gaps = capture.stats().gaps - before;
    assert!(gaps > 5, "half of them are dropped, {gaps} were counted");
    assert_eq!(last - first, 40 + gaps);
}

#[test]
fn a_damaged_buffer_is_not_delivered() {
    let path = need_vivid!();
    let _alone = alone();
    let mut capture = capture(&path);
    drop(frame(&mut capture));
    inject(&capture, "Inject V4L2_BUF_FLAG_ERROR");
    for _ in 0..10 {
        drop(frame(&mut capture));
    }
    assert_eq!(capture.stats().errors, 1);
    assert_eq!(capture.hop().counts().dropped, 1);
    let waiting = u32::from(capture.try_next().unwrap().is_some());
    assert_eq!(
        capture.queued(),
        capture.slots() - waiting as usize,
        "and its buffer went back"
    );
}

#[test]
fn a_sequence_that_wraps_in_the_driver_goes_on_in_the_frames() {
    let path = need_vivid!();
    let _alone = alone();
    let device = still(&path);
    device.set_control("Wrap Sequence Number", 1).unwrap();
    let mut capture = steady(device).start().unwrap();
    // Vivid then begins 128 frames before the wrap.
    let mut last = frame(&mut capture).meta().sequence.unwrap();
    for _ in 0..140 {
        let sequence = frame(&mut capture).meta().sequence.unwrap();
        assert!(sequence > last && sequence - last < 100, "{last} then {sequence}");
        last = sequence;
    }
    capture.stop().unwrap();
    capture.device().set_control("Wrap Sequence Number", 0).unwrap();
    assert!(last > u64::from(u32::MAX), "{last} is past the wrap");
    assert!(capture.stats().gaps < 20, "{:?}", capture.stats());
}

#[test]
fn a_refused_requeue_is_told_and_tried_again() {
    let path = need_vivid!();
    let _alone = alone();
    let mut capture = capture(&path);
    let held = frame(&mut capture);
    inject(&capture, "Inject VIDIOC_QBUF Error");
    drop(held);
    let error = error_of(PATIENCE, || capture.next(PATIENCE));
    assert!(
        matches!(
            error,
            Error::Request {
                request: "VIDIOC_QBUF",
                errno: Errno::INVAL,
                ..
            }
        ),
        "{error}"
    );
    for _ in 0..10 {
        drop(frame(&mut capture));
    }
    // The last one is on its way back.
    assert!(capture.try_next().is_ok());
    assert!(capture.queued() >= capture.slots() - 1);
}

#[test]
fn a_start_that_fails_leaves_the_device_free() {
    let path = need_vivid!();
    let _alone = alone();
    for call in ["VIDIOC_STREAMON", "VIDIOC_REQBUFS"] {
        let device = still(&path);
        device.press_control(&*format!("Inject {call} Error")).unwrap();
        let error = fast(device, PixelFormat::YUYV, SMALL)
            .start()
            .expect_err("injected");
        assert!(
            matches!(error, Error::Request { request, .. } if request == call),
            "{error}"
        );
    }
    drop(frame(&mut capture(&path)));
}

#[test]
fn a_driver_that_gives_up_can_be_started_again() {
    let path = need_vivid!();
    let _alone = alone();
    let mut capture = capture(&path);
    drop(frame(&mut capture));
    inject(&capture, "Inject Fatal Streaming Error");
    let error = error_of(PATIENCE, || next(&mut capture));
    assert!(
        matches!(error, Error::Request { errno: Errno::IO, .. }),
        "{error}"
    );
    capture.stop().unwrap();
    capture.start().unwrap();
    drop(frame(&mut capture));
}
