//! The camera is pulled out while it streams: a typed error, frames in hand stay readable, nothing crashes.
//!
//! vimc is unbound from its driver: what the kernel does when a device goes. libcamera itself does not notice that, and
//! aborts the process that then stops the camera.

mod common;

use std::time::Instant;

use common::{PATIENCE, VIMC, VIRTUAL, alone, frame, open, pixels, viewfinder};
use dmaframe_libcamera::{Cameras, Capture, Error};

/// The error that ends the stream, however many pictures were still on their way.
fn end(capture: &mut Capture) -> Error {
    let start = Instant::now();
    loop {
        match capture.next(PATIENCE) {
            Ok(_) => assert!(
                start.elapsed() < PATIENCE,
                "the stream goes on without its camera"
            ),
            Err(error) => return error,
        }
    }
}

#[test]
fn pulling_the_camera_out_ends_the_stream_with_its_name() {
    let _alone = alone();
    if !dmaframe_testkit::in_lab() {
        dmaframe_testkit::skip("unbinding a driver is for the lab alone");
        return;
    }
    let cameras = Cameras::new().unwrap();
    let camera = open(&cameras, VIMC).expect("vimc is there");
    let id = camera.id().to_owned();
    let mut capture = viewfinder(camera, 4).start().unwrap();
    let held = frame(&mut capture);
    let back = frame(&mut capture);
    let picture = pixels(&held);

    std::fs::write("/sys/bus/platform/drivers/vimc/unbind", "vimc.0").unwrap();
    let start = Instant::now();
    let error = end(&mut capture);
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
