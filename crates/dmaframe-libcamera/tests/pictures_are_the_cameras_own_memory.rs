//! No copy: frames are the dma-bufs that libcamera captured into, with what libcamera knows about them.

mod common;

use common::{PATIENCE, SMALL, VIMC, VIRTUAL, alone, frame, next, pixels, viewfinder};
use dmaframe_core::{Clock, ColorInfo, Fourcc, Modifier, Orientation, Size, Timestamp};
use dmaframe_libcamera::{CameraMetadata, Capture};

/// Frames go to another thread, which gives them back; every one of them is the camera's memory. The channel holds none, so
/// that the other thread never has more than one and the camera always has the two that it keeps.
fn stream(capture: &mut Capture, count: u64) {
    let (send, receive) = std::sync::mpsc::sync_channel::<dmaframe_core::Frame>(0);
    let consumer = std::thread::spawn(move || {
        receive
            .into_iter()
            .map(|f| usize::from(f.as_dmabuf().is_some()))
            .sum::<usize>()
    });
    let mut buffers = std::collections::HashSet::new();
    let mut contents = std::collections::HashSet::new();
    for _ in 0..count {
        let frame = frame(capture);
        buffers.insert(frame.buffer_id());
        contents.insert(frame.content_id());
        send.send(frame).unwrap();
    }
    drop(send);
    assert_eq!(consumer.join().unwrap() as u64, count);
    assert_eq!(contents.len() as u64, count, "each is a picture of its own");
    assert!(buffers.len() <= capture.slots(0), "in the same few buffers");
    let hop = capture.hop(0).unwrap().counts();
    assert_eq!(
        (hop.frames, hop.zero_copy, hop.cpu_bytes),
        (count, count, 0),
        "{hop}"
    );
    assert_eq!(capture.stats(0).delivered, count);
}

#[test]
fn frames_of_a_kernel_pipeline_come_without_a_copy() {
    let _alone = alone();
    let mut capture = viewfinder(need_camera!(VIMC), 6).start().unwrap();
    stream(&mut capture, 8);

    let frame = frame(&mut capture);
    assert_eq!(frame.fourcc(), Fourcc::BGR888, "what vimc proposes");
    assert_eq!(frame.modifier(), Modifier::LINEAR);
    assert_eq!(frame.layout().size(), SMALL);
    assert_eq!(frame.meta().orientation, Orientation::IDENTITY);
    assert_eq!(frame.meta().color, ColorInfo::UNSPECIFIED, "vimc does not say");
    let time = frame.meta().timestamp.unwrap();
    assert_eq!(time.clock, Clock::Monotonic);
    let age = Timestamp::now(Clock::Monotonic).ns - time.ns;
    assert!(age < 5_000_000_000, "{age} ns old");
    let metadata = frame.meta().extensions.get::<CameraMetadata>().unwrap();
    assert_eq!(metadata.sensor_timestamp.unwrap().ns, time.ns);
    let exporter = frame.as_dmabuf().unwrap().objects()[0].exporter();
    assert!(exporter.is_some_and(|name| name.starts_with("videobuf2")));
}

#[test]
fn frames_of_the_virtual_pipeline_have_two_planes_in_one_object() {
    let _alone = alone();
    let mut capture = viewfinder(need_camera!(VIRTUAL), 6).start().unwrap();
    stream(&mut capture, 150);

    let frame = frame(&mut capture);
    assert_eq!(
        (frame.fourcc(), frame.layout().size()),
        (Fourcc::NV12, Size::new(640, 360))
    );
    assert_eq!(
        frame.layout().planes().len(),
        2,
        "the third that libcamera lists is empty"
    );
    assert_eq!(frame.as_dmabuf().unwrap().objects().len(), 1, "on one descriptor");
    assert!(!frame.as_dmabuf().unwrap().is_disjoint());
    assert_eq!(frame.meta().color, ColorInfo::BT709);
    let view = frame.map_read(PATIENCE).unwrap();
    assert!(view.plane(0).is_ok(), "nobody else writes it: rows are slices");
    drop(view);
    // The bars of the test pattern: more than one brightness, and colour.
    let pixels = pixels(&frame);
    let (luma, chroma) = pixels.split_at(640 * 360);
    assert!(luma.iter().collect::<std::collections::HashSet<_>>().len() > 4);
    assert!(chroma.iter().collect::<std::collections::HashSet<_>>().len() > 4);
}

#[test]
fn a_shared_frame_is_not_filled_again_before_its_last_clone_drops() {
    let _alone = alone();
    let mut capture = viewfinder(need_camera!(VIRTUAL), 4).start().unwrap();
    let held = frame(&mut capture);
    let (id, clone) = (held.buffer_id(), held.clone());
    drop(held);
    for _ in 0..40 {
        assert_ne!(frame(&mut capture).buffer_id(), id);
    }
    drop(clone);
    assert!(
        (0..40).any(|_| frame(&mut capture).buffer_id() == id),
        "it never came back"
    );
}

#[test]
fn sequence_numbers_grow_and_gaps_are_counted() {
    let _alone = alone();
    let mut capture = viewfinder(need_camera!(VIMC), 4).start().unwrap();
    let mut last = None;
    let mut missing = 0;
    for _ in 0..5 {
        let completed = next(&mut capture);
        let now = completed.into_frame().unwrap().meta().sequence.unwrap();
        if let Some(last) = last.replace(now) {
            assert!(now > last, "{now} after {last}");
            missing += now - last - 1;
        }
    }
    assert_eq!(capture.stats(0).gaps, missing);
}
