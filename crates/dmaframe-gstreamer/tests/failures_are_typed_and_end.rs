//! Whatever goes wrong around an endpoint: a typed answer in bounded time, the frame given back, nothing left open.
//!
//! One test, so that descriptors can be counted.

mod common;

use std::time::{Duration, Instant};

use common::{
    LONG, device, from_src, into_sink, next, patient, pushing, settled, small_pool, stamped, tight,
};
use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Deadline, Fourcc, Modifier};
use dmaframe_gstreamer::{Error, Fault, FrameSink, FrameSrc, Pacing, Received};
use dmaframe_testkit::{Device, Leaks, need};
use gst::prelude::*;

#[test]
fn every_failure_is_an_answer_and_leaves_nothing_open() {
    let camera = device(&need!(Device::Capture("vivid")));
    need!(Device::Udmabuf);
    // GStreamer's own threads, allocators and device nodes, and ours.
    flush_and_end();
    push_into(&small_pool(2), "fakesink sync=false");
    stop_with_frames_held(&camera);
    let scenarios: [(&str, &dyn Fn()); 11] = [
        ("a format nobody shares", &no_common_format),
        ("modifiers nobody can make", &only_modifiers_we_cannot_make),
        ("a sink whose formats upstream cannot make", &upstream_cannot),
        ("flush and end", &flush_and_end),
        ("push after the end", &push_after_the_end),
        ("stop with frames held", &|| stop_with_frames_held(&camera)),
        ("an error while pushing", &error_while_pushing),
        ("an error while waiting", &error_while_waiting),
        ("a pipeline that stands still", &standing_still),
        ("stop while pushing", &stop_while_pushing),
        ("nobody takes what comes", &nobody_takes),
    ];
    (0..50).for_each(|_| upstream_cannot());
    for (name, scenario) in scenarios {
        let before = Leaks::now();
        let start = Instant::now();
        scenario();
        println!("{name}: {:?}", start.elapsed());
        settled(&before);
    }
}

fn source() -> FrameSrc {
    pushing().framerate(100, 1).build().unwrap()
}

fn push_into(pool: &dmaframe_alloc::FramePool, rest: &str) {
    let source = source();
    let running = from_src(source.element(), rest);
    running.play();
    for index in 0..4 {
        source.push(stamped(pool, index), LONG).unwrap();
    }
    source.end_of_stream().unwrap();
    running.wait_for_end().unwrap();
}

fn no_common_format() {
    let source = source();
    let running = from_src(
        source.element(),
        "capsfilter caps=video/x-raw,format=RGB ! fakesink",
    );
    running.play();
    let pool = small_pool(2);
    let frame = stamped(&pool, 0);
    let content = frame.content_id();
    let rejected = source.push(frame, LONG).unwrap_err();
    assert_eq!(rejected.value.content_id(), content, "the frame comes back");
    let Error::Negotiation(why) = &rejected.error else {
        panic!("{:?}", rejected.error)
    };
    let text = why.to_string();
    assert!(text.contains("NV12") && text.contains("BG24"), "{text}");
    drop(rejected);
    assert_eq!(pool.outstanding(), 0);
    // A pool made for what is taken instead: there is a format after all.
    let other = source
        .pool(
            &[Fourcc::NV12, Fourcc::BGR888],
            dmaframe_core::Size::new(320, 240),
            2,
        )
        .unwrap();
    assert_eq!(other.layout().fourcc(), Fourcc::BGR888);
    source.push(stamped(&other, 0), LONG).unwrap();
}

fn only_modifiers_we_cannot_make() {
    if !dmaframe_gstreamer::caps::has_dma_drm() {
        return;
    }
    let source = source();
    let caps = "video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format={NV12:0x0100000000000002,NV12:0x0300000000606014}";
    let running = from_src(
        source.element(),
        &format!("capsfilter caps=\"{caps}\" ! fakesink"),
    );
    running.play();
    let pool = small_pool(2);
    let rejected = source.push(stamped(&pool, 0), LONG).unwrap_err();
    let text = rejected.error.to_string();
    assert!(matches!(rejected.error, Error::Negotiation(_)), "{text}");
    assert!(
        text.contains("LINEAR") && text.contains("INTEL") && text.contains("NVIDIA"),
        "{text}"
    );
    let why = source
        .pool(&[Fourcc::NV12], dmaframe_core::Size::new(320, 240), 2)
        .unwrap_err();
    assert!(matches!(why, Error::Negotiation(_)), "{why}");
}

fn upstream_cannot() {
    let formats = FormatSet::new("gpu").with(Fourcc::NV12, Modifier(0x0100_0000_0000_0002));
    let mut sink = patient(2).build().unwrap();
    let running = into_sink("videotestsrc", &sink);
    // Once linked, or linking would be refused already.
    let caps = dmaframe_gstreamer::caps::from_formats(&formats);
    sink.element().set_property("caps", &caps);
    let _ = running.0.set_state(gst::State::Playing);
    match sink.next(LONG) {
        Err(Error::Pipeline(failed)) => assert_eq!(failed.fault, Fault::Negotiation, "{failed}"),
        other => panic!("{other:?}"),
    }
}

fn flush_and_end() {
    let mut sink = patient(2).build().unwrap();
    let running = into_sink(
        "videotestsrc num-buffers=30 ! video/x-raw,format=NV12,width=320,height=240",
        &sink,
    );
    running.play();
    let held: Vec<_> = (0..3).map(|_| next(&mut sink)).collect();
    running
        .0
        .seek_simple(gst::SeekFlags::FLUSH, gst::ClockTime::ZERO)
        .unwrap();
    let mut flushed = 0;
    let mut after = 0;
    loop {
        match sink.next(LONG).unwrap() {
            Received::Flushed => flushed += 1,
            Received::Frame(_) => after += 1,
            Received::EndOfStream => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(flushed, 1);
    // `num-buffers` counts on through a seek.
    assert!((20..28).contains(&after), "{after} after the flush");
    assert!(
        matches!(sink.next(Duration::ZERO), Ok(Received::EndOfStream)),
        "it stays ended"
    );
    for frame in &held {
        assert!(
            !tight(frame).is_empty(),
            "frames from before the flush are readable"
        );
    }
}

fn push_after_the_end() {
    let source = source();
    let running = from_src(source.element(), "fakesink sync=false");
    running.play();
    let pool = small_pool(2);
    source.push(stamped(&pool, 0), LONG).unwrap();
    source.end_of_stream().unwrap();
    assert!(source.end_of_stream().is_ok(), "said twice is said once");
    let rejected = source.push(stamped(&pool, 1), LONG).unwrap_err();
    assert!(
        matches!(rejected.error, Error::EndOfStream { .. }),
        "{}",
        rejected.error
    );
    running.wait_for_end().unwrap();
}

fn stop_with_frames_held(camera: &str) {
    let mut sink = FrameSink::builder().hold(8).build().unwrap();
    let running = into_sink(&format!("v4l2src io-mode=dmabuf device={camera}"), &sink);
    running.play();
    let held: Vec<_> = (0..3).map(|_| next(&mut sink)).collect();
    let pictures: Vec<_> = held.iter().map(tight).collect();
    running.0.set_state(gst::State::Ready).unwrap();
    // What was queued still comes: the queue's own two at most.
    let mut queued = 0;
    let stopped = loop {
        match sink.next(LONG) {
            Ok(Received::Frame(_)) => queued += 1,
            other => break other,
        }
    };
    assert!(queued <= 2, "{queued}");
    assert!(matches!(stopped, Err(Error::NotRunning { .. })), "{stopped:?}");
    for (frame, picture) in held.iter().zip(&pictures) {
        assert!(tight(frame) == *picture, "still the same picture");
    }
    // And on again, with the old frames still there.
    running.play();
    let again = next(&mut sink);
    assert!(again.as_dmabuf().is_some());
    drop(running);
    drop(sink);
    for (frame, picture) in held.iter().zip(&pictures) {
        assert!(tight(frame) == *picture, "also when pipeline and sink are gone");
    }
}

fn error_while_pushing() {
    let source = source();
    let running = from_src(source.element(), "identity error-after=3 ! fakesink sync=false");
    running.play();
    let pool = small_pool(8);
    let failed = (0..100).find_map(|index| source.push(stamped(&pool, index), Deadline::NEVER).err());
    let rejected = failed.expect("the pipeline has failed");
    let Error::Pipeline(failed) = &rejected.error else {
        panic!("{:?}", rejected.error)
    };
    assert!(failed.element.contains("identity"), "{failed}");
    assert!(matches!(source.end_of_stream(), Err(Error::Pipeline(_))));
    assert!(matches!(
        futures_executor::block_on(source.ready()),
        Err(Error::Pipeline(_))
    ));
    drop(rejected);
    drop(running);
    assert_eq!(pool.outstanding(), 0, "what was queued came back");
}

fn error_while_waiting() {
    let mut sink = patient(8).build().unwrap();
    let running = into_sink(
        "videotestsrc ! video/x-raw,format=NV12 ! identity error-after=3",
        &sink,
    );
    running.play();
    let error = loop {
        match sink.next(Deadline::NEVER) {
            Ok(Received::Frame(_)) => {}
            Err(error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert!(
        matches!(&error, Error::Pipeline(failed) if failed.element.contains("identity")),
        "{error}"
    );
    drop(running);
}

fn standing_still() {
    for (pacing, dropped) in [
        (Pacing::Wait, 0),
        (Pacing::DropNewest, 6),
        (Pacing::DropOldest, 6),
    ] {
        let source = pushing().queue(2, pacing).build().unwrap();
        // In PAUSED a sink takes one and waits.
        let running = from_src(source.element(), "fakesink sync=false");
        running.0.set_state(gst::State::Paused).unwrap();
        let pool = small_pool(12);
        source.push(stamped(&pool, 0), LONG).unwrap();
        running.0.state(gst::ClockTime::from_seconds(10)).0.unwrap();
        let mut full = 0;
        for index in 1..9 {
            match source.push(stamped(&pool, index), Duration::from_millis(20)) {
                Ok(()) => {}
                Err(rejected) => {
                    assert!(
                        matches!(rejected.error, Error::Full { limit: 2, .. }),
                        "{}",
                        rejected.error
                    );
                    full += 1;
                }
            }
        }
        assert_eq!(
            (source.stats().dropped, full),
            (dropped, if dropped == 0 { 6 } else { 0 }),
            "{pacing:?}"
        );
        assert_eq!(source.queued(), 2, "{pacing:?}");
        // It goes on where it stood.
        running.play();
        source.push(stamped(&pool, 20), LONG).unwrap();
        source.end_of_stream().unwrap();
        running.wait_for_end().unwrap();
    }
}

fn stop_while_pushing() {
    let source = source();
    let running = from_src(source.element(), "fakesink sync=false");
    running.0.set_state(gst::State::Paused).unwrap();
    let pool = small_pool(8);
    std::thread::scope(|scope| {
        let pushing = scope
            .spawn(|| (0..8).find_map(|index| source.push(stamped(&pool, index), Deadline::NEVER).err()));
        std::thread::sleep(Duration::from_millis(100));
        running.stop();
        let rejected = pushing.join().unwrap().expect("stopped under way");
        assert!(
            matches!(rejected.error, Error::NotRunning { .. }),
            "{}",
            rejected.error
        );
    });
    drop(running);
    source.forget_buffers();
    assert_eq!(pool.outstanding(), 0);
}

fn nobody_takes() {
    let sink = patient(2).build().unwrap();
    let running = into_sink(
        "videotestsrc ! video/x-raw,format=NV12,width=320,height=240",
        &sink,
    );
    running.play();
    std::thread::sleep(Duration::from_millis(100));
    running.stop();
    // And one whose owner is gone does not stop the others.
    let sink = patient(2).build().unwrap();
    let running = into_sink(
        "videotestsrc num-buffers=30 ! video/x-raw,format=NV12,width=320,height=240",
        &sink,
    );
    running.play();
    drop(sink);
    running.wait_for_end().unwrap();
}
