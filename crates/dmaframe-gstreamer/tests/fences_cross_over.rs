//! GStreamer knows implicit fences only: explicit ones are put on the memory on the way in, and taken from it on the way
//! out; a buffer whose consumer is still at work does not go back to its pool.

mod common;

use std::time::Duration;

use common::{LONG, Running, from_src, into_sink, next, pushing, small_pool, stamped};
use dmaframe_core::{Access, Deadline, Fence, Frame, SyncFile, Waited};
use dmaframe_gstreamer::{Error, Exporter, FrameSink, Importer, to_buffer};
use dmaframe_testkit::{Device, SwSync, Vgem, need};

fn fence(timeline: &SwSync, value: u32) -> Fence {
    SyncFile::new(timeline.fence(value).unwrap()).unwrap().into()
}

fn idle(frame: &Frame, access: Access) -> bool {
    let objects = frame.as_dmabuf().unwrap().objects();
    objects
        .iter()
        .all(|object| object.wait_idle(access, Deadline::now()).unwrap() == Waited::Signaled)
}

#[test]
fn an_acquire_fence_goes_onto_the_memory_and_the_buffer_is_not_waited_for() {
    common::init();
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let pool = small_pool(2);
    let mut frame = stamped(&pool, 0);
    frame.acquire_after(fence(&timeline, 1)).unwrap();
    let buffer = to_buffer(&frame).unwrap();
    assert!(!idle(&frame, Access::Read), "whoever maps the buffer waits");
    timeline.advance(1).unwrap();
    assert!(idle(&frame, Access::Read));
    drop(buffer);
}

#[test]
fn a_source_waits_for_the_fence_before_drivers_get_the_frame_that_would_not() {
    common::init();
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let pool = small_pool(3);
    let source = pushing().build().unwrap();
    let running = from_src(source.element(), "fakesink sync=false");
    running.play();
    let mut frame = stamped(&pool, 0);
    frame.acquire_after(fence(&timeline, 1)).unwrap();
    let rejected = source.push(frame, Duration::from_millis(30)).unwrap_err();
    assert!(
        matches!(rejected.error, Error::FencePending),
        "{}",
        rejected.error
    );
    timeline.advance(1).unwrap();
    source.push(rejected.value, LONG).unwrap();
    // A producer that failed is no picture.
    let mut frame = stamped(&pool, 1);
    let failing = SwSync::open(&need!(Device::SwSync)).unwrap();
    frame.acquire_after(fence(&failing, 1)).unwrap();
    drop(failing);
    let rejected = source.push(frame, LONG).unwrap_err();
    assert!(
        matches!(
            rejected.error,
            Error::Core(dmaframe_core::Error::FenceFailed { .. })
        ),
        "{}",
        rejected.error
    );
}

#[test]
fn a_buffer_goes_back_to_its_pool_when_the_consumers_fence_has_signalled() {
    need!(Device::Udmabuf);
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let mut sink = FrameSink::builder().build().unwrap();
    let running = into_sink("videotestsrc num-buffers=3 ! video/x-raw,format=NV12", &sink);
    running.play();
    let frame = next(&mut sink);
    assert_eq!(sink.outstanding(), 1);
    frame.release_after(fence(&timeline, 1));
    drop(frame);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(sink.outstanding(), 1, "its reader is not done");
    timeline.advance(1).unwrap();
    for _ in 0..500 {
        if sink.outstanding() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("the buffer did not come back");
}

#[test]
fn implicit_fences_become_the_frames_own_in_both_directions() {
    common::init();
    let vgem = Vgem::open(&need!(Device::VgemRender)).unwrap();
    let pool = small_pool(2);
    let exporter = Exporter::new();

    // Somebody writes into the memory behind a buffer: its frame is to be waited for.
    let frame = stamped(&pool, 0);
    let layout = frame.layout().clone();
    let meta = frame.meta().clone();
    let caps = dmaframe_gstreamer::caps::from_layout(
        &layout,
        &meta,
        (30, 1),
        dmaframe_gstreamer::caps::Style::Plain,
    );
    let fd = frame
        .as_dmabuf()
        .unwrap()
        .lend(0)
        .unwrap()
        .try_clone_to_owned()
        .unwrap();
    let buffer = exporter.buffer(frame).unwrap();
    let pending = vgem.attach_write(&fd).unwrap();
    let sample = gst::Sample::builder()
        .buffer(&buffer)
        .caps(&caps.unwrap())
        .build();
    let mut importer = Importer::new();
    let imported = importer.frame(&sample).unwrap();
    assert_eq!(
        imported.wait(Duration::from_millis(20)).unwrap(),
        Waited::TimedOut
    );
    vgem.signal(pending).unwrap();
    assert_eq!(imported.wait(LONG).unwrap(), Waited::Signaled);
    drop((imported, sample));

    // Somebody still works on a buffer that is dropped: the slot is not free before.
    let pending = vgem.attach_write(&fd).unwrap();
    assert_eq!(pool.outstanding(), 1);
    drop(buffer);
    let other = pool.acquire(LONG).unwrap();
    assert!(
        pool.acquire(Duration::from_millis(30)).is_err(),
        "the slot waits for the fence"
    );
    vgem.signal(pending).unwrap();
    drop(pool.acquire(LONG).unwrap());
    drop(other);
}

#[test]
fn a_fence_that_cannot_be_put_on_the_memory_is_refused_and_the_frame_comes_back() {
    common::init();
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let layout =
        dmaframe_core::Layout::tight(dmaframe_core::Fourcc::R8, dmaframe_core::Size::new(64, 4)).unwrap();
    let mut frame = Frame::from_bytes(vec![7; 256], &layout, dmaframe_core::FrameMeta::default()).unwrap();
    frame.acquire_after(fence(&timeline, 1)).unwrap();
    let rejected = Exporter::new().buffer(frame).unwrap_err();
    assert!(matches!(rejected.error, Error::FencePending));
    timeline.advance(1).unwrap();
    let buffer = Exporter::new().buffer(rejected.value).unwrap();
    assert_eq!(buffer.map_readable().unwrap().as_slice(), [7; 256]);
    let _ = Running::new();
}
