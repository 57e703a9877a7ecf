//! The ends of streams: each in a process of its own, which for a camera's measures itself once it is warm.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dmaframe_gstreamer::{Backpressure, FrameSink, FrameSrc, Received, Timing};
use dmaframe_testkit::connect;
use dmaframe_v4l2::{Capture, Device, FormatRequest, PixelFormat};
use gst::prelude::*;

use super::{parse, pipewire};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What a process of this program plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Frames of a camera.
    V4l2,
    /// Frames of a camera through GStreamer.
    GstFrames,
    /// Copies of them.
    GstCopies,
    /// Copies of them, converted.
    GstConverted,
    /// Frames into a second pipeline.
    RecordFrames,
    /// Copies into a second pipeline.
    RecordCopies,
    /// Copies into a second pipeline that converts.
    RecordConverted,
    /// A pipeline without us, as `gst-launch-1.0` makes it.
    GstAlone,
    /// A virtual camera.
    PwCamera,
    /// A virtual camera of frames in other memory.
    PwCameraCopies,
    /// Reads a camera.
    PwCapture,
    /// Reads a camera and copies every frame.
    PwCaptureCopies,
    /// Reads a camera that gives shared memory.
    PwCaptureMemfd,
}

impl Role {
    /// Its name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V4l2 => "v4l2",
            Self::GstFrames => "gst-frames",
            Self::GstCopies => "gst-copies",
            Self::GstConverted => "gst-converted",
            Self::RecordFrames => "record-frames",
            Self::RecordCopies => "record-copies",
            Self::RecordConverted => "record-converted",
            Self::GstAlone => "gst-alone",
            Self::PwCamera => "pw-camera",
            Self::PwCameraCopies => "pw-camera-copies",
            Self::PwCapture => "pw-capture",
            Self::PwCaptureCopies => "pw-capture-copies",
            Self::PwCaptureMemfd => "pw-capture-memfd",
        }
    }
}

/// Plays `role`: for a camera's `DEVICE SIZE COUNT [PIPELINE]`, for a stream's `SOCKET SIZE`.
pub(super) fn play(role: Role, words: &[String]) -> Outcome {
    let word = |index: usize| words.get(index).ok_or("a word is missing");
    let size = parse(word(1)?)?;
    if let Role::PwCamera | Role::PwCameraCopies = role {
        return pipewire::publish(connect(Path::new(word(0)?)), role == Role::PwCameraCopies, size);
    }
    if let Role::PwCapture | Role::PwCaptureCopies | Role::PwCaptureMemfd = role {
        return pipewire::capture(role, connect(Path::new(word(0)?)));
    }
    let camera = Camera {
        device: word(0)?.clone(),
        size,
        frames: word(2)?.parse()?,
    };
    match role {
        Role::V4l2 => camera.v4l2(),
        Role::GstFrames => camera.frames(false),
        Role::RecordFrames => camera.frames(true),
        Role::GstAlone => camera.alone(word(3)?),
        Role::GstConverted => camera.copies("videoconvert ! video/x-raw,format=I420 !", None),
        Role::RecordCopies => camera.copies("", Some("")),
        Role::RecordConverted => camera.copies("", Some("videoconvert ! video/x-raw,format=I420 !")),
        _ => camera.copies("", None),
    }
}

/// Longer than a picture takes.
const WAIT: Duration = Duration::from_secs(10);

/// Pictures until everything is linked, mapped and touched.
const WARM_UP: u32 = 20;

struct Camera {
    device: String,
    size: dmaframe_core::Size,
    frames: u32,
}

/// What frames cost after the warm-up.
#[derive(Default)]
struct Meter {
    seen: u32,
    begun: Option<(Duration, Instant)>,
}

impl Meter {
    /// CPU time of this process, all its threads.
    fn cpu() -> Duration {
        use rustix::time::{ClockId, clock_gettime};
        let now = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    fn frame(&mut self) {
        self.seen += 1;
        if self.seen == WARM_UP {
            self.begun = Some((Self::cpu(), Instant::now()));
        }
    }

    /// Tells whoever started this process: milliseconds a frame, and frames a second.
    fn tell(&self) -> Outcome {
        let now = Self::cpu();
        let (cpu, start) = self.begun.ok_or("too few frames")?;
        let frames = f64::from(self.seen - WARM_UP).max(1.0);
        let cost = (now - cpu).as_secs_f64() * 1000.0 / frames;
        println!("{cost} {}", frames / start.elapsed().as_secs_f64());
        Ok(())
    }
}

impl Camera {
    fn source(&self, mode: &str) -> String {
        let (device, size) = (&self.device, self.size);
        format!(
            "v4l2src device={device} io-mode={mode} ! video/x-raw,format=NV12,width={},height={}",
            size.width, size.height
        )
    }

    fn v4l2(&self) -> Outcome {
        let mut capture = Capture::builder(Device::open(&self.device)?)
            .format(FormatRequest::new(PixelFormat::NV12, self.size))
            .start()?;
        let mut meter = Meter::default();
        for _ in 0..WARM_UP + self.frames {
            let frame = capture.next(WAIT)?.and_then(dmaframe_v4l2::Captured::into_frame);
            let frame = frame.ok_or("no frame")?;
            drop(frame);
            meter.frame();
        }
        meter.tell()
    }

    /// Out of a pipeline, and into another one as applications have it.
    fn frames(&self, record: bool) -> Outcome {
        let mut sink = FrameSink::builder().queue(4, Backpressure::Block).build()?;
        let capture = gst::Pipeline::new();
        let source = gst::parse::bin_from_description(&(self.source("dmabuf") + " ! identity"), true)?;
        capture.add_many([source.upcast_ref(), sink.element()])?;
        source.link(sink.element())?;
        let out = record.then(|| FrameSrc::builder().live(false).timing(Timing::FromFirst).build());
        let out = out.transpose()?;
        let pipeline = gst::Pipeline::new();
        if let Some(out) = &out {
            let end = gst::ElementFactory::make("fakesink")
                .property("sync", false)
                .build()?;
            pipeline.add_many([out.element(), &end])?;
            out.element().link(&end)?;
            pipeline.set_state(gst::State::Playing)?;
        }
        capture.set_state(gst::State::Playing)?;
        let mut meter = Meter::default();
        for _ in 0..WARM_UP + self.frames {
            let Received::Frame(frame) = sink.next(WAIT)? else {
                return Err("no frame".into());
            };
            if let Some(out) = &out {
                out.push(frame, WAIT).map_err(|rejected| rejected.error)?;
            }
            meter.frame();
        }
        meter.tell()?;
        let copied = sink.hop().counts().cpu_bytes + out.map_or(0, |out| out.hop().counts().cpu_bytes);
        if copied > 0 {
            return Err(format!("{copied} bytes were copied").into());
        }
        capture.set_state(gst::State::Null)?;
        pipeline.set_state(gst::State::Null)?;
        Ok(())
    }

    /// Nothing of ours after the camera: the process measures itself by a probe.
    fn alone(&self, rest: &str) -> Outcome {
        gst::init()?;
        let pipeline = pipeline(&format!(
            "{} ! {rest} ! fakesink name=end sync=false",
            self.source("dmabuf")
        ))?;
        let end: gst::Element = named(&pipeline, "end")?;
        let pad = end.static_pad("sink").ok_or("no pad")?;
        let (tell, told) = std::sync::mpsc::channel();
        let (meter, frames) = (Mutex::new(Meter::default()), self.frames);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            let Ok(mut meter) = meter.lock() else {
                return gst::PadProbeReturn::Remove;
            };
            meter.frame();
            if meter.seen == WARM_UP + frames {
                let _ = tell.send(meter.tell().map_err(|error| error.to_string()));
            }
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing)?;
        let outcome = told.recv_timeout(super::camera::PATIENCE);
        pipeline.set_state(gst::State::Null)?;
        Ok(outcome.map_err(|_| "the pipeline has not made its frames")??)
    }

    /// What applications do that know bytes only. `record` is what stands before the encoder.
    fn copies(&self, convert: &str, record: Option<&str>) -> Outcome {
        gst::init()?;
        let source = self.source("mmap");
        let line = format!("{source} ! {convert} appsink name=in sync=false max-buffers=4");
        let capture = pipeline(&line)?;
        let sink: gst_app::AppSink = named(&capture, "in")?;
        let out = record.map(|convert| {
            let line = format!("appsrc name=out format=time max-buffers=3 ! {convert} fakesink sync=false");
            let pipeline = pipeline(&line)?;
            let out: gst_app::AppSrc = named(&pipeline, "out")?;
            pipeline.set_state(gst::State::Playing)?;
            Ok::<_, Box<dyn std::error::Error>>((pipeline, out))
        });
        let out = out.transpose()?;
        capture.set_state(gst::State::Playing)?;
        let mut meter = Meter::default();
        for _ in 0..WARM_UP + self.frames {
            let sample = sink.try_pull_sample(gst::ClockTime::from_seconds(10));
            let sample = sample.ok_or("no sample")?;
            let (buffer, caps) = (sample.buffer().ok_or("no buffer")?, sample.caps_owned());
            let bytes = std::hint::black_box(buffer.map_readable()?.to_vec());
            meter.frame();
            let Some((_, out)) = &out else { continue };
            let mut copy = gst::Buffer::from_slice(bytes);
            if let Some(copy) = copy.get_mut() {
                copy.set_pts(buffer.pts());
            }
            if out.caps() != caps {
                out.set_caps(caps.as_ref());
            }
            let until = Instant::now() + WAIT;
            while out.current_level_buffers() >= 3 && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            out.push_buffer(copy)?;
        }
        meter.tell()?;
        capture.set_state(gst::State::Null)?;
        if let Some((pipeline, _)) = out {
            pipeline.set_state(gst::State::Null)?;
        }
        Ok(())
    }
}

fn pipeline(line: &str) -> Result<gst::Pipeline, Box<dyn std::error::Error>> {
    let pipeline = gst::parse::launch(line)?;
    pipeline.downcast().map_err(|_| "no pipeline".into())
}

fn named<T: IsA<gst::Element>>(
    pipeline: &gst::Pipeline,
    name: &str,
) -> Result<T, Box<dyn std::error::Error>> {
    let element = pipeline.by_name(name).and_then(|it| it.downcast().ok());
    element.ok_or_else(|| format!("no element {name}").into())
}
