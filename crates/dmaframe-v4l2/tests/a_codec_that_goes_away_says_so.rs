//! The driver is taken from the codec while it works: a typed error for whatever is asked of it, inputs back with their
//! owner, outputs in hand still readable.

mod common;

use std::time::Instant;

use common::{PATIENCE, picture, pool};
use dmaframe_core::{Layout, Size};
use dmaframe_v4l2::{Device, Encoder, Error, FormatRequest, PixelFormat};

#[test]
fn losing_the_device_is_an_error_and_gives_everything_back() {
    let path = need_m2m!("vicodec", Encoder);
    let unbind = "/sys/bus/platform/drivers/vicodec/unbind";
    if !dmaframe_testkit::in_lab() {
        // It would take the driver from whoever else uses it.
        return dmaframe_testkit::skip("only in the lab");
    }
    let size = Size::new(640, 480);
    let mut encoder = Encoder::builder(Device::open_m2m(&path).unwrap())
        .input(FormatRequest::new(PixelFormat::NV12, size))
        .start()
        .unwrap();
    let pool = pool(
        &Layout::tight(PixelFormat::NV12.frame().unwrap().fourcc, size).unwrap(),
        4,
    );
    encoder.submit(picture(&pool, 0, 0), PATIENCE).unwrap();
    let held = encoder.next(PATIENCE).unwrap().unwrap().into_item().unwrap();

    std::fs::write(unbind, "vicodec.0").unwrap();
    let start = Instant::now();
    let error = loop {
        match encoder.submit(picture(&pool, 1, 1), PATIENCE) {
            Ok(()) => assert!(start.elapsed() < PATIENCE, "it goes on without its device"),
            Err(rejected) => break rejected,
        }
    };
    assert!(
        matches!(&error.error, Error::Unplugged { device, .. } if *device == path),
        "{}",
        error.error
    );
    drop(error);
    assert!(matches!(encoder.next(PATIENCE), Err(Error::Unplugged { .. })));
    assert!(matches!(encoder.drain(), Err(Error::Unplugged { .. })));
    assert!(matches!(encoder.flush(), Err(Error::Unplugged { .. })));
    drop(encoder);
    assert_eq!(pool.outstanding(), 0);
    assert!(!held.map_read(PATIENCE).unwrap().to_vec().unwrap().is_empty());
    assert!(matches!(Device::open_m2m(&path), Err(Error::Open { .. })));
}
