//! Stopping, starting again, changing the size and dropping the capture, with frames in hand.

mod common;

use common::{PATIENCE, SMALL, alone, fast, frame, pixels, read_picture, steady, still, unbudgeted};
use dmaframe_core::Size;
use dmaframe_testkit::Leaks;
use dmaframe_v4l2::{Capture, Device, Error, FormatRequest, PixelFormat};

#[test]
fn a_frame_is_readable_after_its_capture_is_gone() {
    let path = need_vivid!();
    let _alone = alone();
    let before = Leaks::now();
    let mut capture = fast(still(&path), PixelFormat::NV12, SMALL).start().unwrap();
    let held = [frame(&mut capture), frame(&mut capture)];
    let pictures = held.each_ref().map(pixels);
    drop(capture);
    // Another stream of the same device writes its own buffers.
    let mut other = fast(still(&path), PixelFormat::NV12, SMALL).start().unwrap();
    for _ in 0..8 {
        drop(frame(&mut other));
    }
    drop(other);
    assert_eq!(held.each_ref().map(pixels), pictures);
    drop(held);
    before.check();
}

#[test]
fn a_stopped_stream_starts_again_and_gets_held_buffers_back_later() {
    let path = need_vivid!();
    let _alone = alone();
    let mut capture = steady(still(&path)).start().unwrap();
    let slots = capture.slots();
    let held = frame(&mut capture);
    let picture = pixels(&held);
    let sequence = held.meta().sequence.unwrap();
    capture.stop().unwrap();
    capture.stop().unwrap();
    assert!(!capture.is_streaming());
    assert!(matches!(capture.next(PATIENCE), Err(Error::Stopped { .. })));
    assert!(matches!(capture.try_next(), Err(Error::Stopped { .. })));

    capture.start().unwrap();
    assert_eq!(capture.queued(), slots - 1, "the held one is not queued");
    let later = frame(&mut capture);
    assert!(later.meta().sequence.unwrap() > sequence, "the count goes on");
    for _ in 0..8 {
        drop(frame(&mut capture));
    }
    assert_eq!(pixels(&held), picture, "nobody wrote into it meanwhile");
    drop((held, later));
    drop(frame(&mut capture));
    assert!(capture.try_next().is_ok());
    assert!(capture.queued() >= slots - 1);
    // Vivid itself loses one now and then when the machine is busy; counting from 0 again would be many.
    assert!(
        capture.stats().gaps < 3,
        "a restart is no gap: {:?}",
        capture.stats()
    );
}

#[test]
fn a_restart_with_every_buffer_held_waits_without_spinning() {
    let path = need_vivid!();
    let _alone = alone();
    let mut capture = unbudgeted(&path);
    let held: Vec<_> = (0..capture.slots()).map(|_| frame(&mut capture)).collect();
    capture.stop().unwrap();
    capture.start().unwrap();
    assert_eq!(capture.queued(), 0);
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    assert!(
        capture
            .next(std::time::Duration::from_millis(300))
            .unwrap()
            .is_none()
    );
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_nsec - cpu.tv_nsec;
    assert!(spent < 50_000_000, "{spent} ns of CPU for 0.3 s of waiting");
    drop(held);
    drop(frame(&mut capture));
}

#[test]
fn the_size_changes_with_frames_of_the_old_one_in_hand() {
    let path = need_vivid!();
    let _alone = alone();
    let before = Leaks::now();
    let mut capture = fast(still(&path), PixelFormat::NV12, SMALL).start().unwrap();
    let small = frame(&mut capture);
    let picture = pixels(&small);
    let large = Size::new(640, 360);
    let format = capture
        .reconfigure(FormatRequest::new(PixelFormat::YUYV, large))
        .unwrap();
    assert_eq!((format.size, format.pixel_format), (large, PixelFormat::YUYV));
    let frame_now = frame(&mut capture);
    assert_eq!(frame_now.layout().size(), large);
    assert_ne!(small.buffer_id().generation(), frame_now.buffer_id().generation());
    assert_eq!(pixels(&small), picture);
    // The old lease belongs to a slot number that now is another buffer.
    let queued = capture.queued();
    drop(small);
    drop(capture.try_next().unwrap());
    assert!(capture.queued() >= queued - 1);
    drop(frame_now);
    for _ in 0..8 {
        assert_eq!(frame(&mut capture).layout().size(), large);
    }
    drop(capture);
    before.check();
}

/// The driver says no in the middle: the capture is stopped, and the next try works.
#[test]
fn a_reconfiguration_that_fails_can_be_tried_again() {
    let path = need_vivid!();
    let _alone = alone();
    let mut capture = fast(still(&path), PixelFormat::NV12, SMALL).start().unwrap();
    let error = capture
        .reconfigure(FormatRequest::new(PixelFormat::MJPEG, SMALL))
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::FormatRefused {
                asked: PixelFormat::MJPEG,
                ..
            }
        ),
        "{error}"
    );
    assert!(!capture.is_streaming());
    assert!(capture.try_next().is_err());
    capture
        .reconfigure(FormatRequest::new(PixelFormat::YUYV, SMALL))
        .unwrap();
    assert_eq!(frame(&mut capture).fourcc(), dmaframe_core::Fourcc::YUYV);
}

#[test]
fn the_device_comes_back_free() {
    let path = need_vivid!();
    let _alone = alone();
    let mut capture = fast(still(&path), PixelFormat::NV12, SMALL).start().unwrap();
    let held = frame(&mut capture);
    let device = capture.into_device().unwrap();
    let format = device
        .set_format(FormatRequest::new(PixelFormat::YUYV, SMALL))
        .unwrap();
    drop(device);
    assert_eq!(read_picture(&path, &format).len(), 320 * 180 * 2);
    drop(held);
}

#[test]
fn a_second_handle_is_told_that_the_device_is_busy() {
    let path = need_vivid!();
    let _alone = alone();
    let mut capture = fast(still(&path), PixelFormat::NV12, SMALL).start().unwrap();
    let second = Device::open(&path).unwrap();
    let error = second
        .set_format(FormatRequest::new(PixelFormat::YUYV, SMALL))
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Busy {
                request: "VIDIOC_S_FMT",
                ..
            }
        ),
        "{error}"
    );
    let error = Capture::builder(second).start().expect_err("busy");
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert!(error.to_string().contains("fuser"), "{error}");
    drop(frame(&mut capture));
}
