//! A control changes the picture, and one the camera has not got is an error.

mod common;

use common::{VIMC, VIRTUAL, alone, frame, pixels, viewfinder};
use dmaframe_libcamera::Error;
use dmaframe_libcamera::libcamera::controls;

fn brightness(capture: &mut dmaframe_libcamera::Capture) -> f64 {
    let pixels = pixels(&frame(capture));
    pixels.iter().map(|byte| f64::from(*byte)).sum::<f64>() / pixels.len() as f64
}

#[test]
fn brightness_set_before_and_during_the_stream_changes_the_pictures() {
    let _alone = alone();
    let camera = need_camera!(VIMC);
    assert!(camera.has_control::<controls::Brightness>());
    assert!(
        camera
            .controls()
            .find(<controls::Brightness as dmaframe_libcamera::libcamera::control::ControlEntry>::ID)
            .is_ok()
    );
    let configured = viewfinder(camera, 4).configure().unwrap();
    let mut capture = configured
        .control(controls::Brightness(-0.5))
        .unwrap()
        .start()
        .unwrap();
    // The first requests may be on their way before the pipeline has applied anything.
    let dark = (0..5).map(|_| brightness(&mut capture)).fold(f64::MAX, f64::min);
    capture.set_control(controls::Brightness(0.5)).unwrap();
    let bright = (0..7).map(|_| brightness(&mut capture)).fold(0.0, f64::max);
    assert!(bright > dark + 20.0, "{dark} dark, {bright} bright");
}

#[test]
fn a_control_the_camera_has_not_got_is_named() {
    let _alone = alone();
    let mut capture = viewfinder(need_camera!(VIRTUAL), 4).start().unwrap();
    let error = capture.set_control(controls::LensPosition(1.0)).unwrap_err();
    assert!(
        matches!(&error, Error::NoControl { name, .. } if name == "LensPosition"),
        "{error}"
    );
    drop(frame(&mut capture));
}
