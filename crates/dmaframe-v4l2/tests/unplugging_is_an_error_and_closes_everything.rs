//! The camera is pulled out while it streams: a typed error, frames in hand stay readable, no descriptor stays open.
//!
//! Vivid's Disconnect button takes the device away until its last descriptor closes, then it is plugged in again: so
//! that it comes back is the proof that we closed ours.

mod common;

use common::{PATIENCE, SMALL, fast, frame, pixels, still};
use dmaframe_testkit::Leaks;
use dmaframe_testkit::streams::error_of;
use dmaframe_v4l2::{Device, Error, PixelFormat};

#[test]
fn pulling_the_camera_out_is_told_at_once_and_leaves_no_descriptor() {
    let before = Leaks::now();
    for path in [need_vivid!(), need_vivid!(multiplanar)] {
        let mut capture = fast(still(&path), PixelFormat::NV12, SMALL).start().unwrap();
        let held = frame(&mut capture);
        let picture = pixels(&held);

        capture.device().press_control("Disconnect").unwrap();
        let error = error_of(PATIENCE, || capture.next(PATIENCE));
        assert!(
            matches!(&error, Error::Unplugged { device, .. } if *device == path),
            "{error}"
        );
        assert!(error.to_string().contains(path.to_str().unwrap()));
        // And again: an event loop that comes back gets the same answer, not a hang.
        assert!(matches!(capture.try_next(), Err(Error::Unplugged { .. })));
        assert!(matches!(
            capture.device().controls(),
            Err(Error::Unplugged { .. })
        ));
        assert!(matches!(capture.start(), Ok(())), "it still counts as started");
        assert!(matches!(capture.stop(), Err(Error::Unplugged { .. })));
        assert!(matches!(capture.start(), Err(Error::Unplugged { .. })));
        assert!(Device::open(&path).is_err(), "gone for everybody");
        drop(capture);

        assert_eq!(pixels(&held), picture, "the memory outlives the device");
        drop(held);
        before.check();
        drop(frame(
            &mut fast(still(&path), PixelFormat::NV12, SMALL).start().unwrap(),
        ));
        before.check();
    }
}
