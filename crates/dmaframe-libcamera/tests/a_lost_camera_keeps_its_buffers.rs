//! A camera is pulled out while it streams and libcamera does not notice: what libcamera and the driver may still look at is
//! never freed, and never in anybody's frame.

mod common;

use std::sync::Arc;

use common::{PATIENCE, VIMC, VIRTUAL, alone, frame, open, pixels, viewfinder};
use dmaframe_core::{Buffer, Fence, Frame, FrameMeta, Lease};
use dmaframe_libcamera::{Cameras, Error};

/// Somebody who kept a handle of the buffer tries to look at it.
fn is_in_use(buffer: &Arc<Buffer>) -> bool {
    let made = Frame::new(
        Arc::clone(buffer),
        FrameMeta::default(),
        Fence::signaled(),
        Lease::none(),
    );
    match made {
        Ok(_) => false,
        Err(dmaframe_core::Error::InUse { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_lost_camera_is_not_given_back_and_its_buffers_are_nobodys() {
    let _alone = alone();
    if !dmaframe_testkit::in_lab() {
        dmaframe_testkit::skip("unbinding a driver is for the lab alone");
        return;
    }
    let cameras = Cameras::new().unwrap();
    let mut capture = viewfinder(open(&cameras, VIMC).expect("vimc is there"), 4)
        .start()
        .unwrap();
    let mut kept: Vec<Arc<Buffer>> = Vec::new();
    while kept.len() < capture.slots(0) {
        let frame = frame(&mut capture);
        if kept.iter().all(|buffer| buffer.id() != frame.buffer_id()) {
            kept.push(Arc::clone(frame.buffer()));
        }
    }
    let held = frame(&mut capture);
    let picture = pixels(&held);
    std::fs::write("/sys/bus/platform/drivers/vimc/unbind", "vimc.0").unwrap();
    let error = loop {
        match capture.next(PATIENCE) {
            Ok(next) => assert!(next.is_some(), "the stream goes on without its camera"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Unplugged { .. }), "{error}");
    assert!(matches!(capture.stop(), Err(Error::Unplugged { .. })));
    // The second stop has nothing to do, and its success is no leave to free what the first could not get back.
    capture.stop().unwrap();
    let refused = capture.into_camera();
    assert!(matches!(refused, Err(Error::Unplugged { .. })), "{refused:?}");
    let others = kept.iter().filter(|buffer| buffer.id() != held.buffer_id());
    assert!(
        others.clone().any(is_in_use),
        "all given up, while the driver has requests"
    );
    assert_eq!(pixels(&held), picture);
    drop(held);

    // The process goes on, and so do other cameras.
    let other = open(&cameras, VIRTUAL).expect("the virtual camera is there");
    let mut capture = viewfinder(other, 4).start().unwrap();
    drop(frame(&mut capture));
    drop((capture, cameras));
}
