//! A stream is worked on by one thread: where configuration has the library call on another, it ends, and says so.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{PATIENCE, Producer, SMALL, camera, capture, linear, refusal, sys::set_env};
use dmaframe_pipewire::{Error, VirtualCamera};
use dmaframe_testkit::Daemon;

/// The only test of its binary: it changes the environment.
#[test]
fn a_stream_that_configuration_moves_to_another_thread_ends_with_an_error() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let cam = Arc::new(camera(&daemon).start().unwrap());
    let _watcher = capture(&daemon, "watcher").start().unwrap();
    // As rules for streams in client.conf would.
    set_env("PIPEWIRE_PROPS", "{ node.loop.class = data.rt }");
    let stream = capture(&daemon, "reader").start().unwrap();
    let moved = VirtualCamera::builder("moved").remote(daemon.remote());
    let moved = Arc::new(moved.formats(linear()).size(SMALL).start().unwrap());
    set_env("PIPEWIRE_PROPS", "");

    daemon.link("cam", "reader");
    let producer = Producer::start(cam.clone(), Duration::from_millis(5));
    let error = refusal(&stream);
    assert!(matches!(error, Error::Thread), "{error}");
    producer.stop();

    daemon.link("moved", "watcher");
    let producer = Producer::start(moved.clone(), Duration::from_millis(5));
    let error = loop {
        match moved.next(PATIENCE) {
            Ok(told) => assert!(told.is_some(), "the camera goes on"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Thread), "{error}");
    producer.stop();
}
