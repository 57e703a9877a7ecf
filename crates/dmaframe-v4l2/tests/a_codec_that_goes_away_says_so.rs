//! The driver is taken from the codec while it works: a typed error for whatever is asked of it, inputs back with their
//! owner, outputs in hand still readable.

mod common;

use common::codec::{SIZE, layout, plain_encoder};
use common::{PATIENCE, picture, pool};
use dmaframe_testkit::streams::error_of;
use dmaframe_testkit::{Device as Kit, need};
use dmaframe_v4l2::{Device, Error, PixelFormat};

#[test]
fn losing_the_device_is_an_error_and_gives_everything_back() {
    let path = need_m2m!("vicodec", Encoder);
    let unbind = need!(Kit::Unbind("vicodec"));
    let mut encoder = plain_encoder(&path);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 4);
    encoder.submit(picture(&pool, 0, 0), PATIENCE).unwrap();
    let held = encoder.next(PATIENCE).unwrap().unwrap().into_item().unwrap();

    std::fs::write(unbind, "vicodec.0").unwrap();
    let error = error_of(PATIENCE, || encoder.submit(picture(&pool, 1, 1), PATIENCE));
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
