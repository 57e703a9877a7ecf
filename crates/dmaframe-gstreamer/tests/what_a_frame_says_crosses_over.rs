//! Layout, crop, colour, orientation, time, sequence, identity: from frame to buffer to frame, and through elements.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{LONG, Running, from_src, into_sink, next, small_pool, stamped, tight, tight_by_gstreamer};
use dmaframe_alloc::{Chain, FramePool, Request};
use dmaframe_core::{
    Buffer, Clock, ColorInfo, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Object, Orientation, Plane,
    Rect, Size, Timestamp,
};
use dmaframe_gstreamer::caps::{self, Style};
use dmaframe_gstreamer::{
    Backpressure, Exporter, FrameSink, FrameSrc, Received, Timing, from_sample, to_buffer,
};
use dmaframe_testkit::{CountingAllocator, Device, allocated_by, need};
use gst::prelude::*;

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

/// Every sample another value, so that a row or column too far shows.
fn fill(frame: &mut Frame) {
    let mut view = frame.map_write(LONG).unwrap();
    let len = view.layout().tight_len() as usize;
    let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
    view.copy_from_tight(&bytes).unwrap();
}

fn pool(fourcc: Fourcc, size: Size, align: u32) -> FramePool {
    let request = Request::new(fourcc, size).row_align(align);
    FramePool::builder(request)
        .slots(3)
        .allocator(Chain::dmabuf())
        .build()
        .unwrap()
}

fn sample(buffer: &gst::Buffer, frame: &Frame) -> gst::Sample {
    let caps = caps::from_layout(frame.layout(), frame.meta(), (30, 1), Style::Plain).unwrap();
    gst::Sample::builder().buffer(buffer).caps(&caps).build()
}

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
            let mut frame = pool(fourcc, size, align).acquire(LONG).unwrap();
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
    let frame = Frame::new(
        Arc::new(core),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap();
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
    let frame = Frame::new(
        Arc::new(core),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap();
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
        let mut frame = pool(fourcc, Size::new(64, 48), 64).acquire(LONG).unwrap();
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
fn a_lease_runs_when_the_memory_is_gone_not_when_its_first_buffer_is() {
    need!(Device::Udmabuf);
    common::init();
    let pool = small_pool(2);
    let exporter = Exporter::new();
    let buffer = exporter.buffer(stamped(&pool, 0)).unwrap();
    // A part of the memory in another buffer, as parsers and croppers make them.
    let part = buffer.copy_region(gst::BufferCopyFlags::MEMORY, 0..100).unwrap();
    let memory = buffer.memory(0).unwrap();
    drop(buffer);
    assert_eq!(pool.outstanding(), 1);
    drop(part);
    assert_eq!(pool.outstanding(), 1, "the memory is still there");
    drop(memory);
    assert_eq!(pool.outstanding(), 0);
    // Undisturbed, buffer and memory are used again for the same slot: no new one, no mapping made anew.
    let slots: Vec<_> = (1..3)
        .map(|index| {
            exporter
                .buffer(stamped(&pool, index))
                .unwrap()
                .peek_memory(0)
                .as_ptr() as usize
        })
        .collect();
    let again: Vec<_> = (3..7)
        .map(|index| {
            exporter
                .buffer(stamped(&pool, index))
                .unwrap()
                .peek_memory(0)
                .as_ptr() as usize
        })
        .collect();
    assert!(
        again.iter().all(|memory| slots.contains(memory)),
        "{slots:?} {again:?}"
    );
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn an_element_that_writes_gets_a_copy_not_the_producers_memory() {
    need!(Device::Udmabuf);
    let source = FrameSrc::builder()
        .live(false)
        .timing(Timing::FromFirst)
        .build()
        .unwrap();
    let mut sink = FrameSink::builder()
        .queue(4, Backpressure::Block)
        .build()
        .unwrap();
    let running = Running::new();
    let write = gst::ElementFactory::make("videobalance")
        .property("brightness", 0.5)
        .build()
        .unwrap();
    running
        .0
        .add_many([source.element(), &write, sink.element()])
        .unwrap();
    gst::Element::link_many([source.element(), &write, sink.element()]).unwrap();
    running.play();
    let pool = small_pool(2);
    let mut frame = stamped(&pool, 0);
    fill(&mut frame);
    let (kept, before) = (frame.clone(), tight(&frame));
    source.push(frame, LONG).unwrap();
    let out = next(&mut sink);
    assert!(tight(&out) != before, "brighter");
    assert!(tight(&kept) == before, "as it was");
}

#[test]
fn upstream_writes_into_our_pool() {
    need!(Device::Udmabuf);
    for caps in [
        "format=NV12,width=66,height=34",
        "format=RGB,width=1366,height=768",
        "format=I420,width=639,height=361",
    ] {
        let mut sink = FrameSink::builder()
            .queue(2, Backpressure::Block)
            .build()
            .unwrap();
        let running = into_sink(&format!("videotestsrc num-buffers=8 ! video/x-raw,{caps}"), &sink);
        let (send, seen) = std::sync::mpsc::channel();
        sink.element()
            .static_pad("sink")
            .unwrap()
            .add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                let (buffer, caps) = (info.buffer().unwrap(), pad.current_caps().unwrap());
                let picture = caps::picture(&caps, dmaframe_core::Modifier::LINEAR).unwrap();
                let _ = send.send(tight_by_gstreamer(buffer, &caps, picture.fourcc));
                gst::PadProbeReturn::Ok
            });
        running.play();
        for _ in 0..8 {
            let frame = next(&mut sink);
            assert!(frame.as_dmabuf().is_some(), "{caps}");
            assert!(
                frame
                    .layout()
                    .planes()
                    .iter()
                    .all(|plane| plane.stride % 256 == 0),
                "{caps}: rows as GPUs want"
            );
            assert!(tight(&frame) == seen.recv_timeout(LONG).unwrap(), "{caps}");
        }
        assert_eq!(
            sink.hop().counts().cpu_bytes,
            0,
            "{caps}: {}",
            sink.hop().counts()
        );
        assert!(sink.stats().pools_offered > 0);
    }
}

#[test]
fn elements_that_know_no_strides_get_a_copy_in_gstreamers_own_layout() {
    need!(Device::Udmabuf);
    let pool = pool(Fourcc::NV12, Size::new(66, 34), 256);
    let source = FrameSrc::builder()
        .live(false)
        .timing(Timing::FromFirst)
        .build()
        .unwrap();
    let running = from_src(source.element(), "filesink location=/dev/null");
    let pad = running
        .0
        .iterate_sinks()
        .next()
        .unwrap()
        .unwrap()
        .static_pad("sink")
        .unwrap();
    let (send, seen) = std::sync::mpsc::channel();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let _ = send.send(info.buffer().unwrap().map_readable().unwrap().to_vec());
        gst::PadProbeReturn::Ok
    });
    running.play();
    let mut frame = pool.acquire(LONG).unwrap();
    fill(&mut frame);
    let expected = tight(&frame);
    source.push(frame, LONG).unwrap();
    let bytes = seen.recv_timeout(LONG).unwrap();
    // 68 bytes a row: GStreamer's own stride for 66.
    let rows: Vec<u8> = bytes.chunks(68).flat_map(|row| row[..66].to_vec()).collect();
    assert!(rows == expected, "{} bytes", bytes.len());
    assert_eq!(source.stats().copied, 1);
    let counts = source.hop().counts();
    assert!(
        counts.cpu_bytes > 0 && counts.reason.unwrap().contains("strides"),
        "{counts}"
    );
}

#[test]
fn colour_orientation_time_and_sequence_arrive() {
    need!(Device::Udmabuf);
    let source = FrameSrc::builder().framerate(50, 1).build().unwrap();
    let mut sink = FrameSink::builder()
        .queue(8, Backpressure::Block)
        .build()
        .unwrap();
    let running = Running::new();
    running.0.add_many([source.element(), sink.element()]).unwrap();
    source.element().link(sink.element()).unwrap();
    running.play();
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
    let source = FrameSrc::builder()
        .live(false)
        .timing(Timing::FromFirst)
        .queue(8, dmaframe_gstreamer::Pacing::Wait);
    let source = source.build().unwrap();
    let mut sink = FrameSink::builder()
        .queue(8, Backpressure::Block)
        .hold(16)
        .build()
        .unwrap();
    let running = Running::new();
    running.0.add_many([source.element(), sink.element()]).unwrap();
    source.element().link(sink.element()).unwrap();
    running.play();
    let mut generations = std::collections::BTreeSet::new();
    for (fourcc, size) in [
        (Fourcc::NV12, Size::new(64, 48)),
        (Fourcc::NV12, Size::new(128, 96)),
        (Fourcc::XRGB8888, Size::new(128, 96)),
        (Fourcc::NV12, Size::new(64, 48)),
    ] {
        let pool = pool(fourcc, size, 64);
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

#[test]
fn as_a_stream_and_a_future() {
    use futures_core::Stream;
    need!(Device::Udmabuf);
    let source = FrameSrc::builder()
        .live(false)
        .timing(Timing::FromFirst)
        .queue(1, dmaframe_gstreamer::Pacing::Wait);
    let source = source.build().unwrap();
    let mut sink = FrameSink::builder()
        .queue(1, Backpressure::Block)
        .build()
        .unwrap();
    let running = Running::new();
    running.0.add_many([source.element(), sink.element()]).unwrap();
    source.element().link(sink.element()).unwrap();
    running.play();
    let pool = small_pool(4);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            futures_executor::block_on(async {
                for index in 0..40 {
                    let mut frame = stamped(&pool, index);
                    loop {
                        source.ready().await.unwrap();
                        match source.push(frame, Duration::ZERO) {
                            Ok(()) => break,
                            Err(rejected) => frame = rejected.value,
                        }
                    }
                }
                source.end_of_stream().unwrap();
            });
        });
        let mut stream = std::pin::pin!(sink.stream());
        let mut sequences = Vec::new();
        while let Some(frame) =
            futures_executor::block_on(std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)))
        {
            sequences.push(frame.unwrap().meta().sequence.unwrap());
        }
        assert_eq!(sequences, (0..40).collect::<Vec<_>>());
    });
}

#[test]
fn a_steady_stream_allocates_two_small_things_a_frame() {
    need!(Device::Udmabuf);
    let source = FrameSrc::builder()
        .live(false)
        .timing(Timing::FromFirst)
        .build()
        .unwrap();
    let mut sink = FrameSink::builder()
        .queue(4, Backpressure::Block)
        .build()
        .unwrap();
    let running = Running::new();
    running.0.add_many([source.element(), sink.element()]).unwrap();
    source.element().link(sink.element()).unwrap();
    running.play();
    let pool = small_pool(4);
    let (mut pushed, mut taken) = (0, 0);
    for index in 0..120 {
        let frame = stamped(&pool, index);
        let ((), push) = allocated_by(|| source.push(frame, LONG).unwrap());
        let (frame, take) = allocated_by(|| next(&mut sink));
        let ((), end) = allocated_by(|| drop(frame));
        if index >= 20 {
            pushed += push.calls;
            taken += take.calls + end.calls;
        }
    }
    println!("{pushed} and {taken} allocations for 100 frames");
    assert_eq!(pushed, 0, "in");
    assert!(
        taken <= 200,
        "out: the frame and its way back, {taken} for 100 frames"
    );
}
