//! A file that GStreamer decodes: frames of the decoder's own pictures, in memory that devices can import, to the end.

mod common;

use std::time::Duration;

use dmaframe::source::{Next, Source, Which, Wish};
use dmaframe::{Frame, Size};
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

#[test]
fn what_is_no_video_is_said_by_name() {
    common::init_gstreamer();
    let file = std::env::temp_dir().join(format!("dmaframe-source-{}.mkv", std::process::id()));
    std::fs::write(&file, "this is no film").unwrap();
    let opened = Source::open(&Wish::new(Which::File(file.clone())), &mut Vec::new());
    // GStreamer may find out at once or when it has read a bit.
    let reason = match opened {
        Err(error) => error.to_string(),
        Ok(mut source) => {
            // Nobody asks before it has.
            std::thread::sleep(Duration::from_millis(500));
            match source.next(LONG) {
                Next::Gone(reason) => reason,
                other => panic!("{other:?}"),
            }
        }
    };
    assert!(reason.contains("type") || reason.contains("played"), "{reason}");
    std::fs::remove_file(file).unwrap();
}
