//! Layout, crop, colour, orientation, time, sequence, identity: from frame to buffer and back.

mod common;

use std::sync::Arc;

use common::{
    LONG, fill, frame_of, next, patient, pool, pushing, sample, small_pool, stamped, straight, tight,
    tight_by_gstreamer,
};
use dmaframe_core::{
    Buffer, Clock, ColorInfo, Fourcc, Frame, FrameMeta, Layout, Object, Orientation, Plane, Rect, Size,
    Timestamp,
};

use dmaframe_gstreamer::{FrameSink, FrameSrc, Received, from_sample, to_buffer};
use dmaframe_testkit::{Device, need};
use gst::prelude::*;

#[test]
fn gstreamer_reads_the_same_pixels_and_they_come_back_for_every_format() {
    need!(Device::Udmabuf);
    common::init();
    let mut formats = 0;
    for (name, fourcc) in dmaframe_gstreamer::describe::formats() {
        if gst_video::VideoFormat::from_string(name) == gst_video::VideoFormat::Unknown {
            continue;
        }
        for (size, align) in [(Size::new(64, 48), 1), (Size::new(66, 34), 256)] {
            let mut frame = pool(fourcc, size, align, 3).acquire(LONG).unwrap();
            fill(&mut frame);
            let buffer = to_buffer(&frame).unwrap();
            let sample = sample(&buffer, &frame);
            let expected = tight(&frame);
            let theirs = tight_by_gstreamer(&buffer, sample.caps().unwrap(), fourcc);
            assert!(
                theirs == expected,
                "{name} {size} align {align}: GStreamer's reading"
            );
            let back = from_sample(&sample).unwrap();
            assert_eq!(back.layout(), frame.layout(), "{name}");
            assert!(tight(&back) == expected, "{name}");
        }
        formats += 1;
    }
    assert!(formats > 30, "{formats}");
}

#[test]
fn bytes_and_memfds_go_without_a_copy_too() {
    common::init();
    let layout = Layout::linear(Fourcc::NV12, Size::new(66, 34), 64).unwrap();
    let bytes: Vec<u8> = (0..layout.object_len(0)).map(|at| at as u8).collect();
    let frame = Frame::from_bytes(bytes, &layout, FrameMeta::default()).unwrap();
    let start = frame.map_read(LONG).unwrap().plane(1).unwrap().as_ptr();
    let buffer = to_buffer(&frame).unwrap();
    assert_eq!(buffer.n_memory(), 2);
    assert_eq!(
        buffer.peek_memory(1).map_readable().unwrap().as_ptr(),
        start,
        "the same bytes"
    );
    let sample = sample(&buffer, &frame);
    assert!(tight_by_gstreamer(&buffer, sample.caps().unwrap(), Fourcc::NV12) == tight(&frame));

    let fd = dmaframe_testkit::memfd(layout.object_len(0), true).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&fd, &[9; 100], 0).unwrap();
    let core = Buffer::from_fd(fd.into(), &layout, 1).unwrap();
    let frame = frame_of(core);
    let buffer = to_buffer(&frame).unwrap();
    let back = from_sample(&crate::sample(&buffer, &frame)).unwrap();
    assert!(matches!(back, Frame::Cpu(_)));
    assert!(
        Arc::ptr_eq(&back.buffer().objects()[0], &frame.buffer().objects()[0]),
        "the same memory"
    );
    assert!(tight(&back) == tight(&frame));
}

#[test]
fn planes_in_memories_of_their_own_stay_there() {
    let heap = need!(Device::SystemHeap);
    common::init();
    let size = Size::new(64, 48);
    let object = |len| {
        let fd = dmaframe_testkit::system_heap(&heap, len, true).unwrap();
        Arc::new(Object::new(fd, 0).unwrap())
    };
    let planes = [
        Plane {
            object: 0,
            offset: 0,
            stride: 64,
        },
        Plane {
            object: 1,
            offset: 128,
            stride: 128,
        },
    ];
    let objects = [object(64 * 48), object(128 + 128 * 24)];
    let core = Buffer::new(
        Fourcc::NV12,
        dmaframe_core::Modifier::LINEAR,
        size,
        objects,
        &planes,
        1,
    )
    .unwrap();
    let frame = frame_of(core);
    let buffer = to_buffer(&frame).unwrap();
    assert_eq!(buffer.n_memory(), 2);
    // Exactly the picture's bytes, not the pages'.
    assert_eq!(buffer.peek_memory(0).size(), 64 * 48);
    let back = from_sample(&sample(&buffer, &frame)).unwrap();
    assert_eq!(back.layout().planes(), planes);
    assert!(back.as_dmabuf().unwrap().is_disjoint());
}

#[test]
fn a_crop_needs_no_copy_and_shows_the_same_part() {
    need!(Device::Udmabuf);
    common::init();
    for (fourcc, rect, as_meta) in [
        (
            Fourcc::NV12,
            Rect {
                x: 8,
                y: 4,
                width: 40,
                height: 20,
            },
            false,
        ),
        (
            Fourcc::XRGB8888,
            Rect {
                x: 3,
                y: 5,
                width: 7,
                height: 9,
            },
            false,
        ),
        // No chroma sample begins there: metadata says it instead.
        (
            Fourcc::NV12,
            Rect {
                x: 3,
                y: 5,
                width: 40,
                height: 20,
            },
            true,
        ),
    ] {
        let mut frame = pool(fourcc, Size::new(64, 48), 64, 3).acquire(LONG).unwrap();
        fill(&mut frame);
        frame.meta_mut().unwrap().visible = Some(rect);
        let buffer = to_buffer(&frame).unwrap();
        assert_eq!(buffer.meta::<gst_video::VideoCropMeta>().is_some(), as_meta);
        let back = from_sample(&sample(&buffer, &frame)).unwrap();
        let shown = |frame: &Frame| {
            let (view, rect) = (frame.map_read(LONG).unwrap(), frame.visible());
            let bytes = if fourcc == Fourcc::NV12 { 1 } else { 4 };
            let mut row = vec![0; view.layout().row_bytes(0)];
            let mut all = Vec::new();
            for y in rect.y..rect.y + rect.height {
                view.copy_row(0, y, &mut row).unwrap();
                all.extend_from_slice(
                    &row[(rect.x * bytes) as usize..((rect.x + rect.width) * bytes) as usize],
                );
            }
            all
        };
        assert_eq!(
            (back.visible().width, back.visible().height),
            (rect.width, rect.height)
        );
        assert!(shown(&back) == shown(&frame), "{fourcc} {rect:?}");
    }
}

#[test]
fn colour_orientation_time_and_sequence_arrive() {
    need!(Device::Udmabuf);
    let source = FrameSrc::builder().framerate(50, 1).build().unwrap();
    let mut sink = patient(8).build().unwrap();
    let _running = straight(&source, &sink);
    let pool = small_pool(6);
    let mut sent = Vec::new();
    for (index, orientation) in [0, 3, 3, 6].into_iter().enumerate() {
        let mut frame = stamped(&pool, index as u64 + 40);
        let meta = frame.meta_mut().unwrap();
        meta.color = ColorInfo::BT709;
        meta.orientation = Orientation::all()[orientation];
        let now = Timestamp::now(Clock::Monotonic).ns + 1_000_000_000;
        meta.timestamp = Some(Timestamp {
            ns: now,
            clock: Clock::Monotonic,
        });
        sent.push(meta.clone());
        source.push(frame, LONG).unwrap();
    }
    for expected in sent {
        let frame = next(&mut sink);
        let meta = frame.meta();
        assert_eq!((meta.sequence, meta.color), (expected.sequence, expected.color));
        assert_eq!(
            meta.timestamp, expected.timestamp,
            "to the nanosecond, through the pipeline's clock"
        );
        assert_eq!(meta.orientation, expected.orientation);
    }
    // One from before the pipeline began to play has no place in it.
    let mut frame = stamped(&pool, 99);
    frame.meta_mut().unwrap().timestamp = Some(Timestamp {
        ns: 1,
        clock: Clock::Monotonic,
    });
    source.push(frame, LONG).unwrap();
    source.end_of_stream().unwrap();
    assert!(matches!(sink.next(LONG), Ok(Received::EndOfStream)));
    assert_eq!(source.stats().early, 1);
}

#[test]
fn a_change_of_format_goes_through() {
    need!(Device::Udmabuf);
    let source = pushing()
        .queue(8, dmaframe_gstreamer::Pacing::Wait)
        .build()
        .unwrap();
    let mut sink = patient(8).hold(16).build().unwrap();
    let _running = straight(&source, &sink);
    let mut generations = std::collections::BTreeSet::new();
    for (fourcc, size) in [
        (Fourcc::NV12, Size::new(64, 48)),
        (Fourcc::NV12, Size::new(128, 96)),
        (Fourcc::XRGB8888, Size::new(128, 96)),
        (Fourcc::NV12, Size::new(64, 48)),
    ] {
        let pool = pool(fourcc, size, 64, 3);
        for index in 0..3 {
            let mut frame = pool.acquire(LONG).unwrap();
            fill(&mut frame);
            let expected = tight(&frame);
            frame.meta_mut().unwrap().timestamp = Some(Timestamp {
                ns: index,
                clock: Clock::Unknown,
            });
            source.push(frame, LONG).unwrap();
            let back = next(&mut sink);
            assert_eq!((back.fourcc(), back.layout().size()), (fourcc, size));
            assert!(tight(&back) == expected);
            generations.insert(back.buffer_id().generation());
        }
    }
    assert_eq!(generations.len(), 4, "a generation for each");
}

/// A frame of the pool, turned by 90 degrees.
fn turned(pool: &dmaframe_alloc::FramePool, index: u64) -> Frame {
    let mut frame = stamped(pool, index);
    frame.meta_mut().unwrap().orientation = Orientation::all()[1];
    frame
}

#[test]
fn orientation_and_first_time_are_said_again_after_a_stop() {
    need!(Device::Udmabuf);
    let source = pushing().build().unwrap();
    let mut sink = patient(8).build().unwrap();
    let running = straight(&source, &sink);
    let (pool, times) = (small_pool(4), times(&sink));
    for start in [0, 10] {
        for index in start..start + 3 {
            source.push(turned(&pool, index), LONG).unwrap();
            assert_eq!(next(&mut sink).meta().orientation, Orientation::all()[1]);
        }
        for index in 0..3 {
            let time = times.recv_timeout(LONG).unwrap();
            assert_eq!(time, Some(gst::ClockTime::from_mseconds(index * 10)));
        }
        running.stop();
        running.play();
    }
}

/// The times of the buffers that come to the sink.
fn times(sink: &FrameSink) -> std::sync::mpsc::Receiver<Option<gst::ClockTime>> {
    let (send, times) = std::sync::mpsc::channel();
    let pad = sink.element().static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let _ = send.send(info.buffer().and_then(|buffer| buffer.pts()));
        gst::PadProbeReturn::Ok
    });
    times
}

#[test]
fn an_orientation_flushed_before_it_went_on_is_said_again() {
    need!(Device::Udmabuf);
    let source = pushing().build().unwrap();
    let mut sink = patient(8).build().unwrap();
    let running = straight(&source, &sink);
    let pool = small_pool(4);
    // In PAUSED the sink takes one and waits: what is turned stays in the source's queue, with its tag.
    running.0.set_state(gst::State::Paused).unwrap();
    source.push(stamped(&pool, 0), LONG).unwrap();
    let (prerolled, ..) = running.0.state(gst::ClockTime::from_seconds(20));
    prerolled.unwrap();
    source.push(turned(&pool, 1), LONG).unwrap();
    assert_eq!(source.queued(), 1);
    assert!(source.element().send_event(gst::event::FlushStart::new()));
    assert!(source.element().send_event(gst::event::FlushStop::new(true)));
    source.push(turned(&pool, 2), LONG).unwrap();
    running.play();
    assert!(matches!(sink.next(LONG), Ok(Received::Flushed)));
    let frame = next(&mut sink);
    let meta = frame.meta();
    assert_eq!(
        (meta.sequence, meta.orientation),
        (Some(2), Orientation::all()[1])
    );
}

#[test]
fn an_orientation_that_is_set_holds_for_all_frames() {
    need!(Device::Udmabuf);
    let source = pushing().build().unwrap();
    let mut sink = patient(8).build().unwrap();
    let _running = straight(&source, &sink);
    let pool = small_pool(4);
    source.set_orientation(Orientation::all()[3]);
    for index in 0..3 {
        source.push(stamped(&pool, index), LONG).unwrap();
        assert_eq!(next(&mut sink).meta().orientation, Orientation::all()[3]);
    }
    source.push(turned(&pool, 3), LONG).unwrap();
    assert_eq!(next(&mut sink).meta().orientation, Orientation::all()[1]);
}
