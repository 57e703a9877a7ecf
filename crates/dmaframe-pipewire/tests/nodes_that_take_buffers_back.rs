//! PipeWire's own node for a V4L2 camera fills a buffer again whoever holds it. That is seen and counted, and breaks nothing;
//! and who keeps pictures can have copies.

mod common;

use common::{PATIENCE, set};
use dmaframe_core::{Fourcc, Frame, Modifier, Size};
use dmaframe_pipewire::{Stats, Unguarded};
use dmaframe_testkit::{Daemon, Device, need};

/// The rows in which vivid writes the time and counts frames.
fn text(frame: &Frame) -> Vec<u8> {
    let view = frame.map_read(PATIENCE).unwrap();
    let mut rows = Vec::new();
    let mut row = vec![0; frame.layout().row_bytes(0)];
    for y in 0..120 {
        view.copy_row(0, y, &mut row).unwrap();
        rows.extend_from_slice(&row);
    }
    rows
}

/// One frame held while 20 others pass, and what it shows before and after.
fn hold(path: &std::path::Path, policy: Unguarded) -> (Vec<u8>, Vec<u8>, Stats, bool) {
    let daemon = Daemon::bare();
    let node = format!(
        "{{ factory.name=api.v4l2.source api.v4l2.path={} node.name=vivid media.class=Video/Source object.linger=1 }}",
        path.display()
    );
    let said = daemon.run("pw-cli", &["create-node", "spa-node-factory", &node]);
    assert!(said.status.success(), "{said:?}");
    let stream = common::capture(&daemon, "reader")
        .formats(set(Fourcc::YUYV, &[Modifier::LINEAR]))
        .size(Size::new(640, 360))
        .framerate(30, 1)
        .buffers(4)
        .unguarded(policy)
        .start()
        .unwrap();
    daemon.link("vivid", "reader");
    let held = common::frame(&stream);
    let before = text(&held);
    let mut last = held.meta().sequence;
    let mut next = || {
        let frame = common::frame(&stream);
        assert!(
            frame.meta().sequence > last,
            "{:?} after {last:?}",
            frame.meta().sequence
        );
        last = frame.meta().sequence;
    };
    (0..20).for_each(|_| next());
    let (after, stats) = (text(&held), stream.stats());
    let shared = held.as_dmabuf().is_some();
    drop(held);
    // The buffer comes back once and is filled again as before: no picture is refused, and none is torn from a frame.
    (0..20).for_each(|_| next());
    let end = stream.stats();
    assert_eq!((end.refused, end.overwritten), (0, stats.overwritten), "{end:?}");
    assert!(stats.unguarded && stats.buffers >= 2, "{stats:?}");
    (before, after, stats, shared)
}

#[test]
fn a_frame_held_while_its_buffer_is_filled_again_is_counted_and_its_buffer_given_back_once() {
    need_pipewire!();
    let path = need!(Device::Capture("vivid"));
    let (before, after, stats, shared) = hold(&path, Unguarded::InPlace);
    assert!(shared && stats.overwritten >= 2, "{stats:?}");
    assert!(
        before != after,
        "the node did not fill the buffer again: {stats:?}"
    );
}

#[test]
fn a_frame_of_such_a_node_shows_its_picture_for_ever_where_it_is_a_copy() {
    need_pipewire!();
    let path = need!(Device::Capture("vivid"));
    let (before, after, stats, shared) = hold(&path, Unguarded::Copy);
    assert!(
        !shared && stats.detached >= 20 && stats.overwritten == 0,
        "{stats:?}"
    );
    assert!(before == after, "a held picture was overwritten");
}

#[test]
fn a_virtual_camera_waits_for_its_consumers() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let reader = common::capture(&daemon, "reader");
    let (_camera, stream, producer) = common::play(&daemon, common::camera(&daemon), reader);
    let held = common::frame(&stream);
    let number = common::number(&held);
    (0..20).for_each(|_| drop(common::frame(&stream)));
    assert_eq!(common::number(&held), number);
    let stats = stream.stats();
    assert!(!stats.unguarded && stats.overwritten == 0, "{stats:?}");
    producer.stop();
}
