//! What a camera's pictures cost the CPU on their way into a recording pipeline: as frames, as copies, and by GStreamer
//! alone, side by side.
//!
//!     gst_cost [DEVICE [FRAMES [FORMAT]]]
//!
//! Needs a V4L2 camera that makes 1920x1080 and 3840x2160 (`vivid` does). CPU time is that of the whole process, user and
//! system; what the kernel's own threads do (a driver that draws test pictures) is in none of the rows.
//! Some kernels (the lab's) count CPU time in ticks of 10 ms: take some hundred frames there, on a quiet machine.
//! The pipeline ends in a sink that looks at nothing, so an encoder's time is in none of them, either.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dmaframe_gstreamer::{Backpressure, FrameSink, FrameSrc, Received, Timing};
use gst::prelude::*;

type Outcome = Result<Cost, Box<dyn std::error::Error>>;
type Subject = fn(&Camera) -> Outcome;

/// What so many frames cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    frames: u32,
    cpu: Duration,
    copied: u64,
}

struct Camera {
    device: String,
    frames: u32,
    format: String,
    size: (u32, u32),
}

impl Camera {
    fn source(&self, mode: &str, buffers: u32) -> String {
        let Self {
            device,
            format,
            size: (width, height),
            ..
        } = self;
        format!(
            "v4l2src device={device} io-mode={mode} num-buffers={buffers} ! \
             video/x-raw,format={format},width={width},height={height}"
        )
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let device = arguments.next().unwrap_or_else(|| "/dev/video0".to_owned());
    let frames = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let format = arguments.next().unwrap_or_else(|| "NV12".to_owned());
    gst::init()?;
    println!(
        "{}, {frames} frames each, {format} from {device}\n",
        gst::version_string()
    );
    println!(
        "| into a recording pipeline | 1080p: CPU per frame | bytes copied | 4K: CPU per frame | bytes copied |"
    );
    println!("| --- | ---: | ---: | ---: | ---: |");
    let subjects: [(&str, Subject); 4] = [
        (
            "GStreamer alone, as `gst-launch-1.0 v4l2src io-mode=dmabuf ! fakesink`",
            alone,
        ),
        ("frames: `FrameSink`, `FrameSrc`", frames_through),
        ("copies: map, copy, `Buffer::from_slice`", |camera| {
            copies(camera, "identity")
        }),
        ("copies, and `videoconvert` to I420", |camera| {
            copies(camera, "videoconvert ! video/x-raw,format=I420")
        }),
    ];
    for (name, subject) in subjects {
        print!("| {name} ");
        for size in [(1920, 1080), (3840, 2160)] {
            let (device, format) = (device.clone(), format.clone());
            match subject(&Camera {
                device,
                frames,
                format,
                size,
            }) {
                Ok(cost) => {
                    let frames = cost.frames.max(1);
                    print!(
                        "| {} us | {} ",
                        (cost.cpu / frames).as_micros(),
                        cost.copied / u64::from(frames)
                    );
                }
                Err(error) => print!("| {error} | - "),
            }
        }
        println!("|");
    }
    Ok(())
}

/// CPU time of this process.
fn cpu() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// What `gst-launch-1.0` does, in this process, so that the same clock measures it.
fn alone(camera: &Camera) -> Outcome {
    let source = camera.source("dmabuf", camera.frames + 10);
    let pipeline = gst::parse::launch(&format!("{source} ! fakesink name=end sync=false"))?;
    let pipeline: gst::Pipeline = pipeline.downcast().map_err(|_| "no pipeline")?;
    let pad = pipeline
        .by_name("end")
        .and_then(|end| end.static_pad("sink"))
        .ok_or("no sink")?;
    let seen = Arc::new(Mutex::new((0, Duration::ZERO)));
    let counting = Arc::clone(&seen);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        if let Ok(mut seen) = counting.lock() {
            seen.0 += 1;
            if seen.0 == 10 {
                seen.1 = cpu();
            }
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().ok_or("no bus")?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    let now = cpu();
    pipeline.set_state(gst::State::Null)?;
    if end.is_none_or(|end| end.type_() != gst::MessageType::Eos) {
        return Err("the pipeline failed".into());
    }
    let (count, start) = *seen.lock().map_err(|_| "a probe panicked")?;
    Ok(Cost {
        frames: u32::saturating_sub(count, 10),
        cpu: now - start,
        copied: 0,
    })
}

/// Both endpoints, in two pipelines as an application has them.
fn frames_through(camera: &Camera) -> Outcome {
    let mut sink = FrameSink::builder().queue(4, Backpressure::Block).build()?;
    let capture = gst::Pipeline::new();
    let source = gst::parse::bin_from_description(
        &(camera.source("dmabuf", camera.frames + 10) + " ! identity"),
        true,
    )?;
    capture.add_many([source.upcast_ref(), sink.element()])?;
    source.link(sink.element())?;
    let out = FrameSrc::builder()
        .live(false)
        .timing(Timing::FromFirst)
        .build()?;
    let record = gst::Pipeline::new();
    let end = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .build()?;
    record.add_many([out.element(), &end])?;
    out.element().link(&end)?;
    record.set_state(gst::State::Playing)?;
    capture.set_state(gst::State::Playing)?;
    let wait = Duration::from_secs(10);
    let mut cost = Cost::default();
    let mut start = cpu();
    for index in 0..camera.frames + 10 {
        let Received::Frame(frame) = sink.next(wait)? else {
            break;
        };
        out.push(frame, wait).map_err(|rejected| rejected.error)?;
        // The first ones set things up.
        if index == 9 {
            start = cpu();
        } else if index > 9 {
            cost.frames += 1;
        }
    }
    cost.cpu = cpu() - start;
    cost.copied = sink.hop().counts().cpu_bytes + out.hop().counts().cpu_bytes;
    capture.set_state(gst::State::Null)?;
    record.set_state(gst::State::Null)?;
    Ok(cost)
}

/// What applications do that know bytes only.
fn copies(camera: &Camera, convert: &str) -> Outcome {
    let source = camera.source("mmap", camera.frames + 10);
    let capture = gst::parse::launch(&format!("{source} ! appsink name=in sync=false max-buffers=4"))?;
    let capture: gst::Pipeline = capture.downcast().map_err(|_| "no pipeline")?;
    let sink: gst_app::AppSink = capture
        .by_name("in")
        .and_then(|it| it.downcast().ok())
        .ok_or("no appsink")?;
    let record = format!("appsrc name=out format=time max-buffers=3 ! {convert} ! fakesink sync=false");
    let record: gst::Pipeline = gst::parse::launch(&record)?
        .downcast()
        .map_err(|_| "no pipeline")?;
    let out: gst_app::AppSrc = record
        .by_name("out")
        .and_then(|it| it.downcast().ok())
        .ok_or("no appsrc")?;
    record.set_state(gst::State::Playing)?;
    capture.set_state(gst::State::Playing)?;
    let mut cost = Cost::default();
    let mut start = cpu();
    for index in 0..camera.frames + 10 {
        let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(10)) else {
            break;
        };
        let (Some(buffer), Some(caps)) = (sample.buffer(), sample.caps_owned()) else {
            break;
        };
        let bytes = buffer.map_readable()?.to_vec();
        let len = bytes.len() as u64;
        let mut copy = gst::Buffer::from_slice(bytes);
        if let Some(copy) = copy.get_mut() {
            copy.set_pts(buffer.pts());
        }
        if out.caps().as_ref() != Some(&caps) {
            out.set_caps(Some(&caps));
        }
        let wait = Instant::now() + Duration::from_secs(10);
        while out.current_level_buffers() >= 3 && Instant::now() < wait {
            std::thread::sleep(Duration::from_millis(1));
        }
        out.push_buffer(copy)?;
        if index == 9 {
            start = cpu();
        } else if index > 9 {
            cost.frames += 1;
            cost.copied += len;
        }
    }
    cost.cpu = cpu() - start;
    capture.set_state(gst::State::Null)?;
    record.set_state(gst::State::Null)?;
    Ok(cost)
}
