//! Frames own no object of libcamera's: whatever is dropped first, nothing crashes, leaks or is overwritten.

mod common;

use std::os::fd::AsFd;

use common::{VIMC, VIRTUAL, alone, frame, open, pixels, viewfinder};
use dmaframe_core::Frame;
use dmaframe_libcamera::{Cameras, Capture, Error};
use dmaframe_testkit::Leaks;

/// How often, where once says little. The environment can ask for more: 100 by hand.
fn rounds() -> usize {
    let wanted = std::env::var("DMAFRAME_ROUNDS").ok().and_then(|n| n.parse().ok());
    wanted.unwrap_or(6)
}

#[test]
fn frames_held_over_a_stop_keep_their_picture_and_come_back_to_the_restarted_stream() {
    let _alone = alone();
    let mut capture = viewfinder(need_camera!(VIMC), 4).start().unwrap();
    let held = frame(&mut capture);
    let (id, before) = (held.buffer_id(), pixels(&held));
    capture.stop().unwrap();
    assert!(matches!(capture.try_next(), Err(Error::Stopped { .. })));
    assert_eq!(pixels(&held), before);
    capture.start().unwrap();
    for _ in 0..4 {
        assert_ne!(frame(&mut capture).buffer_id(), id, "still held");
    }
    assert_eq!(pixels(&held), before);
    drop(held);
    assert!((0..10).any(|_| frame(&mut capture).buffer_id() == id));
    assert_eq!(capture.stats(0).errors, 0, "a stop is no error");
}

#[test]
fn a_frame_that_comes_back_while_stopped_is_used_after_the_start() {
    let _alone = alone();
    let mut capture = viewfinder(need_camera!(VIRTUAL), 4).start().unwrap();
    for _ in 0..rounds() {
        let held: Vec<Frame> = (0..2).map(|_| frame(&mut capture)).collect();
        capture.stop().unwrap();
        drop(held);
        capture.start().unwrap();
        capture.try_next().unwrap();
        assert!(capture.queued(0) > 0);
        assert!(frame(&mut capture).as_dmabuf().is_some());
    }
}

/// Everything from the manager to the frames, with a frame alive at the end.
fn round(id: &str, number: usize) -> Option<Frame> {
    let cameras = Cameras::new().unwrap();
    let camera = open(&cameras, id)?;
    // Sometimes the manager's own handle goes first.
    if number.is_multiple_of(2) {
        drop(cameras);
    }
    let mut capture = viewfinder(camera, 4).start().unwrap();
    let held = frame(&mut capture);
    match number % 3 {
        // The capture in the middle of its stream.
        0 => drop(capture),
        1 => {
            capture.stop().unwrap();
            drop(capture);
        }
        _ => assert!(capture.into_camera().unwrap().id().contains(id)),
    }
    Some(held)
}

#[test]
fn teardown_in_any_order_neither_crashes_nor_leaks() {
    let _alone = alone();
    let mut before = None;
    for (id, rounds) in [(VIRTUAL, rounds()), (VIMC, rounds().div_ceil(2))] {
        for number in 0..rounds {
            let Some(held) = round(id, number) else {
                dmaframe_testkit::skip(&format!("libcamera lists no camera {id}"));
                return;
            };
            // libcamera is gone altogether, and the picture is there, in any thread.
            let elsewhere = std::thread::spawn(move || pixels(&held).len());
            assert!(elsewhere.join().unwrap() > 0);
            // The first round loads libraries, which stay.
            before.get_or_insert_with(Leaks::now).check();
        }
    }
}

#[test]
fn a_camera_taken_back_streams_again_with_other_buffers() {
    let _alone = alone();
    let mut capture = viewfinder(need_camera!(VIRTUAL), 4).start().unwrap();
    let held = frame(&mut capture);
    let camera = capture.into_camera().unwrap();
    let mut again = viewfinder(camera, 4).start().unwrap();
    let fresh = frame(&mut again);
    assert_ne!(fresh.buffer_id(), held.buffer_id());
    drop(held);
    for _ in 0..10 {
        assert!(frame(&mut again).as_dmabuf().is_some());
    }
}

#[test]
fn a_capture_may_move_to_another_thread_and_end_there() {
    let _alone = alone();
    let mut capture = viewfinder(need_camera!(VIRTUAL), 4).start().unwrap();
    let first = frame(&mut capture);
    let other = std::thread::spawn(move || {
        let second = frame(&mut capture);
        assert!(capture.as_fd().try_clone_to_owned().is_ok());
        (second, capture.stats(0).delivered)
    });
    let (second, delivered) = other.join().unwrap();
    assert_eq!(delivered, 2);
    assert_ne!(first.content_id(), second.content_id());
    fn is_send<T: Send>() {}
    is_send::<Capture>();
}

#[test]
fn one_camera_has_one_owner_and_one_process_one_manager() {
    let _alone = alone();
    let first = need_camera!(VIRTUAL);
    let cameras = Cameras::new().unwrap();
    assert!(cameras.version().starts_with('v') || cameras.version().starts_with('0'));
    let error = cameras.open(first.id()).unwrap_err();
    assert!(
        matches!(&error, Error::Busy { camera } if camera == first.id()),
        "{error}"
    );
    let error = cameras.open("no such camera").unwrap_err();
    assert!(matches!(&error, Error::NotFound { known, .. } if known.iter().any(|id| id == first.id())));
    let id = first.id().to_owned();
    drop(first);
    drop(cameras.open(&id).unwrap());
}
