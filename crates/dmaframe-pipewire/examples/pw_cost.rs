//! What a frame costs the CPU on its way into PipeWire and out of it: ours beside the copying ways and stock GStreamer.
//!
//! `cargo run --release --example pw_cost -- [SECONDS]`, on a machine (or in the lab: `cargo xtask lab run --mem 2G --
//! target/release/examples/pw_cost`) with a `pipewire` and GStreamer's PipeWire plugin on the PATH; it starts a daemon of its
//! own. Each number is the CPU time of one process, all threads, over some seconds of a running stream.

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::linear;
use dmaframe_core::{Fourcc, Frame, FrameMeta, Layout, Size, Starvation};
use dmaframe_pipewire::{CaptureStream, Error, Target, VirtualCamera};
use dmaframe_testkit::{Daemon, connect, end};

/// Frames a second of every stream.
const RATE: u32 = 20;
/// Until everything is linked, mapped and touched.
const WARM_UP: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, socket, size] = &args[..] {
        return play(role, socket.as_ref(), parse(size)?);
    }
    let seconds = args.first().map_or(Ok(5), |n| n.parse())?;
    println!("CPU ms per frame, {RATE} frames a second, BGRx, over {seconds} s after a warm-up");
    println!("{:<58} {:>14} {:>14}", "", "1080p", "4K");
    for (what, way) in WAYS {
        let cost = |size| {
            way.cost(size, Duration::from_secs(seconds))
                .map_or_else(|e| e, |(ms, fps)| format!("{ms:.1} ({fps:.0}/s)"))
        };
        let (hd, uhd) = (cost(Size::new(1920, 1080)), cost(Size::new(3840, 2160)));
        println!("{what:<58} {hd:>14} {uhd:>14}");
    }
    Ok(())
}

/// Which process is measured, and who is at the other end.
enum Way {
    /// A role of ours publishes.
    Camera(&'static str),
    /// GStreamer publishes.
    GstCamera(&'static str),
    /// A role of ours reads a camera of ours.
    Capture(&'static str),
    /// GStreamer reads a camera of ours.
    GstCapture(&'static str),
}

const WAYS: &[(&str, Way)] = &[
    (
        "camera: ours, frame in the stream's own buffer",
        Way::Camera("camera"),
    ),
    (
        "camera: ours, frame in other memory (one copy)",
        Way::Camera("camera-copy"),
    ),
    (
        "camera: gst pipewiresink (copies into its pool)",
        Way::GstCamera("video/x-raw,format=BGRx"),
    ),
    (
        "camera: gst videoconvert (RGBA to BGRx) ! pipewiresink",
        Way::GstCamera("video/x-raw,format=RGBA"),
    ),
    ("capture: ours, DMA-BUF", Way::Capture("capture")),
    (
        "capture: ours, DMA-BUF, every frame copied out",
        Way::Capture("capture-copy"),
    ),
    ("capture: ours, shared memory", Way::Capture("capture-memfd")),
    (
        "capture: gst pipewiresrc, memory:DMABuf",
        Way::GstCapture("video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format=XR24"),
    ),
    (
        "capture: gst pipewiresrc, shared memory",
        Way::GstCapture("video/x-raw,format=BGRx"),
    ),
    (
        "capture: gst pipewiresrc ! videoconvert (to RGBA)",
        Way::GstCapture("video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=RGBA"),
    ),
];

impl Way {
    /// CPU milliseconds a frame, and frames a second.
    fn cost(&self, size: Size, span: Duration) -> Result<(f64, f64), String> {
        let daemon = Daemon::bare();
        let text = format!("{}x{}", size.width, size.height);
        let own = |role: &str| {
            let program = std::env::current_exe().unwrap_or_default();
            let mut command = daemon.command(&program.to_string_lossy());
            command.args([role, &daemon.socket().to_string_lossy(), &text]);
            command
        };
        let gst = |line: String| {
            let mut command = daemon.gst("gst-launch-1.0");
            command.arg("-q").args(line.split(' '));
            command
        };
        let (mut measured, mut other) = match self {
            Self::Camera(role) => (own(role), own("capture")),
            Self::GstCamera(caps) => {
                let (w, h) = (size.width, size.height);
                let line = format!(
                    "videotestsrc num-buffers=1 pattern=solid-color ! {caps},width={w},height={h},framerate={RATE}/1 ! \
                     imagefreeze is-live=true ! {caps},width={w},height={h},framerate={RATE}/1 ! videoconvert ! \
                     video/x-raw,format=BGRx ! pipewiresink mode=provide \
                     stream-properties=props,media.class=Video/Source,node.name=cam"
                );
                (gst(line), own("capture"))
            }
            Self::Capture(role) => (own(role), own("camera")),
            Self::GstCapture(caps) => {
                // Not linked by a session manager: the node waits for its link.
                let line = format!("pipewiresrc autoconnect=false client-name=reader ! {caps} ! fakesink");
                (gst(line), own("camera"))
            }
        };
        let start = |command: &mut Command, out: Stdio| {
            let command = command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
            command.spawn().map_err(|e| e.to_string())
        };
        let mut measured = start(&mut measured, Stdio::null())?;
        let mut other = start(&mut other, Stdio::piped())?;
        // Our end writes a byte for each frame.
        let frames = Arc::new(AtomicU64::new(0));
        if let Some(mut out) = other.stdout.take() {
            let frames = Arc::clone(&frames);
            std::thread::spawn(move || {
                let mut bytes = [0; 64];
                while let Ok(n @ 1..) = out.read(&mut bytes) {
                    frames.fetch_add(n as u64, Ordering::Relaxed);
                }
            });
        }
        let now = |pid| cpu_of(pid).map(|cpu| (cpu, frames.load(Ordering::Relaxed)));
        daemon.link("cam", "reader");
        std::thread::sleep(WARM_UP);
        let (before, clock) = (now(measured.id()), Instant::now());
        std::thread::sleep(span);
        let (after, took) = (now(measured.id()), clock.elapsed());
        let alive = measured.try_wait().is_ok_and(|status| status.is_none())
            && other.try_wait().is_ok_and(|status| status.is_none());
        end(&mut measured);
        end(&mut other);
        let ((cpu, last), (cpu_before, first)) = after.zip(before).filter(|_| alive).ok_or("ended early")?;
        let frames = (last - first) as f64;
        if frames == 0.0 {
            return Err("no frames".into());
        }
        Ok(((cpu - cpu_before) * 1000.0 / frames, frames / took.as_secs_f64()))
    }
}

/// CPU seconds of a process so far, all its threads.
fn cpu_of(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<f64> = fields
        .split_whitespace()
        .skip(1)
        .filter_map(|f| f.parse().ok())
        .collect();
    // utime and stime, in hundredths of a second (USER_HZ).
    Some((fields.get(10)? + fields.get(11)?) / 100.0)
}

fn parse(size: &str) -> Result<Size, Box<dyn std::error::Error>> {
    let (width, height) = size.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
    Ok(Size::new(width.parse()?, height.parse()?))
}

/// One end of a stream, in a process of its own.
fn play(role: &str, socket: &std::path::Path, size: Size) -> Result<(), Box<dyn std::error::Error>> {
    let remote = connect(socket);
    if role.starts_with("camera") {
        return publish(remote, role == "camera-copy", size);
    }
    let mut builder = CaptureStream::builder()
        .remote(remote)
        .name("reader")
        .target(Target::Unlinked)
        .formats(linear())
        .budget(2, Starvation::Drop);
    if role == "capture-memfd" {
        // No modifier on this side: the camera gives what it has for such consumers.
        builder = builder.dmabuf(false);
    }
    let stream = builder.start()?;
    loop {
        let Some(frame) = stream.next_frame(Duration::from_secs(20))? else {
            return Err("no frame".into());
        };
        tick()?;
        if role == "capture-copy" {
            drop(frame.detach(Duration::from_secs(1))?);
        }
    }
}

/// One frame more, for the process that counts them.
fn tick() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(b".")?;
    out.flush()
}

fn publish(remote: std::os::fd::OwnedFd, copy: bool, size: Size) -> Result<(), Box<dyn std::error::Error>> {
    let camera = VirtualCamera::builder("cam")
        .remote(remote)
        .formats(linear())
        .size(size)
        .buffers(4)
        .start()?;
    let layout = Layout::linear(Fourcc::XRGB8888, size, 256)?;
    let foreign = Frame::from_bytes(
        vec![0x40u8; usize::try_from(layout.object_len(0))?],
        &layout,
        FrameMeta::default(),
    )?;
    let mut next = Instant::now();
    loop {
        let frame = match camera.acquire(Duration::from_millis(100)) {
            Ok(frame) => frame,
            Err(Error::Starved { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        next = (next + Duration::from_secs(1) / RATE).max(Instant::now() - Duration::from_millis(50));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        if copy {
            // The buffer just acquired goes back and the copy takes it: what an unknowing application costs.
            drop(frame);
            camera.push(foreign.clone(), Duration::from_millis(100))?;
        } else {
            camera.push(frame, Duration::ZERO)?;
        }
        tick()?;
    }
}
