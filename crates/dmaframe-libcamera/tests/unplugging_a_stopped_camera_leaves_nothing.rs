//! A camera is pulled out while it does not stream: libcamera has nothing of ours, so nothing is left behind.

mod common;

use common::{VIMC, alone, frame, open, viewfinder};
use dmaframe_libcamera::{Cameras, Error};
use dmaframe_testkit::{Device as Kit, Leaks, need};

#[test]
fn a_camera_that_was_stopped_when_it_went_leaves_nothing_open() {
    let _alone = alone();
    let unbind = need!(Kit::Unbind("vimc"));
    let start = || {
        let cameras = Cameras::new().unwrap();
        let camera = open(&cameras, VIMC).expect("vimc is there");
        viewfinder(camera, 4).start().unwrap()
    };
    // The first round loads libraries, which stay.
    drop(start());
    let before = Leaks::now();
    let mut capture = start();
    drop(frame(&mut capture));
    capture.stop().unwrap();
    std::fs::write(unbind, "vimc.0").unwrap();
    assert!(matches!(capture.start(), Err(Error::Unplugged { .. })));
    drop(capture);
    before.check();
}
