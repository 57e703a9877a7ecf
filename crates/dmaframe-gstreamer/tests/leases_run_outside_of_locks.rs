//! A frame that is pushed out of a full queue ends when no lock is held: its lease is somebody else's code, and may use the
//! source that pushed it out.

mod common;

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use common::{LONG, from_src, pushing, small_pool};
use dmaframe_core::{Buffer, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Size};
use dmaframe_gstreamer::Pacing;
use dmaframe_testkit::{Device, need};
use gst::prelude::*;

/// Pushes four frames of the buffers into a pipeline that stands still, with room for one: what is pushed out asks the
/// source what it has, and pushes on.
fn push_out(buffers: &[Arc<Buffer>]) {
    let source = pushing();
    let source = Arc::new(source.queue(1, Pacing::DropOldest).build().unwrap());
    // In PAUSED a sink takes one and waits.
    let running = from_src(source.element(), "fakesink sync=false");
    running.0.set_state(gst::State::Paused).unwrap();
    let (tell, told) = channel();
    let frame = |buffer: &Arc<Buffer>, lease| {
        let meta = FrameMeta::default();
        Frame::new(Arc::clone(buffer), meta, Fence::Signaled, lease).unwrap()
    };
    let first = frame(&buffers[0], Lease::none());
    source.push(first, LONG).unwrap();
    running.0.state(gst::ClockTime::from_seconds(10)).0.unwrap();

    let last = Arc::new(Mutex::new(Some(frame(&buffers[3], Lease::none()))));
    let pushing = std::thread::spawn({
        let source = Arc::clone(&source);
        let asking = Arc::clone(&source);
        let lease = Lease::on_release(move |_| {
            let _ = tell.send((asking.queued(), asking.stats().dropped, asking.caps().is_some()));
            let last = last.lock().unwrap().take().unwrap();
            asking.push(last, LONG).unwrap();
        });
        let frames = [frame(&buffers[1], lease), frame(&buffers[2], Lease::none())];
        move || {
            for frame in frames {
                source.push(frame, LONG).unwrap();
            }
        }
    });
    let Ok(told) = told.recv_timeout(LONG) else {
        // Stopping it would wait for the lock too.
        std::mem::forget(running);
        panic!("the lease waits for a lock that whoever runs it has");
    };
    assert_eq!(told, (1, 1, true), "the newer frame is queued by then");
    pushing.join().unwrap();
    assert_eq!((source.queued(), source.stats().dropped), (1, 2));
}

#[test]
fn the_lease_of_a_frame_pushed_out_may_use_the_source() {
    need!(Device::Udmabuf);
    push_out(&small_pool(4).buffers());
}

#[test]
fn the_lease_of_bytes_pushed_out_may_use_the_source() {
    common::init();
    let layout = Layout::tight(Fourcc::NV12, Size::new(64, 48)).unwrap();
    let bytes = || vec![0; usize::try_from(layout.tight_len()).unwrap()];
    let buffer =
        || Frame::from_bytes(bytes(), &layout, FrameMeta::default()).map(|frame| frame.buffer().clone());
    push_out(&[(); 4].map(|()| buffer().unwrap()));
}
