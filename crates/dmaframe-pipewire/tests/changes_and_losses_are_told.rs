//! What changes, or goes, in the middle of a stream is told with a type: nothing hangs, frames in hand stay, and nothing is left
//! behind.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{PATIENCE, Producer, SMALL, camera, capture, linear, number, play, set, until};
use dmaframe_core::{Fourcc, Modifier, Size};
use dmaframe_pipewire::pod::Modifiers;
use dmaframe_pipewire::{CaptureStream, Error, Event};
use dmaframe_testkit::{Daemon, Leaks};

#[test]
fn size_and_format_change_in_mid_stream() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let before = Leaks::now();
    {
        let formats = linear().with(Fourcc::ARGB8888, Modifier::LINEAR);
        let reader = capture(&daemon, "reader").formats(formats);
        let (camera, stream, producer) = play(&daemon, camera(&daemon), reader);
        let kept = common::frame(&stream);
        let n = number(&kept);
        assert!(n.is_some());
        for (fourcc, size) in [
            (Fourcc::XRGB8888, Size::new(100, 30)),
            (Fourcc::ARGB8888, SMALL),
            (Fourcc::XRGB8888, SMALL),
        ] {
            camera
                .set_picture(set(fourcc, &[Modifier::LINEAR]), size)
                .unwrap();
            let event = until(
                &stream,
                |e| matches!(e, Event::Format(f) if (f.fourcc, f.size) == (fourcc, size)),
            );
            assert!(matches!(event, Event::Format(f) if f.modifiers == Modifiers::Fixed(Modifier::LINEAR)));
            for _ in 0..3 {
                let frame = common::frame(&stream);
                assert_eq!((frame.fourcc(), frame.layout().size()), (fourcc, size));
                assert!(number(&frame).is_some(), "a torn picture after the change");
            }
        }
        assert_eq!(number(&kept), n, "the frame of the first format");
        producer.stop();
        drop(kept);
    }
    before.check();
}

#[test]
fn a_node_that_goes_is_told_and_its_frames_stay() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let before = Leaks::now();
    {
        let (cam, stream, producer) = play(&daemon, camera(&daemon), capture(&daemon, "reader"));
        let kept = common::frame(&stream);
        let n = number(&kept);
        producer.stop();
        drop(cam);
        until(&stream, |e| matches!(e, Event::NodeRemoved { .. }));
        assert_eq!(number(&kept), n);
        // The next one of that name can be linked to the same stream.
        let cam = Arc::new(camera(&daemon).start().unwrap());
        daemon.link("cam", "reader");
        let producer = Producer::start(cam, Duration::from_millis(5));
        assert!(number(&common::frame(&stream)).is_some());
        producer.stop();
        drop(kept);
    }
    before.check();
}

#[test]
fn a_daemon_that_goes_ends_both_sides_with_an_error_and_a_new_one_serves() {
    need_pipewire!();
    let mut daemon = Daemon::bare();
    let before = Leaks::now();
    {
        let (cam, stream, producer) = play(&daemon, camera(&daemon), capture(&daemon, "reader"));
        let kept = common::frame(&stream);
        let n = number(&kept);
        daemon.restart();
        let error = common::refusal_after_frames(&stream);
        assert!(matches!(error, Error::Disconnected { .. }), "{error}");
        producer.stop();
        let error = cam.acquire(PATIENCE).unwrap_err();
        assert!(matches!(error, Error::Disconnected { .. }), "{error}");
        assert_eq!(number(&kept), n);
        drop((cam, stream));

        let (_cam, stream, producer) = play(&daemon, camera(&daemon), capture(&daemon, "reader"));
        assert!(number(&common::frame(&stream)).is_some());
        producer.stop();
    }
    before.check();
}

#[test]
fn a_stream_whose_own_node_is_removed_ends_with_an_error() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let before = Leaks::now();
    {
        let (cam, stream, producer) = play(&daemon, camera(&daemon), capture(&daemon, "reader"));
        let kept = common::frame(&stream);
        let n = number(&kept);
        let destroy = |name: &str| {
            let said = daemon.run("pw-cli", &["destroy", name]);
            assert!(said.status.success(), "{said:?}");
        };
        destroy("reader");
        let error = common::refusal_after_frames(&stream);
        assert!(matches!(error, Error::Removed), "{error}");
        destroy("cam");
        let start = Instant::now();
        let error = loop {
            match cam.acquire(PATIENCE) {
                Ok(_) => assert!(start.elapsed() < PATIENCE, "the camera goes on"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Removed), "{error}");
        let error = loop {
            match cam.next(PATIENCE) {
                Ok(told) => assert!(told.is_some(), "the camera was told nothing"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Removed), "{error}");
        producer.stop();
        assert_eq!(number(&kept), n);
        drop(kept);
    }
    before.check();
}

#[test]
fn no_daemon_is_an_error_and_not_a_hang() {
    need_pipewire!();
    // A socket on which nobody ever answers.
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let start = Instant::now();
    let error = CaptureStream::builder()
        .remote(ours.into())
        .timeout(Duration::from_millis(300))
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(start.elapsed() < PATIENCE);
}
