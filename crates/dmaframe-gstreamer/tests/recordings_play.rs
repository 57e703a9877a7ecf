//! A recorder's file plays and has exactly the frames it was given, whatever the container; hardware comes first and takes
//! the frames' memory as it is; what cannot be had is said with its reason.

mod common;

use std::path::PathBuf;

use common::{LONG, Running, pool, stamped};
use dmaframe_alloc::FramePool;
use dmaframe_core::{Fourcc, Size};
use dmaframe_gstreamer::{EncoderChoice, Error, Recorder};
use dmaframe_testkit::{Device, Leaks, need};
use gst::prelude::*;

const FRAMES: u64 = 20;

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("dmaframe-recording-{}-{name}", std::process::id()))
}

/// Rows as files have them.
fn tight_pool(size: Size) -> FramePool {
    pool(Fourcc::NV12, size, 1, 8)
}

fn record(recorder: &Recorder, pool: &FramePool) {
    for index in 0..FRAMES {
        recorder.push(stamped(pool, index), LONG).unwrap();
    }
}

/// Pictures that GStreamer's own player elements find in the file, and the last one's time.
fn pictures(file: &std::path::Path) -> (u64, u64) {
    let playing = Running::parse(&format!(
        "filesrc location={} ! decodebin ! videoconvert ! appsink name=out sync=false max-buffers=0",
        file.display()
    ));
    let out: gst_app::AppSink = playing.0.by_name("out").unwrap().downcast().unwrap();
    playing.play();
    let (mut count, mut last) = (0, 0);
    while let Ok(sample) = out.pull_sample() {
        let pts = sample.buffer().and_then(|buffer| buffer.pts()).unwrap();
        (count, last) = (count + 1, pts.nseconds());
    }
    playing.wait_for_end().unwrap();
    (count, last)
}

#[test]
fn every_container_plays_and_has_every_frame_in_its_time() {
    common::init();
    let pool = tight_pool(Size::new(320, 240));
    let before = Leaks::now();
    for (name, encoder) in [
        ("a.mkv", "x264enc"),
        ("a.mp4", "x264enc"),
        ("a.webm", "vp8enc"),
        ("b.mp4", "openh264enc"),
    ] {
        let file = scratch(name);
        let mut builder = Recorder::builder(&file).framerate(100, 1);
        if encoder == "openh264enc" {
            builder = builder.encoder(EncoderChoice::Element(encoder.to_owned()));
        }
        let recorder = builder.start(&stamped(&pool, 0)).unwrap();
        let found = recorder.encoder();
        assert_eq!((found.element, found.hardware), (encoder, false), "{name}");
        // None is there in the lab, and none elsewhere is passed over in silence.
        if name == "a.mkv" {
            let hardware = recorder.passed_over().iter().map(|p| p.element);
            assert!(
                hardware.clone().any(|e| e == "v4l2h264enc"),
                "{:?}",
                recorder.passed_over()
            );
        }
        record(&recorder, &pool);
        let hop = recorder.hop().clone();
        let recording = recorder.finish(LONG).unwrap();
        assert_eq!((recording.frames, recording.encoded), (FRAMES, FRAMES), "{name}");
        let counts = hop.counts();
        assert_eq!(
            (counts.zero_copy, counts.cpu_bytes),
            (FRAMES, 0),
            "{name}: {counts}"
        );
        let (count, last) = pictures(&file);
        assert_eq!(count, FRAMES, "{name}");
        // Containers count milliseconds, or 90 000ths of a second.
        assert!(
            last.abs_diff((FRAMES - 1) * 10_000_000) <= 2_000_000,
            "{name}: {last}"
        );
        std::fs::remove_file(&file).unwrap();
    }
    assert_eq!(pool.outstanding(), 0, "every lease ran");
    common::settled(&before);
}

#[test]
fn a_device_that_imports_is_taken_first_and_gets_the_frames_own_memory() {
    need!(Device::Capture("vivid"));
    common::init();
    let file = scratch("a.fwht");
    let pool = tight_pool(Size::new(1280, 720));
    let recorder = Recorder::builder(&file).start(&stamped(&pool, 0)).unwrap();
    let encoder = recorder.encoder().to_string();
    assert_eq!(encoder, "FWHT by v4l2fwhtenc (hardware, dma-bufs imported)");
    record(&recorder, &pool);
    let recording = recorder.finish(LONG).unwrap();
    assert_eq!(recording.encoded, FRAMES);
    assert_eq!(pool.outstanding(), 0, "every lease ran, those of the trial too");
    let bytes = std::fs::read(&file).unwrap();
    let magic = [0x4f, 0x4f, 0x4f, 0x4f, 0xff, 0xff, 0xff, 0xff];
    let units = bytes.windows(8).filter(|window| *window == magic).count();
    assert_eq!(units as u64, FRAMES);
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn what_cannot_be_recorded_is_said_and_a_dropped_recorder_leaves_a_file_that_plays() {
    common::init();
    let pool = tight_pool(Size::new(320, 240));
    let first = stamped(&pool, 0);
    let said = |error: Error| error.to_string();
    let error = said(Recorder::builder("a.avi").start(&first).unwrap_err());
    assert!(
        error.starts_with("a.avi: the extension says") && error.contains("mkv"),
        "{error}"
    );
    let none = EncoderChoice::Element("nope".to_owned());
    let error = said(
        Recorder::builder("a.mkv")
            .encoder(none)
            .start(&first)
            .unwrap_err(),
    );
    assert_eq!(error, "no encoder for .mkv files: none of that name");
    let error = Recorder::builder("/nonexistent/a.mkv").start(&first).unwrap_err();
    assert!(matches!(error, Error::Pipeline(_)), "{error}");

    let file = scratch("dropped.mkv");
    let recorder = Recorder::builder(&file).framerate(100, 1).start(&first).unwrap();
    let other = tight_pool(Size::new(64, 64));
    let rejected = recorder.push(stamped(&other, 0), LONG).unwrap_err();
    assert_eq!(
        said(rejected.error),
        "the size of the pictures changed: they are NV12 64x64 now, the recording's are NV12 320x240"
    );
    record(&recorder, &pool);
    drop(recorder);
    assert_eq!(pictures(&file).0, FRAMES);
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_recording_refuses_pictures_that_would_change_its_caps_and_takes_copies() {
    common::init();
    let pool = tight_pool(Size::new(320, 240));
    let file = scratch("changes.mkv");
    let recorder = Recorder::builder(&file)
        .framerate(100, 1)
        .encoder(EncoderChoice::Software)
        .start(&stamped(&pool, 0))
        .unwrap();
    recorder.push(stamped(&pool, 0), LONG).unwrap();
    let mut smaller = stamped(&pool, 1);
    smaller.meta_mut().unwrap().visible = Some(dmaframe_core::Rect {
        x: 0,
        y: 0,
        width: 160,
        height: 120,
    });
    let mut other = stamped(&pool, 2);
    other.meta_mut().unwrap().color = dmaframe_core::ColorInfo::SRGB;
    for (frame, wanted) in [(smaller, "size to be shown"), (other, "colour")] {
        let rejected = recorder.push(frame, LONG).unwrap_err();
        match rejected.error {
            Error::PictureChanged { what, .. } => assert_eq!(what, wanted),
            error => panic!("{wanted}: {error}"),
        }
    }
    // What a capture gives who holds too much: other memory, the same picture.
    let copy = stamped(&pool, 3).detach(LONG).unwrap();
    recorder.push(copy, LONG).unwrap();
    recorder.push(stamped(&pool, 4), LONG).unwrap();
    let recording = recorder.finish(LONG).unwrap();
    assert_eq!((recording.frames, recording.encoded), (3, 3));
    assert_eq!(pictures(&file).0, 3);
    std::fs::remove_file(&file).unwrap();
}
