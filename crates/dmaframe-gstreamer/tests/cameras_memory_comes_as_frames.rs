//! `v4l2src ! FrameSink`: the driver's own memory, pixel by pixel, and the same buffer again when it comes round.

mod common;

use std::collections::HashMap;

use common::{LONG, device, into_sink, next, tight, tight_by_gstreamer};
use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::report::PathReport;
use dmaframe_core::{Clock, Fourcc, Frame, Modifier, Timestamp};
use dmaframe_gstreamer::{Backpressure, FrameSink};
use dmaframe_testkit::{Device, need};
use gst::prelude::*;

#[test]
fn every_frame_is_the_drivers_memory_and_nothing_is_copied() {
    let camera = need!(Device::Capture("vivid"));
    let formats = FormatSet::new("test").with(Fourcc::YUYV, Modifier::LINEAR);
    let mut sink = FrameSink::builder()
        .formats(formats)
        .queue(4, Backpressure::Block)
        .build()
        .unwrap();
    let path = PathReport::new();
    path.add(sink.hop().clone());
    let source = format!("v4l2src io-mode=dmabuf device={} num-buffers=40", device(&camera));
    let running = into_sink(&source, &sink);
    running.play();
    let mut seen = HashMap::new();
    let (mut last, mut contents) = (None, Vec::new());
    for _ in 0..40 {
        let frame = next(&mut sink);
        let dmabuf = frame.as_dmabuf().expect("the driver's dma-buf");
        assert_eq!(
            dmabuf.objects()[0].exporter().as_deref(),
            Some("videobuf2_vmalloc")
        );
        assert_eq!(
            (frame.fourcc(), frame.modifier()),
            (Fourcc::YUYV, Modifier::LINEAR)
        );
        let meta = frame.meta();
        let at = meta.timestamp.expect("a time");
        assert_eq!(at.clock, Clock::Monotonic, "the system clock drives the pipeline");
        let age = Timestamp::now(Clock::Monotonic).ns.abs_diff(at.ns);
        assert!(age < 5_000_000_000, "{age} ns from now");
        assert!(last < meta.sequence, "{last:?} then {:?}", meta.sequence);
        last = meta.sequence;
        contents.push(frame.content_id());
        *seen.entry(frame.buffer_id()).or_insert(0) += 1;
        assert_eq!(tight(&frame).len(), frame.layout().tight_len() as usize);
    }
    assert!(seen.len() < 20, "buffers come round with the same id: {seen:?}");
    assert!(seen.values().any(|count| *count > 1), "{seen:?}");
    contents.dedup();
    assert_eq!(contents.len(), 40, "each capture is another picture");
    assert_eq!(path.cpu_bytes_per_frame(), 0, "{path}");
    assert!(matches!(
        sink.next(LONG),
        Ok(dmaframe_gstreamer::Received::EndOfStream)
    ));
    let counts = sink.hop().counts();
    assert_eq!((counts.frames, counts.zero_copy), (40, 40));
}

/// The same buffer read by GStreamer's own mapping, for each format and every way the memory can come.
#[test]
fn pixels_are_those_gstreamer_reads() {
    let camera = need!(Device::Capture("vivid"));
    let formats = [
        ("YUY2", Fourcc::YUYV),
        ("NV12", Fourcc::NV12),
        ("BGRx", Fourcc::XRGB8888),
        ("I420", Fourcc::YUV420),
        ("RGB", Fourcc::BGR888),
        ("NV16", Fourcc::NV16),
        ("GRAY8", Fourcc::R8),
    ];
    for (name, fourcc) in formats {
        for mode in ["dmabuf", "mmap"] {
            let caps = format!("video/x-raw,format={name}");
            let mut sink = FrameSink::builder().caps(caps.parse().unwrap()).build().unwrap();
            let running = into_sink(
                &format!("v4l2src io-mode={mode} device={}", device(&camera)),
                &sink,
            );
            let pad = sink.element().static_pad("sink").unwrap();
            let (send, seen) = std::sync::mpsc::channel();
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                let buffer = info.buffer().unwrap();
                let _ = send.send((
                    buffer.offset(),
                    tight_by_gstreamer(buffer, &pad.current_caps().unwrap(), fourcc),
                ));
                gst::PadProbeReturn::Ok
            });
            running.play();
            for _ in 0..3 {
                let frame = next(&mut sink);
                assert_eq!(frame.fourcc(), fourcc);
                assert_eq!(
                    matches!(frame, Frame::Dmabuf(_)),
                    mode == "dmabuf",
                    "{name} {mode}"
                );
                let expected = loop {
                    let (sequence, bytes) = seen.recv_timeout(LONG).unwrap();
                    if Some(sequence) == frame.meta().sequence {
                        break bytes;
                    }
                };
                let found = tight(&frame);
                assert!(found == expected, "{name} {mode}: the same bytes");
                // A picture, not zeros.
                assert!(found.iter().any(|byte| *byte != found[0]), "{name}");
            }
        }
    }
}

#[test]
fn caps_that_name_modifiers_come_where_the_library_has_them() {
    let camera = need!(Device::Capture("vivid"));
    common::init();
    if !dmaframe_gstreamer::caps::has_dma_drm() {
        return dmaframe_testkit::skip("GStreamer before 1.24");
    }
    let caps = "video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format=YVYU";
    let mut sink = FrameSink::builder().caps(caps.parse().unwrap()).build().unwrap();
    let running = into_sink(&format!("v4l2src device={}", device(&camera)), &sink);
    running.play();
    let frame = next(&mut sink);
    assert!(frame.as_dmabuf().is_some());
    assert_eq!(
        (frame.fourcc(), frame.modifier()),
        (Fourcc::YVYU, Modifier::LINEAR)
    );
}
