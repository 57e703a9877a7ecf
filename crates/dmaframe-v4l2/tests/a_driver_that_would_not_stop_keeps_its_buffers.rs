//! A device is gone, so that `VIDIOC_STREAMOFF` cannot reach its driver, which works on until the node is closed: no frame,
//! and so no slice, can be made of what it writes, and what it reads does not go back to be filled again.

mod common;

use std::sync::Arc;

use common::codec::{SIZE, layout, plain_encoder};
use common::{PATIENCE, SMALL, fast, frame, picture, pool, still};
use dmaframe_core::Buffer;
use dmaframe_testkit::streams::{every_buffer, is_in_use};
use dmaframe_testkit::{Device as Kit, need};
use dmaframe_v4l2::{Error, FormatRequest, PixelFormat};

#[test]
fn no_frame_can_be_made_of_a_buffer_that_a_cameras_driver_still_writes() {
    let path = need_vivid!();
    let mut capture = fast(still(&path), PixelFormat::NV12, SMALL).start().unwrap();
    let kept = every_buffer(capture.slots(), || frame(&mut capture));
    drop(capture.try_next().unwrap());
    capture.device().press_control("Disconnect").unwrap();
    let queued = capture.queued();
    assert!(queued > 1);
    // Twice: the second one is no excuse to forget them either.
    for _ in 0..2 {
        assert!(matches!(capture.stop(), Err(Error::Unplugged { .. })));
        assert!(!capture.is_streaming());
        assert_eq!(capture.queued(), queued);
        let in_use = kept.iter().filter(|buffer| is_in_use(buffer)).count();
        assert_eq!(in_use, queued, "given up while the driver has them");
    }
    let format = FormatRequest::new(PixelFormat::YUYV, SMALL);
    assert!(matches!(
        capture.reconfigure(format),
        Err(Error::Unplugged { .. })
    ));
    assert_eq!(kept.iter().filter(|buffer| is_in_use(buffer)).count(), queued);
    assert!(matches!(capture.start(), Err(Error::Unplugged { .. })));
    assert_eq!(kept.iter().filter(|buffer| is_in_use(buffer)).count(), queued);
    drop(capture);
    assert!(
        !kept.iter().any(is_in_use),
        "the node is closed, so nobody writes any more"
    );
}

#[test]
fn a_codecs_inputs_and_outputs_stay_with_a_driver_that_could_not_be_told() {
    let path = need_m2m!("vicodec", Encoder);
    let unbind = need!(Kit::Unbind("vicodec"));
    let mut encoder = plain_encoder(&path);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 4);
    let mut kept: Vec<Arc<Buffer>> = Vec::new();
    for n in 0..8 {
        encoder.submit(picture(&pool, n, n), PATIENCE).unwrap();
        let unit = encoder.next(PATIENCE).unwrap().unwrap().into_item().unwrap();
        let buffer = unit.frame().buffer();
        if kept.iter().all(|other| other.id() != buffer.id()) {
            kept.push(Arc::clone(buffer));
        }
    }
    // All outputs are back with the driver, and one input is.
    assert!(encoder.try_next().unwrap().is_none());
    encoder.submit(picture(&pool, 9, 9), PATIENCE).unwrap();
    assert_eq!((pool.outstanding(), encoder.queued()), (1, 1));
    assert!(!kept.is_empty() && kept.iter().all(is_in_use));

    std::fs::write(unbind, "vicodec.0").unwrap();
    for _ in 0..2 {
        assert!(matches!(encoder.flush(), Err(Error::Unplugged { .. })));
        assert_eq!(pool.outstanding(), 1, "given back while the driver may read it");
        assert!(
            kept.iter().all(is_in_use),
            "given up while the driver may write them"
        );
    }
    assert!(matches!(encoder.next(PATIENCE), Err(Error::Unplugged { .. })));
    drop(encoder);
    assert_eq!(pool.outstanding(), 0);
    assert!(!kept.iter().any(is_in_use));
}
