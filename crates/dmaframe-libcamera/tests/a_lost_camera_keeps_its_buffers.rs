//! A camera is pulled out while it streams and libcamera does not notice: what libcamera and the driver may still look at is
//! never freed, and never in anybody's frame.

mod common;

use common::{PATIENCE, VIMC, VIRTUAL, alone, frame, open, pixels, viewfinder};
use dmaframe_libcamera::{Cameras, Error};
use dmaframe_testkit::streams::{error_of, every_buffer, is_in_use};
use dmaframe_testkit::{Device as Kit, need};

#[test]
fn a_lost_camera_is_not_given_back_and_its_buffers_are_nobodys() {
    let _alone = alone();
    let unbind = need!(Kit::Unbind("vimc"));
    let cameras = Cameras::new().unwrap();
    let mut capture = viewfinder(open(&cameras, VIMC).expect("vimc is there"), 4)
        .start()
        .unwrap();
    let kept = every_buffer(capture.slots(0), || frame(&mut capture));
    let held = frame(&mut capture);
    let picture = pixels(&held);
    std::fs::write(unbind, "vimc.0").unwrap();
    let error = error_of(PATIENCE, || capture.next(PATIENCE));
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
