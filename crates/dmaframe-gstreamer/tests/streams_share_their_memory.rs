//! Whose memory a picture is in on its way through elements, when it goes home, and what a frame costs.

mod common;

use std::time::Duration;

use common::{
    LONG, Running, fill, from_src, into_sink, next, patient, pool, pushing, small_pool, stamped, straight,
    tight, tight_by_gstreamer,
};
use dmaframe_core::{Fourcc, Size};
use dmaframe_gstreamer::Exporter;
use dmaframe_gstreamer::caps::{self};
use dmaframe_testkit::{CountingAllocator, Device, allocated_by, need};
use gst::prelude::*;

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

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
    let memory_of = |index| {
        let buffer = exporter.buffer(stamped(&pool, index)).unwrap();
        buffer.peek_memory(0).as_ptr() as usize
    };
    let slots: Vec<_> = (1..3).map(memory_of).collect();
    let again: Vec<_> = (3..7).map(memory_of).collect();
    assert!(
        again.iter().all(|memory| slots.contains(memory)),
        "{slots:?} {again:?}"
    );
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn an_element_that_writes_gets_a_copy_not_the_producers_memory() {
    need!(Device::Udmabuf);
    let source = pushing().build().unwrap();
    let mut sink = patient(4).build().unwrap();
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
        let mut sink = patient(2).build().unwrap();
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
    let pool = pool(Fourcc::NV12, Size::new(66, 34), 256, 3);
    let source = pushing().build().unwrap();
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
fn as_a_stream_and_a_future() {
    use futures_core::Stream;
    need!(Device::Udmabuf);
    let source = pushing()
        .queue(1, dmaframe_gstreamer::Pacing::Wait)
        .build()
        .unwrap();
    let mut sink = patient(1).build().unwrap();
    let _running = straight(&source, &sink);
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
    let source = pushing().build().unwrap();
    let mut sink = patient(4).build().unwrap();
    let _running = straight(&source, &sink);
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

#[test]
fn without_a_pool_filters_upstream_make_buffers_of_the_right_size() {
    common::init();
    for filter in ["videoconvert", "videoscale"] {
        let mut sink = patient(2).offer_pool(false).build().unwrap();
        let description = format!(
            "videotestsrc num-buffers=3 ! video/x-raw,format=BGRx,width=320,height=240 ! {filter} ! \
             video/x-raw,width=640,height=480"
        );
        let description = match filter {
            "videoconvert" => description.replace("width=640,height=480", "format=NV12"),
            _ => description,
        };
        let running = into_sink(&description, &sink);
        running.play();
        for _ in 0..3 {
            assert!(!tight(&next(&mut sink)).is_empty(), "{filter}");
        }
        assert_eq!(sink.stats().pools_offered, 0);
    }
}

#[test]
fn a_frame_detached_for_consumers_that_hold_too_much_counts_once() {
    need!(Device::Udmabuf);
    let mut sink = patient(2).hold(2).build().unwrap();
    let running = into_sink(
        "videotestsrc num-buffers=10 ! video/x-raw,format=NV12,width=320,height=240",
        &sink,
    );
    running.play();
    let held: Vec<_> = (0..10).map(|_| next(&mut sink)).collect();
    let (stats, counts) = (sink.stats(), sink.hop().counts());
    assert_eq!((stats.delivered, stats.detached), (10, 8), "{stats:?}");
    assert_eq!((counts.frames, counts.zero_copy), (10, 2), "{counts}");
    drop(held);
}
