//! Into PipeWire and out of it, with a daemon of its own: the CPU time of one process over some seconds of a running stream.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Fourcc, Frame, FrameMeta, Layout, Modifier, Size, Starvation};
use dmaframe_pipewire::{CaptureStream, Error, Target, VirtualCamera};
use dmaframe_testkit::{Daemon, end};

use super::{Cost, Job, Role, own};

/// Frames a second of every stream.
pub(super) const RATE: u32 = 20;
/// Until everything is linked, mapped and touched.
const WARM_UP: Duration = Duration::from_secs(2);

/// Which process is measured, and who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// A role of ours publishes.
    Camera(Role),
    /// GStreamer publishes.
    GstCamera(&'static str),
    /// A role of ours reads a camera of ours.
    Capture(Role),
    /// GStreamer reads a camera of ours.
    GstCapture(&'static str),
}

pub(super) const WAYS: &[(Job, &str, Way)] = &[
    (
        Job::VirtualCamera,
        "`VirtualCamera`, frame in the stream's own buffer",
        Way::Camera(Role::PwCamera),
    ),
    (
        Job::VirtualCamera,
        "`VirtualCamera`, frame in other memory (one copy)",
        Way::Camera(Role::PwCameraCopies),
    ),
    (
        Job::VirtualCamera,
        "`gst-launch-1.0 ... ! pipewiresink` (copies into its pool)",
        Way::GstCamera("video/x-raw,format=BGRx"),
    ),
    (
        Job::VirtualCamera,
        "`gst-launch-1.0 ... ! videoconvert (RGBA to BGRx) ! pipewiresink`",
        Way::GstCamera("video/x-raw,format=RGBA"),
    ),
    (
        Job::Capture,
        "PipeWire: `CaptureStream`, DMA-BUF",
        Way::Capture(Role::PwCapture),
    ),
    (
        Job::Capture,
        "PipeWire: `CaptureStream`, DMA-BUF, every frame copied out",
        Way::Capture(Role::PwCaptureCopies),
    ),
    (
        Job::Capture,
        "PipeWire: `CaptureStream`, shared memory",
        Way::Capture(Role::PwCaptureMemfd),
    ),
    (
        Job::Capture,
        "PipeWire: `gst-launch-1.0 pipewiresrc ! memory:DMABuf ! fakesink`",
        Way::GstCapture("video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format=XR24"),
    ),
    (
        Job::Capture,
        "PipeWire: `gst-launch-1.0 pipewiresrc ! fakesink`, shared memory",
        Way::GstCapture("video/x-raw,format=BGRx"),
    ),
    (
        Job::Capture,
        "PipeWire: `gst-launch-1.0 pipewiresrc ! videoconvert (to RGBA) ! fakesink`",
        Way::GstCapture("video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=RGBA"),
    ),
];

impl Way {
    pub(super) fn cost(&self, size: Size, span: Duration) -> Result<Cost, String> {
        let daemon = Daemon::bare();
        let text = format!("{}x{}", size.width, size.height);
        let socket = daemon.socket().display().to_string();
        let own = |role: Role| own(role, &[&socket, &text]);
        let gst = |line: String| {
            let mut command = daemon.gst("gst-launch-1.0");
            command.arg("-q").args(line.split(' '));
            command
        };
        let (mut measured, mut other) = match self {
            Self::Camera(role) => (own(*role), own(Role::PwCapture)),
            Self::GstCamera(caps) => {
                let (w, h) = (size.width, size.height);
                let line = format!(
                    "videotestsrc num-buffers=1 pattern=solid-color ! {caps},width={w},height={h},framerate={RATE}/1 ! \
                     imagefreeze is-live=true ! {caps},width={w},height={h},framerate={RATE}/1 ! videoconvert ! \
                     video/x-raw,format=BGRx ! pipewiresink mode=provide \
                     stream-properties=props,media.class=Video/Source,node.name=cam"
                );
                (gst(line), own(Role::PwCapture))
            }
            Self::Capture(role) => (own(*role), own(Role::PwCamera)),
            Self::GstCapture(caps) => {
                // Not linked by a session manager: the node waits for its link.
                let line = format!("pipewiresrc autoconnect=false client-name=reader ! {caps} ! fakesink");
                (gst(line), own(Role::PwCamera))
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
        let now = |pid: u32| {
            let cpu = cpu_of(pid);
            cpu.map(|cpu| (cpu, frames.load(Ordering::Relaxed)))
        };
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
        Ok(Cost {
            cpu_ms: (cpu - cpu_before) * 1000.0 / frames,
            rate: frames / took.as_secs_f64(),
        })
    }
}

/// CPU seconds of a process so far, all its threads, by its own clock: what /proc says is in hundredths.
fn cpu_of(pid: u32) -> Option<f64> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).ok()?);
    let clock = nix::time::clock_getcpuclockid(pid).ok()?;
    let now = Duration::from(nix::time::clock_gettime(clock).ok()?);
    Some(now.as_secs_f64())
}

fn linear() -> FormatSet {
    FormatSet::new("bench").with(Fourcc::XRGB8888, Modifier::LINEAR)
}

/// Reads the camera of the link until killed.
pub(super) fn capture(role: Role, remote: OwnedFd) -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = CaptureStream::builder()
        .remote(remote)
        .name("reader")
        .target(Target::Unlinked)
        .formats(linear())
        .budget(2, Starvation::Drop);
    if role == Role::PwCaptureMemfd {
        // No modifier on this side: the camera gives what it has for such consumers.
        builder = builder.dmabuf(false);
    }
    let stream = builder.start()?;
    loop {
        let Some(frame) = stream.next_frame(Duration::from_secs(20))? else {
            return Err("no frame".into());
        };
        tick()?;
        if role == Role::PwCaptureCopies {
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

/// Is a camera until killed.
pub(super) fn publish(remote: OwnedFd, copy: bool, size: Size) -> Result<(), Box<dyn std::error::Error>> {
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
