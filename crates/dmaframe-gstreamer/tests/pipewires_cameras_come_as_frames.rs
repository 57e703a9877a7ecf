//! `pipewiresrc ! FrameSink`: a camera through PipeWire, with the real daemons, is the driver's own memory, with the right
//! picture in it and nothing copied.

mod common;

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::Receiver;

use common::{LONG, Running, into_sink, next, settled, tight, tight_by_gstreamer};
use dmaframe_core::{Clock, Fourcc, Frame, Modifier, Size, Timestamp};
use dmaframe_gstreamer::FrameSink;
use dmaframe_testkit::{Daemon, Device, Leaks, need};
use gst::prelude::*;

const SIZE: Size = Size::new(640, 360);

/// Luma of vivid's colour bars (75 %, BT.601): white, yellow, cyan, green, magenta, red, blue, black.
const BARS: [u8; 8] = [180, 162, 131, 112, 84, 65, 35, 16];

/// The bars' luma, in a row where vivid writes no text.
fn bars(frame: &Frame) -> Vec<u8> {
    let (size, view) = (frame.layout().size(), frame.map_read(LONG).unwrap());
    let mut row = vec![0; frame.layout().row_bytes(0)];
    view.copy_row(0, size.height - 20, &mut row).unwrap();
    let step = if frame.fourcc() == Fourcc::YUYV { 2 } else { 1 };
    (0..8)
        .map(|bar| row[(bar * 2 + 1) * size.width as usize / 16 * step])
        .collect()
}

/// The name that the session manager gave the device's node.
fn node(daemon: &Daemon, device: &Path) -> String {
    let list = daemon.output("pw-dump", &[]);
    let path = format!("\"api.v4l2.path\": \"{}\"", device.display());
    // One object after the other, indented by two; a device has the path, too.
    let mut nodes = list
        .split("\n  {")
        .filter(|object| object.contains("PipeWire:Interface:Node\""));
    let ours = nodes.find(|node| node.contains(&path));
    let ours = ours.unwrap_or_else(|| panic!("no node of {}: {list}", device.display()));
    let name = ours.split("\"node.name\": \"").nth(1).expect("a name");
    name.split('"').next().expect("a name").to_owned()
}

#[test]
fn every_frame_is_the_cameras_own_memory_and_nothing_is_copied() {
    let device = need!(Device::Capture("vivid"));
    for program in ["pipewire", "wireplumber", "dbus-daemon"] {
        need!(Device::Program(program));
    }
    common::init();
    // What GStreamer and libpipewire open once and keep.
    read(&device, ("YUY2", Fourcc::YUYV), 2);
    let warm = Leaks::now();
    for format in [("YUY2", Fourcc::YUYV), ("NV12", Fourcc::NV12)] {
        read(&device, format, 40);
        settled(&warm);
    }
}

/// A pipeline that plays, with daemons of its own: after a client has gone the session manager takes the format from the
/// camera once more, and with it that of a client that has come meanwhile.
struct Playing {
    _running: Running,
    sink: FrameSink,
    /// Each buffer's number and what GStreamer reads in it.
    seen: Receiver<(u64, Vec<u8>)>,
    _remote: OwnedFd,
    _daemon: Daemon,
}

/// On a busy machine the session manager sometimes leaves a client without a link for good, and the pipeline gives up: it
/// is started anew then, with new daemons.
fn playing(device: &Path, format: (&str, Fourcc)) -> Playing {
    let mut tries = (1..=3).filter_map(|attempt| {
        let started = start(device, format);
        if started.is_none() {
            println!("attempt {attempt}: PipeWire gave no stream");
        }
        started
    });
    tries.next().expect("PipeWire gives a stream")
}

fn start(device: &Path, (name, fourcc): (&str, Fourcc)) -> Option<Playing> {
    let daemon = Daemon::with_session_manager();
    let node = node(&daemon, device);
    let remote = daemon.remote();
    let sink = FrameSink::builder().hold(2).build().unwrap();
    let Size { width, height } = SIZE;
    // The rate too: without one the driver's slowest is taken.
    let source = format!(
        "pipewiresrc fd={} target-object={node} ! \
         video/x-raw,format={name},width={width},height={height},framerate=30/1",
        remote.as_raw_fd()
    );
    let running = into_sink(&source, &sink);
    let pad = sink.element().static_pad("sink").unwrap();
    let (send, seen) = std::sync::mpsc::channel();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let buffer = info.buffer().unwrap();
        let caps = pad.current_caps().unwrap();
        let _ = send.send((buffer.offset(), tight_by_gstreamer(buffer, &caps, fourcc)));
        gst::PadProbeReturn::Ok
    });
    running.0.set_state(gst::State::Playing).ok()?;
    Some(Playing {
        _running: running,
        sink,
        seen,
        _remote: remote,
        _daemon: daemon,
    })
}

fn read(device: &Path, (name, fourcc): (&str, Fourcc), count: u64) {
    let mut playing = playing(device, (name, fourcc));
    let Playing { sink, seen, .. } = &mut playing;
    let (mut last, mut held) = (None, None);
    for index in 0..count {
        let frame = next(sink);
        let dmabuf = frame
            .as_dmabuf()
            .unwrap_or_else(|| panic!("{name} {index}: {frame:?}"));
        let exporter = dmabuf.objects()[0].exporter().unwrap_or_default();
        assert!(
            exporter.contains("videobuf2"),
            "{name}: {exporter} is not the driver"
        );
        assert_eq!((frame.fourcc(), frame.modifier()), (fourcc, Modifier::LINEAR));
        assert_eq!(frame.layout().size(), SIZE);

        let found = bars(&frame);
        let near = found.iter().zip(BARS).all(|(a, b)| a.abs_diff(b) < 12);
        assert!(near, "{name}: luma of the bars {found:?}, not {BARS:?}");
        let sequence = frame.meta().sequence;
        let expected = loop {
            let (offset, bytes) = seen.recv_timeout(LONG).unwrap();
            if Some(offset) == sequence {
                break bytes;
            }
        };
        assert!(tight(&frame) == expected, "{name}: not the bytes GStreamer reads");

        assert!(sequence > last, "{sequence:?} after {last:?}");
        last = sequence;
        let at = frame.meta().timestamp.expect("a time");
        let age = Timestamp::now(Clock::Monotonic).ns.abs_diff(at.ns);
        assert!(
            at.clock == Clock::Monotonic && age < 5_000_000_000,
            "{at:?}, {age} ns from now"
        );
        // One is always held while the next is filled.
        held = Some((frame.content_id(), frame));
    }
    drop(held);
    let counts = sink.hop().counts();
    assert_eq!(
        (counts.cpu_bytes, counts.zero_copy),
        (0, counts.frames),
        "{counts}"
    );
    assert!(counts.frames >= count, "{counts}");
}
