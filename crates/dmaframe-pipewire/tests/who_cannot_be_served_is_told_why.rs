//! A consumer whose format or modifiers a camera cannot make: both sides are told why, or it gets the picture another way, and
//! the others are not concerned.

mod common;

use std::sync::Arc;

use common::{SMALL, camera, capture, number, play, refusal, refused, serves, set};
use dmaframe_core::{Fourcc, Modifier};
use dmaframe_pipewire::{CameraEvent, Error};
use dmaframe_testkit::{Daemon, Leaks};

/// Nobody here makes this one.
const TILED: Modifier = Modifier(0x0100_0000_0000_0004);

#[test]
fn modifiers_that_cannot_be_made_are_refused_with_the_reason() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let before = Leaks::now();
    {
        // The camera believes that it could: its allocator knows better.
        let formats = set(Fourcc::XRGB8888, &[Modifier::LINEAR, TILED]);
        let cam = Arc::new(camera(&daemon).formats(formats).start().unwrap());
        let stream = capture(&daemon, "tiled")
            .formats(set(Fourcc::XRGB8888, &[TILED]))
            .start()
            .unwrap();
        daemon.link("cam", "tiled");
        let refused = refused(&cam);
        assert!(matches!(refused, Error::NoModifier { .. }), "{refused}");
        assert!(refused.to_string().contains("INTEL"), "{refused}");
        let reason = cam.hop().counts().reason.unwrap();
        assert!(reason.contains("a consumer takes"), "{reason}");
        assert!(cam.layout().is_none(), "{:?}", cam.layout());
        let error = refusal(&stream);
        assert!(matches!(error, Error::NoCommonFormat { .. }), "{error}");
        assert!(error.to_string().contains("INTEL"), "{error}");
        drop(stream);
        // Others are not concerned.
        serves(&daemon, &cam, "linear");
    }
    before.check();
}

#[test]
fn a_consumer_of_another_format_is_told_and_the_camera_lives() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let cam = Arc::new(camera(&daemon).start().unwrap());
    let stream = capture(&daemon, "nv12")
        .formats(set(Fourcc::NV12, &[Modifier::LINEAR]))
        .start()
        .unwrap();
    daemon.link("cam", "nv12");
    let error = refusal(&stream);
    assert!(matches!(error, Error::NoCommonFormat { .. }), "{error}");
    drop(stream);
    serves(&daemon, &cam, "right");
}

#[test]
fn a_camera_that_can_make_no_dma_bufs_is_read_from_shared_memory_in_the_same_format() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let nowhere = dmaframe_alloc::Udmabuf::at("/nonexistent");
    let (cam, stream, producer) = play(
        &daemon,
        camera(&daemon).allocator(nowhere),
        capture(&daemon, "reader"),
    );
    let frame = common::frame(&stream);
    assert!(frame.as_dmabuf().is_none() && number(&frame).is_some());
    assert_eq!((frame.fourcc(), frame.layout().size()), (Fourcc::XRGB8888, SMALL));
    let refused = |event| matches!(event, CameraEvent::Refused(Error::NoModifier { .. }));
    assert!(
        std::iter::from_fn(|| cam.try_next().unwrap()).any(refused),
        "the reason is told"
    );
    producer.stop();
}
