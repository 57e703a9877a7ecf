//! A virtual camera under a whole session: listed by the session's own tools as a camera, read by our capture and by stock
//! GStreamer, one after another and both at once.

mod common;

use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{PATIENCE, Producer, linear, number};
use dmaframe_core::{Fourcc, Modifier, Size};
use dmaframe_pipewire::pod::Modifiers;
use dmaframe_pipewire::{CaptureBuilder, CaptureStream, Target, VirtualCamera};
use dmaframe_testkit::{Daemon, Device, end, need};

/// Rows of 768 bytes: a multiple of 256, so that there is no padding between them in a file.
const SIZE: Size = Size::new(192, 120);
const NAME: &str = "dmaframe-test-camera";
/// A guest reads GStreamer's plugins for the first time.
const GST: Duration = Duration::from_secs(40);

fn camera(daemon: &Daemon) -> Arc<VirtualCamera> {
    let camera = VirtualCamera::builder(NAME)
        .remote(daemon.remote())
        .formats(linear())
        .size(SIZE)
        .buffers(16);
    Arc::new(camera.start().unwrap())
}

fn capture(daemon: &Daemon) -> CaptureBuilder {
    CaptureStream::builder()
        .remote(daemon.remote())
        .name("ours")
        .target(Target::Name(NAME.into()))
        .formats(linear())
}

/// A program whose output goes to a file, so that it never waits for us to read it.
struct Program {
    child: Child,
    output: std::path::PathBuf,
}

fn finish(program: Program, what: &str) -> String {
    let Program { mut child, output } = program;
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > GST {
            end(&mut child);
            panic!(
                "{what} has not ended within {GST:?}: {}",
                std::fs::read_to_string(&output).unwrap()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = child.wait().unwrap();
    let said = std::fs::read_to_string(&output).unwrap();
    assert!(status.success(), "{what}: {said}");
    said
}

fn spawn(daemon: &Daemon, command: &mut Command, name: &str) -> Program {
    let output = daemon.dir().join(format!("{name}.out"));
    let file = std::fs::File::create(&output).unwrap();
    let child = command
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    Program { child, output }
}

/// `pipewiresrc` with caps, whose frames end up in a file.
fn gst(daemon: &Daemon, frames: u32, caps: &str, file: &str) -> Program {
    let mut command = daemon.gst("gst-launch-1.0");
    command.args(["-v", "pipewiresrc", &format!("target-object={NAME}")]);
    command.args([&format!("num-buffers={frames}"), "!", caps, "!", "filesink"]);
    command.arg(format!("location={}", daemon.dir().join(file).display()));
    spawn(daemon, &mut command, file)
}

/// How many whole pictures of ours are in a file, and in what order.
fn pictures(daemon: &Daemon, file: &str) -> Vec<u32> {
    let bytes = std::fs::read(daemon.dir().join(file)).unwrap();
    let row = SIZE.width as usize * 4;
    let mut wanted = vec![0; row];
    let whole = bytes.chunks(row * SIZE.height as usize).map(|picture| {
        let n = u32::from_le_bytes(picture[..4].try_into().unwrap());
        for (y, found) in picture.chunks(row).enumerate() {
            common::pattern(n, u32::try_from(y).unwrap(), &mut wanted);
            assert!(found == wanted, "picture {n} is torn in row {y}");
        }
        n
    });
    whole.collect()
}

#[test]
fn listed_as_a_camera_and_read_in_every_way() {
    need_pipewire!();
    for program in [
        "wireplumber",
        "dbus-daemon",
        "wpctl",
        "gst-launch-1.0",
        "gst-device-monitor-1.0",
    ] {
        need!(Device::Program(program));
    }
    let daemon = Daemon::with_session_manager();
    let camera = camera(&daemon);
    let producer = Producer::start(Arc::clone(&camera), Duration::from_millis(8));

    // Listed.
    let start = Instant::now();
    let status = loop {
        let status = daemon.output("wpctl", &["status", "-n"]);
        if status.contains(NAME) || start.elapsed() > PATIENCE {
            break status;
        }
    };
    let sources = status.split("Sources:").skip(1).any(|part| {
        let until = part.find("Filters:").unwrap_or(part.len());
        part[..until].contains(NAME)
    });
    assert!(sources, "wpctl lists no source {NAME}: {status}");
    let dump = daemon.output("pw-dump", &[]);
    let ours = dump
        .find(&format!("\"node.name\": \"{NAME}\""))
        .expect("pw-dump has no such node");
    assert!(dump[ours.saturating_sub(2000)..].contains("\"media.class\": \"Video/Source\""));
    let mut monitor = daemon.gst("gst-device-monitor-1.0");
    let monitor = finish(
        spawn(&daemon, monitor.arg("Video/Source"), "monitor"),
        "gst-device-monitor-1.0",
    );
    assert!(monitor.contains(NAME), "{monitor}");

    // Read by ours: dma-bufs with a modifier.
    {
        let stream = capture(&daemon).start().unwrap();
        for _ in 0..20 {
            let frame = common::frame(&stream);
            assert!(frame.as_dmabuf().is_some() && frame.modifier() == Modifier::LINEAR);
            assert!(number(&frame).is_some());
        }
        assert_eq!(
            stream.format().unwrap().modifiers,
            Modifiers::Fixed(Modifier::LINEAR)
        );
        assert_eq!(stream.hop().counts().cpu_bytes, 0);
    }

    // By the node's id over a descriptor, as a portal gives both.
    {
        let nodes = daemon.output("pw-cli", &["ls", "Node"]);
        let node = nodes.split("\tid ").find(|part| part.contains(NAME)).unwrap();
        let id = node.split(',').next().unwrap().parse().unwrap();
        let stream = CaptureStream::builder()
            .remote_fd(daemon.remote(), id)
            .formats(linear())
            .start()
            .unwrap();
        assert!(number(&common::frame(&stream)).is_some());
    }

    // By stock GStreamer where it takes dma-bufs, and where it does not.
    let dmabuf = "video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format=XR24";
    let said = finish(gst(&daemon, 20, dmabuf, "dmabuf"), "pipewiresrc with dma-bufs");
    assert!(said.contains("caps = video/x-raw(memory:DMABuf)"), "{said}");
    let seen = pictures(&daemon, "dmabuf");
    assert!(seen.len() == 20 && seen.is_sorted(), "{seen:?}");
    let said = finish(
        gst(&daemon, 20, "video/x-raw,format=BGRx", "memfd"),
        "pipewiresrc with shared memory",
    );
    assert!(said.contains("caps = video/x-raw, format=(string)BGRx"), "{said}");
    let seen = pictures(&daemon, "memfd");
    assert!(seen.len() == 20 && seen.is_sorted(), "{seen:?}");

    // By one that takes none of its formats, which is that one's own affair.
    let stream = capture(&daemon)
        .formats(common::set(Fourcc::NV12, &[Modifier::LINEAR]))
        .start()
        .unwrap();
    let error = loop {
        match stream.next(PATIENCE) {
            Ok(Some(event)) => assert!(event.into_frame().is_none()),
            Ok(None) => panic!("the consumer was told nothing"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("NV12"), "{error}");
    drop(stream);

    // Both at once, ours slow and holding frames.
    let stream = capture(&daemon).start().unwrap();
    drop(common::frame(&stream));
    let gst = gst(&daemon, 200, dmabuf, "both");
    let mut held = Vec::new();
    for _ in 0..40 {
        let frame = common::frame(&stream);
        std::thread::sleep(Duration::from_millis(15));
        held.push(frame);
        if held.len() > 3 {
            assert!(number(&held.remove(0)).is_some(), "a held frame was overwritten");
        }
    }
    finish(gst, "pipewiresrc beside ours");
    let seen = pictures(&daemon, "both");
    assert!(seen.len() == 200 && seen.is_sorted(), "{seen:?}");
    assert!(number(&common::frame(&stream)).is_some());
    drop(held);
    assert!(producer.stop() > 0);
    assert_eq!(camera.hop().counts().cpu_bytes, 0);
    assert_eq!(
        stream.format().map(|format| format.fourcc),
        Some(Fourcc::XRGB8888)
    );
}
