//! A file that GStreamer decodes: frames of the decoder's own pictures, in memory that devices can import, to the end.

mod common;

use std::time::Duration;

use dmaframe::source::{Error, Next, Source, Which, Wish};
use dmaframe::v4l2::PixelFormat;
use dmaframe::{Fourcc, Frame, Size};
use gst::prelude::*;

/// A wait that reaches it is a hang.
const LONG: Duration = Duration::from_secs(30);
const SIZE: Size = Size::new(320, 180);

/// A recording of 100 pictures, made here, with sound, as files have it. `None` where an element is missing.
fn recording(name: &str, encoder: &str, muxer: &str) -> Option<std::path::PathBuf> {
    let file = std::env::temp_dir().join(format!("dmaframe-source-{}-{name}", std::process::id()));
    let text = format!(
        "videotestsrc num-buffers=100 pattern=smpte ! video/x-raw,format=I420,width=320,height=180,framerate=200/1 ! {encoder} ! \
         {muxer} name=m ! filesink location={} audiotestsrc num-buffers=20 ! audioconvert ! audio/x-raw,format=S16LE ! m.",
        file.display()
    );
    let pipeline = match gst::parse::launch(&text) {
        Ok(pipeline) => pipeline,
        Err(error) => {
            dmaframe_testkit::skip(&format!("GStreamer here cannot write {name}: {error}"));
            return None;
        }
    };
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    let end = end.expect("an end");
    assert!(matches!(end.view(), gst::MessageView::Eos(_)), "{end:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    Some(file)
}

#[test]
fn a_file_is_played_to_its_end_without_a_copied_byte() {
    common::init_gstreamer();
    let Some(file) = recording("bars.avi", "jpegenc quality=95", "avimux") else {
        return;
    };
    let which: Which = file.to_str().unwrap().parse().unwrap();
    let mut source = Source::open(&Wish::new(which), &mut Vec::new()).unwrap();
    let mut frames = 0;
    let mut last: Option<Frame> = None;
    loop {
        match source.next(LONG) {
            Next::Frame(frame) => {
                assert_eq!(frame.layout().size(), SIZE);
                assert!(frame.as_dmabuf().is_some(), "{frame:?}");
                last = Some(frame);
                frames += 1;
            }
            Next::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(source.next(LONG), Next::End), "said each time");
    assert_eq!(frames, 100, "{:?}", source.stats());
    let counts = source.hop().counts();
    assert_eq!((counts.zero_copy, counts.cpu_bytes), (100, 0), "{counts}");
    assert_eq!(source.stats().delivered, 100);
    drop(source);
    // White, the first of the bars.
    let last = last.unwrap();
    let luma = last.map_read(LONG).unwrap().to_tight().unwrap()[40 * 320 + 5];
    assert!(luma.abs_diff(235) < 12, "luma {luma}, {last:?}");
    std::fs::remove_file(file).unwrap();
}

/// A file of this content is refused when it is opened; gives the reason.
fn refused(name: &str, content: &[u8]) -> String {
    let file = std::env::temp_dir().join(format!("dmaframe-source-{}-{name}", std::process::id()));
    std::fs::write(&file, content).unwrap();
    let opened = Source::open(&Wish::new(Which::File(file.clone())), &mut Vec::new());
    std::fs::remove_file(&file).unwrap();
    let error = opened.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(name) && text.contains("cannot be played"), "{text}");
    text
}

#[test]
fn what_is_no_video_is_refused_by_name_when_it_is_opened() {
    common::init_gstreamer();
    for element in ["appsink", "uridecodebin"] {
        if gst::ElementFactory::find(element).is_none() {
            dmaframe_testkit::skip(&format!("GStreamer here has no element {element}"));
            return;
        }
    }
    let reason = refused("text.mkv", b"this is no film");
    assert!(reason.contains("type"), "{reason}");
    refused("empty.mkv", b"");
}

#[test]
fn a_file_that_breaks_off_ends_once_and_is_not_played_from_its_beginning_again() {
    common::init_gstreamer();
    let Some(file) = recording("broken.avi", "jpegenc quality=95", "avimux") else {
        return;
    };
    // Its second half is something else.
    let mut bytes = std::fs::read(&file).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    let mut source = Source::open(&Wish::new(Which::File(file.clone())), &mut Vec::new()).unwrap();
    let (mut frames, mut gone) = (0, 0);
    loop {
        match source.next(LONG) {
            Next::Frame(_) => frames += 1,
            Next::Gone(_) => gone += 1,
            Next::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(
        (1..=100).contains(&frames) && gone <= 1,
        "{frames} pictures, gone {gone} times"
    );
    assert!(matches!(source.next(LONG), Next::End), "said each time");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_file_gives_the_format_asked_for_or_says_which_it_has() {
    common::init_gstreamer();
    let Some(file) = recording("format.avi", "jpegenc quality=95", "avimux") else {
        return;
    };
    let wish = Wish::new(Which::File(file.clone()));
    let mut source = Source::open(&wish.clone().format(PixelFormat::new(b"YU12")), &mut Vec::new()).unwrap();
    let frame = source.next(LONG).into_frame().unwrap();
    assert_eq!(frame.fourcc(), Fourcc::YUV420);
    for (asked, said) in [
        (PixelFormat::YUYV, "gives no YUYV here: it has YU12"),
        (PixelFormat::MJPEG, "gives no MJPG that is a frame here"),
    ] {
        let error = Source::open(&wish.clone().format(asked), &mut Vec::new()).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        assert!(error.to_string().contains(said), "{error}");
    }
    std::fs::remove_file(file).unwrap();
}
