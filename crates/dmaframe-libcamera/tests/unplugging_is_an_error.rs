//! The camera is pulled out while it streams: a typed error, frames in hand stay readable, nothing crashes.
//!
//! vimc is unbound from its driver: what the kernel does when a device goes. libcamera itself does not notice that, and
//! aborts the process that then stops the camera.

mod common;

use std::time::Instant;

use common::{PATIENCE, VIMC, VIRTUAL, alone, frame, open, pixels, viewfinder};
use dmaframe_libcamera::{Cameras, Error};
use dmaframe_testkit::streams::error_of;
use dmaframe_testkit::{Device as Kit, need};

#[test]
fn pulling_the_camera_out_ends_the_stream_with_its_name() {
    let _alone = alone();
    let unbind = need!(Kit::Unbind("vimc"));
    let cameras = Cameras::new().unwrap();
    let camera = open(&cameras, VIMC).expect("vimc is there");
    let id = camera.id().to_owned();
    let mut capture = viewfinder(camera, 4).start().unwrap();
    let held = frame(&mut capture);
    let back = frame(&mut capture);
    let picture = pixels(&held);

    std::fs::write(unbind, "vimc.0").unwrap();
    let start = Instant::now();
    let error = error_of(PATIENCE, || capture.next(PATIENCE));
    assert!(start.elapsed() < PATIENCE / 2);
    assert!(
        matches!(&error, Error::Unplugged { camera, .. } if *camera == id),
        "{error}"
    );
    // And again: an event loop that comes back gets the same answer, not a hang.
    assert!(matches!(capture.try_next(), Err(Error::Unplugged { .. })));
    drop(back);
    assert!(matches!(capture.try_next(), Err(Error::Unplugged { .. })));
    assert!(matches!(capture.stop(), Err(Error::Unplugged { .. })));
    assert!(matches!(capture.start(), Err(Error::Unplugged { .. })));
    drop(capture);
    assert_eq!(pixels(&held), picture, "the memory outlives the device");
    drop(held);

    // The process goes on, and so do other cameras.
    let other = open(&cameras, VIRTUAL).expect("the virtual camera is there");
    let mut capture = viewfinder(other, 4).start().unwrap();
    drop(frame(&mut capture));
    drop((capture, cameras));
}
