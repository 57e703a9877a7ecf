//! On the way out of a source: times that the pipeline understands, layouts that the next element understands, and nobody
//! who waits for the others.

mod common;

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{LONG, Running, fill, from_src, pushing, small_pool, stamped, tight};
use dmaframe_core::{Clock, Frame, Rect, Size, SyncFile, Timestamp};
use dmaframe_gstreamer::{FrameSrc, Timing};
use dmaframe_testkit::{Device, SwSync, need};
use gst::prelude::*;

/// What comes to the last element: each buffer's time and its tight picture.
fn seen(running: &Running, name: &str) -> Receiver<(Option<gst::ClockTime>, Option<Vec<u8>>)> {
    let pad = running.0.by_name(name).unwrap().static_pad("sink").unwrap();
    let (send, seen) = channel();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let (buffer, caps) = (info.buffer().unwrap(), pad.current_caps().unwrap());
        let picture = dmaframe_gstreamer::caps::picture(&caps, dmaframe_core::Modifier::LINEAR).unwrap();
        // What an element reads that looks at no metadata but strides.
        let bytes = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            common::tight_by_gstreamer(buffer, &caps, picture.fourcc)
        }));
        let _ = send.send((buffer.pts(), bytes.ok()));
        gst::PadProbeReturn::Ok
    });
    seen
}

#[test]
fn frames_queued_in_a_source_that_is_dropped_go_on_with_their_times() {
    need!(Device::Udmabuf);
    common::init();
    let pool = small_pool(4);
    let source = FrameSrc::builder().timing(Timing::Clock).build().unwrap();
    let running = from_src(
        source.element(),
        "identity sleep-time=150000 ! fakesink name=end sync=false async=false",
    );
    let seen = seen(&running, "end");
    running.play();
    let (state, ..) = running.0.state(gst::ClockTime::from_seconds(10));
    state.unwrap();
    let base = running.0.base_time().unwrap();
    let mut times = Vec::new();
    for _ in 0..3 {
        let mut frame = pool.acquire(LONG).unwrap();
        let now = Timestamp::now(Clock::Monotonic);
        frame.meta_mut().unwrap().timestamp = Some(now);
        times.push(gst::ClockTime::from_nseconds(now.ns) - base);
        source.push(frame, LONG).unwrap();
    }
    let appsrc: gst_app::AppSrc = source.element().clone().downcast().unwrap();
    assert!(source.queued() >= 1, "the test is too slow to show anything");
    drop(source);
    for time in times {
        let (pts, _) = seen.recv_timeout(LONG).unwrap();
        assert_eq!(pts, Some(time));
    }
    // Another source of the same element begins anew: what the first one left there harms no times.
    let source = FrameSrc::builder().timing(Timing::Clock).wrap(appsrc).unwrap();
    let mut frame = pool.acquire(LONG).unwrap();
    let now = Timestamp::now(Clock::Monotonic);
    frame.meta_mut().unwrap().timestamp = Some(now);
    source.push(frame, LONG).unwrap();
    let (pts, _) = seen.recv_timeout(LONG).unwrap();
    assert_eq!(pts, Some(gst::ClockTime::from_nseconds(now.ns) - base));
}

/// A frame of which a part is to be shown that begins at odd places, and that part's bytes.
fn cropped(pool: &dmaframe_alloc::FramePool) -> (Frame, Vec<u8>) {
    let rect = Rect {
        x: 3,
        y: 5,
        width: 20,
        height: 10,
    };
    let mut frame = stamped(pool, 0);
    fill(&mut frame);
    frame.meta_mut().unwrap().visible = Some(rect);
    let (all, Size { width, height }) = (tight(&frame), frame.layout().size());
    let mut part = Vec::new();
    for y in rect.y..rect.y + rect.height {
        let start = (y * width + rect.x) as usize;
        part.extend_from_slice(&all[start..][..rect.width as usize]);
    }
    // Chroma is of pairs: that which the first pixel lies in comes first.
    for y in rect.y / 2..rect.y / 2 + rect.height / 2 {
        let start = (width * height + y * width + rect.x / 2 * 2) as usize;
        part.extend_from_slice(&all[start..][..rect.width as usize]);
    }
    (frame, part)
}

#[test]
fn an_element_that_understands_no_crop_gets_the_part_that_is_to_be_shown() {
    need!(Device::Udmabuf);
    common::init();
    let pool = small_pool(2);
    for strides in [false, true] {
        let source = pushing().build().unwrap();
        let running = from_src(
            source.element(),
            "identity name=first ! fakesink name=end sync=false",
        );
        let pad = running.0.by_name("first").unwrap().static_pad("sink").unwrap();
        let kinds = gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PUSH;
        pad.add_probe(kinds, move |_, info| {
            let Some(gst::QueryViewMut::Allocation(query)) = info.query_mut().map(|query| query.view_mut())
            else {
                return gst::PadProbeReturn::Ok;
            };
            if strides {
                query.add_allocation_meta::<gst_video::VideoMeta>(None);
            }
            gst::PadProbeReturn::Handled
        });
        let seen = seen(&running, "end");
        running.play();
        let (frame, part) = cropped(&pool);
        source.push(frame, LONG).unwrap();
        let (_, bytes) = seen.recv_timeout(LONG).unwrap();
        assert!(bytes.unwrap() == part, "with strides understood: {strides}");
        assert_eq!(source.stats().copied, 1);
    }
}

#[test]
fn a_frame_that_cannot_be_straightened_is_dropped_and_counted() {
    need!(Device::Udmabuf);
    common::init();
    let appsrc = gst_app::AppSrc::builder().build();
    // In front of the source's own: the second buffer becomes one that nobody can map.
    let pad = appsrc.static_pad("src").unwrap();
    let before = std::sync::atomic::AtomicU32::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if before.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            let mut broken = gst::Buffer::with_size(16).unwrap();
            let format = gst_video::VideoFormat::Nv12;
            let flags = gst_video::VideoFrameFlags::empty();
            let (offsets, strides) = ([0, 1 << 20], [512, 512]);
            gst_video::VideoMeta::add_full(
                broken.get_mut().unwrap(),
                flags,
                format,
                320,
                240,
                &offsets,
                &strides,
            )
            .unwrap();
            *info.buffer_mut().unwrap() = broken;
        }
        gst::PadProbeReturn::Ok
    });
    let source = pushing().wrap(appsrc).unwrap();
    let running = from_src(source.element(), "fakesink name=end sync=false");
    let seen = seen(&running, "end");
    running.play();
    let pool = small_pool(4);
    for index in 0..3 {
        source.push(stamped(&pool, index), LONG).unwrap();
    }
    source.end_of_stream().unwrap();
    running.wait_for_end().unwrap();
    assert_eq!(seen.try_iter().count(), 2, "the broken one did not get through");
    let stats = source.stats();
    assert_eq!((stats.pushed, stats.copied, stats.failed), (3, 2, 1), "{stats:?}");
    let counts = source.hop().counts();
    assert_eq!(counts.dropped, 1, "{counts}");
}

#[test]
fn a_frame_that_waits_for_its_fence_keeps_nobody_from_the_source() {
    common::init();
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let pool = small_pool(3);
    let source = pushing().build().unwrap();
    let running = from_src(source.element(), "fakesink sync=false");
    running.play();
    source.push(stamped(&pool, 0), LONG).unwrap();
    let mut waiting = stamped(&pool, 1);
    let fence = SyncFile::new(timeline.fence(1).unwrap()).unwrap();
    waiting.acquire_after(fence.into()).unwrap();
    std::thread::scope(|scope| {
        let (begun, begin) = channel();
        let source = &source;
        let pushing = scope.spawn(move || {
            begun.send(()).unwrap();
            source.push(waiting, Duration::from_secs(5))
        });
        begin.recv().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        source.set_orientation(dmaframe_core::Orientation::IDENTITY);
        assert!(source.caps().is_some());
        source.push(stamped(&pool, 2), LONG).unwrap();
        assert_eq!(source.stats().pushed, 2);
        let waited = start.elapsed();
        timeline.advance(1).unwrap();
        pushing.join().unwrap().unwrap();
        assert!(waited < Duration::from_secs(2), "{waited:?}");
    });
    assert_eq!(source.stats().pushed, 3);
}
