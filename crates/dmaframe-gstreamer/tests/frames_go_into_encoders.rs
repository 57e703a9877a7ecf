//! `FrameSrc ! encoder`: hardware takes the memory as it is, files play, no frame is lost or moved in time.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{LONG, Running, device, from_src, next, patient, pool, pushing, tight};
use dmaframe_alloc::FramePool;
use dmaframe_core::{Clock, Fourcc, Frame, Size, Timestamp};
use dmaframe_gstreamer::{FrameSrc, Received};
use dmaframe_testkit::{Device, need};
use gst::prelude::*;

const SIZE: Size = Size::new(1280, 720);

/// A picture that says its number in bars which survive an encoder: bit by bit, 64 columns each, and a gradient below.
fn paint(frame: &mut Frame, number: u64) {
    let mut view = frame.map_write(LONG).unwrap();
    let (width, rows) = (view.layout().row_bytes(0), view.layout().rows(0));
    let bars: Vec<u8> = (0..width)
        .map(|x| if number >> (x / 64 % 16) & 1 == 1 { 200 } else { 40 })
        .collect();
    let slope: Vec<u8> = (0..width).map(|x| (x * 160 / width + 40) as u8).collect();
    for row in 0..rows {
        view.write_row(0, row, if row < rows / 2 { &bars } else { &slope })
            .unwrap();
    }
    for plane in 1..view.layout().planes().len() {
        let grey = vec![128; view.layout().row_bytes(plane)];
        for row in 0..view.layout().rows(plane) {
            view.write_row(plane, row, &grey).unwrap();
        }
    }
}

/// The number in a picture.
fn number(bytes: &[u8], width: usize) -> u64 {
    (0..(width / 64).min(16))
        .filter(|bit| bytes[width * 16 + bit * 64 + 32] > 120)
        .map(|bit| 1 << bit)
        .sum()
}

fn push_numbered(source: &FrameSrc, pool: &FramePool, count: u64) {
    let start = Timestamp::now(Clock::Monotonic).ns;
    for index in 0..count {
        let mut frame = pool.acquire(LONG).unwrap();
        paint(&mut frame, index);
        let ns = start + index * 33_333_333;
        let meta = frame.meta_mut().unwrap();
        meta.timestamp = Some(Timestamp {
            ns,
            clock: Clock::Monotonic,
        });
        meta.sequence = Some(index);
        source.push(frame, LONG).unwrap();
    }
    source.end_of_stream().unwrap();
}

/// What `v4l2enc` says about each buffer that comes to it, in GStreamer's log: imported, or copied.
fn count_log(needle: &'static str) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let found = Arc::clone(&count);
    gst::log::set_threshold_for_name("v4l2bufferpool", gst::DebugLevel::Log);
    gst::log::set_threshold_for_name("v4l2allocator", gst::DebugLevel::Log);
    gst::log::add_log_function(move |_, _, _, _, _, _, message| {
        if message.get().is_some_and(|text| text.contains(needle)) {
            found.fetch_add(1, Ordering::Relaxed);
        }
    });
    count
}

#[test]
fn a_v4l2_encoder_takes_the_memory_as_it_is_and_what_it_writes_is_the_picture() {
    need!(Device::Capture("vivid"));
    common::init();
    gst::log::remove_default_log_function();
    let (imported, copied) = (count_log("importing dmabuf"), count_log("copying buffer"));
    let source = pushing().framerate(30, 1).build().unwrap();
    let encoder = "v4l2fwhtenc output-io-mode=dmabuf-import ! appsink name=out sync=false max-buffers=0";
    let running = from_src(source.element(), encoder);
    let encoded: gst_app::AppSink = running.0.by_name("out").unwrap().downcast().unwrap();
    running.play();
    let pool = pool(Fourcc::NV12, SIZE, 1, 6);
    push_numbered(&source, &pool, 30);
    let mut units = Vec::new();
    while let Ok(sample) = encoded.pull_sample() {
        units.push(sample);
    }
    running.wait_for_end().unwrap();
    assert_eq!(units.len(), 30);
    assert!(imported.load(Ordering::Relaxed) >= 30, "{imported:?} imported");
    assert_eq!(copied.load(Ordering::Relaxed), 0, "copied");
    let counts = source.hop().counts();
    assert_eq!(
        (counts.frames, counts.zero_copy, source.stats().copied),
        (30, 30, 0)
    );
    running.stop();
    source.forget_buffers();
    assert_eq!(pool.outstanding(), 0, "every lease ran");

    // What was encoded, decoded again: the right pictures in the right order.
    let decode = Running::parse(
        "appsrc name=in format=time ! v4l2fwhtdec ! appsink name=out sync=false max-buffers=0",
    );
    let input: gst_app::AppSrc = decode.0.by_name("in").unwrap().downcast().unwrap();
    let out: gst_app::AppSink = decode.0.by_name("out").unwrap().downcast().unwrap();
    let mut sink = patient(64).wrap(out).unwrap();
    decode.play();
    for unit in units {
        input.push_sample(&unit).unwrap();
    }
    input.end_of_stream().unwrap();
    for index in 0..30 {
        let frame = next(&mut sink);
        assert_eq!(number(&tight(&frame), SIZE.width as usize), index);
    }
    assert!(matches!(sink.next(LONG), Ok(Received::EndOfStream)));
}

#[test]
fn files_of_software_encoders_play_and_have_every_frame_in_its_time() {
    let size = Size::new(640, 360);
    for encoder in [
        "x264enc speed-preset=ultrafast tune=zerolatency ! h264parse",
        "openh264enc ! h264parse",
    ] {
        let file = std::env::temp_dir().join(format!("dmaframe-{}.mkv", std::process::id()));
        let source = pushing().framerate(30, 1).build().unwrap();
        let running = from_src(
            source.element(),
            &format!("{encoder} ! matroskamux ! filesink location={}", file.display()),
        );
        let pool = source.pool(&[Fourcc::NV12, Fourcc::YUV420], size, 4).unwrap();
        let fourcc = pool.layout().fourcc();
        // Rows as GPUs want them: wider than the picture's.
        let pool = common::pool(fourcc, size, 256, 4);
        running.play();
        push_numbered(&source, &pool, 30);
        running.wait_for_end().unwrap();
        running.stop();
        assert_eq!(
            source.stats().copied,
            0,
            "{encoder}: these encoders understand strides"
        );

        let reading = Running::parse(&format!(
            "filesrc location={} ! matroskademux ! h264parse ! avdec_h264 ! appsink name=out",
            file.display()
        ));
        let out: gst_app::AppSink = reading.0.by_name("out").unwrap().downcast().unwrap();
        let mut sink = patient(8).hold(8).wrap(out).unwrap();
        reading.play();
        for index in 0..30u64 {
            let frame = next(&mut sink);
            assert_eq!(
                number(&tight(&frame), size.width as usize) & 0x3ff,
                index,
                "{encoder}"
            );
        }
        assert!(
            matches!(sink.next(LONG), Ok(Received::EndOfStream)),
            "{encoder}: no frame more"
        );
        drop(reading);
        std::fs::remove_file(&file).unwrap();
    }
}

/// A camera is recorded twice: by GStreamer alone, and with our frames between. Each frame's time in our file must be that of
/// the same frame in the reference.
fn sensor_time(span: Duration) {
    let camera = need!(Device::Capture("vivid"));
    let mut sink = patient(8).hold(6).build().unwrap();
    sink.element().set_property("name", "ours");
    let capture = Running::new();
    let camera = format!(
        "v4l2src io-mode=dmabuf device={} ! video/x-raw,format=YUY2,width=320,height=180 ! tee name=t \
         t. ! queue max-size-buffers=2 ! identity name=reference silent=true ! fakesink sync=false \
         t. ! queue max-size-buffers=2 name=q",
        device(&camera)
    );
    let bin = gst::parse::bin_from_description(&camera, false).unwrap();
    let ghost = gst::GhostPad::with_target(&bin.by_name("q").unwrap().static_pad("src").unwrap()).unwrap();
    bin.add_pad(&ghost).unwrap();
    capture.0.add_many([bin.upcast_ref(), sink.element()]).unwrap();
    bin.link(sink.element()).unwrap();
    // The reference: sequence number and pipeline time, as GStreamer's own element saw them.
    let (send, reference) = std::sync::mpsc::channel();
    let base = capture.0.downgrade();
    bin.by_name("reference")
        .unwrap()
        .static_pad("src")
        .unwrap()
        .add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let (Some(buffer), Some(pipeline)) = (info.buffer(), base.upgrade()) {
                let absolute = pipeline.base_time().unwrap() + buffer.pts().unwrap();
                let _ = send.send((buffer.offset(), absolute.nseconds()));
            }
            gst::PadProbeReturn::Ok
        });

    let file = std::env::temp_dir().join(format!("dmaframe-sensor-{}.mkv", std::process::id()));
    let source = FrameSrc::builder().framerate(30, 1).build().unwrap();
    let record = from_src(
        source.element(),
        &format!(
            "videoconvert ! x264enc speed-preset=ultrafast tune=zerolatency ! h264parse ! matroskamux ! \
             filesink location={}",
            file.display()
        ),
    );
    record.play();
    capture.play();
    let start = std::time::Instant::now();
    let mut sent = Vec::new();
    while start.elapsed() < span {
        let frame = next(&mut sink);
        let sequence = frame.meta().sequence.unwrap();
        source.push(frame, LONG).unwrap();
        sent.push(sequence);
    }
    let base = record.0.base_time().unwrap().nseconds();
    source.end_of_stream().unwrap();
    record.wait_for_end().unwrap();
    let early = usize::try_from(source.stats().early).unwrap();
    record.stop();
    capture.stop();

    let reference: std::collections::HashMap<u64, u64> = reference.try_iter().collect();
    let read = Running::parse(&format!(
        "filesrc location={} ! matroskademux ! appsink name=out sync=false max-buffers=0",
        file.display()
    ));
    let out: gst_app::AppSink = read.0.by_name("out").unwrap().downcast().unwrap();
    read.play();
    let mut times = Vec::new();
    while let Ok(sample) = out.pull_sample() {
        times.push(sample.buffer().unwrap().pts().unwrap().nseconds());
    }
    assert_eq!(times.len(), sent.len() - early, "every frame is in the file");
    let mut worst = 0;
    for (sequence, time) in sent[early..].iter().zip(&times) {
        let expected = reference[sequence];
        worst = worst.max(expected.abs_diff(base + time));
    }
    println!(
        "{} frames in {span:?}, {early} from before the start; worst time off by {worst} ns",
        times.len()
    );
    assert!(worst < 33_000_000, "worst {worst} ns");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn recorded_times_are_the_sensors() {
    sensor_time(Duration::from_secs(3));
}

#[test]
#[ignore = "a minute long"]
fn recorded_times_are_the_sensors_for_a_minute() {
    sensor_time(Duration::from_secs(60));
}
