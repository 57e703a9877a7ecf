//! From a V4L2 camera into an application, and on into a recording pipeline.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use dmaframe_core::Size;
use dmaframe_testkit::few_plugins;
use dmaframe_v4l2::Device;

use super::{Cost, Job, Role, own};

/// Far longer than a run takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Which process is measured.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// One of ours.
    Own(Role),
    /// GStreamer alone, with this between the camera and the end.
    Gst(&'static str),
}

pub(super) const WAYS: &[(Job, &str, Way)] = &[
    (Job::Capture, "V4L2: `dmaframe-v4l2`", Way::Own(Role::V4l2)),
    (
        Job::Capture,
        "V4L2: `v4l2src ! FrameSink`",
        Way::Own(Role::GstFrames),
    ),
    (
        Job::Capture,
        "V4L2: `v4l2src ! appsink`, map, copy",
        Way::Own(Role::GstCopies),
    ),
    (
        Job::Capture,
        "V4L2: `v4l2src ! videoconvert ! appsink`, map, copy",
        Way::Own(Role::GstConverted),
    ),
    (
        Job::Capture,
        "V4L2: GStreamer alone, `v4l2src io-mode=dmabuf ! fakesink`",
        Way::Gst("identity"),
    ),
    (
        Job::Recording,
        "`v4l2src ! FrameSink`, `FrameSrc ! ENCODER`",
        Way::Own(Role::RecordFrames),
    ),
    (
        Job::Recording,
        "`v4l2src ! appsink`, map, copy, `Buffer::from_slice`, `appsrc ! ENCODER`",
        Way::Own(Role::RecordCopies),
    ),
    (
        Job::Recording,
        "the same with `videoconvert` to I420 before the encoder",
        Way::Own(Role::RecordConverted),
    ),
    (
        Job::Recording,
        "GStreamer alone, `v4l2src io-mode=dmabuf ! queue ! ENCODER`",
        Way::Gst("queue"),
    ),
    (
        Job::Recording,
        "GStreamer alone, `v4l2src ! videoconvert ! I420 ! queue ! ENCODER`",
        Way::Gst("videoconvert ! video/x-raw,format=I420 ! queue"),
    ),
];

/// A camera that makes pictures of both sizes.
#[derive(Debug)]
pub(super) struct Camera {
    device: PathBuf,
    name: String,
    frames: u32,
}

impl fmt::Display for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.device.display())
    }
}

impl Camera {
    pub(super) fn open(device: Option<&Path>, frames: u32) -> Result<Self, String> {
        let opened = match device {
            Some(path) => Device::open(path).map_err(|e| e.to_string())?,
            None => match Device::find_by_driver("vivid", 0) {
                Ok(device) => device,
                Err(_) => {
                    let first = dmaframe_v4l2::list().map_err(|e| e.to_string())?;
                    let first = first.first().ok_or("there is no camera")?;
                    Device::open(&first.path).map_err(|e| e.to_string())?
                }
            },
        };
        // vivid's webcam makes five pictures a second of 1080p and two of 4K, its HDMI input as many as the timings say,
        // scaled.
        let inputs = opened.inputs().map_err(|e| e.to_string())?;
        if let Some(hdmi) = inputs.iter().find(|input| input.name.starts_with("HDMI")) {
            opened.set_input(hdmi.index).map_err(|e| e.to_string())?;
        }
        Ok(Self {
            device: opened.path().to_owned(),
            name: opened.capabilities().card.clone(),
            frames,
        })
    }

    pub(super) fn cost(&self, way: Way, size: Size) -> Result<Cost, String> {
        let (device, count) = (self.device.display().to_string(), self.frames.to_string());
        let size = format!("{}x{}", size.width, size.height);
        let mut command = match way {
            Way::Own(role) => own(role, &[&device, &size, &count]),
            Way::Gst(rest) => own(Role::GstAlone, &[&device, &size, &count, rest]),
        };
        few_plugins(&mut command, &std::env::temp_dir().join("dmaframe-benches"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        let start = Instant::now();
        while child.try_wait().map_err(|e| e.to_string())?.is_none() {
            if start.elapsed() > PATIENCE {
                dmaframe_testkit::end(&mut child);
                return Err(format!("has not ended after {PATIENCE:?}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout);
        let mut numbers = said.split_whitespace().filter_map(|word| word.parse().ok());
        match (numbers.next(), numbers.next()) {
            (Some(cpu_ms), Some(rate)) if output.status.success() => Ok(Cost { cpu_ms, rate }),
            _ => Err(text(&output.stderr)
                .lines()
                .next_back()
                .unwrap_or("failed")
                .to_owned()),
        }
    }
}
