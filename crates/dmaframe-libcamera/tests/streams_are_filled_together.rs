//! Several streams of one camera: a picture of each in every request, and each with its own buffers.
//!
//! The second one here is for stills; `raw_and_processed_together.rs` has the one camera that gives raw pictures.

mod common;

use common::{PATIENCE, VIMC, VIRTUAL, alone, frame, next};
use dmaframe_core::{Fourcc, Size};
use dmaframe_libcamera::{CameraMetadata, Capture, Error, Role, StreamRequest};

const SMALL: Size = Size::new(640, 360);
const LARGE: Size = Size::new(1280, 720);

fn both(camera: dmaframe_libcamera::Camera) -> dmaframe_libcamera::CaptureBuilder {
    let viewfinder = StreamRequest::new(Role::ViewFinder).size(SMALL);
    let still = StreamRequest::new(Role::StillCapture).size(LARGE);
    Capture::builder(camera).stream(viewfinder).stream(still)
}

#[test]
fn every_request_has_a_picture_of_each_stream() {
    let _alone = alone();
    let mut capture = both(need_camera!(VIRTUAL)).start().unwrap();
    let sizes: Vec<_> = capture
        .formats()
        .map(|format| (format.role, format.size))
        .collect();
    assert_eq!(sizes, [(Role::ViewFinder, SMALL), (Role::StillCapture, LARGE)]);
    for _ in 0..50 {
        let mut completed = next(&mut capture);
        let (small, large) = (completed.take_frame(0).unwrap(), completed.take_frame(1).unwrap());
        assert_eq!((small.layout().size(), large.layout().size()), (SMALL, LARGE));
        let of =
            |frame: &dmaframe_core::Frame| frame.meta().extensions.get::<CameraMetadata>().unwrap().sequence;
        assert_eq!(of(&small), of(&large), "of one exposure");
        assert_eq!(completed.metadata().unwrap().sequence, of(&small));
    }
    for stream in 0..2 {
        let hop = capture.hop(stream).unwrap().counts();
        assert_eq!((hop.zero_copy, hop.cpu_bytes), (50, 0), "{hop}");
    }
    assert!(capture.hop(2).is_none());
}

#[test]
fn keeping_stills_costs_the_viewfinder_no_buffer() {
    let _alone = alone();
    let mut capture = both(need_camera!(VIRTUAL)).start().unwrap();
    let stills: Vec<_> = (0..6)
        .map(|_| next(&mut capture).take_frame(1).unwrap())
        .collect();
    let shared = stills.iter().filter(|frame| frame.as_dmabuf().is_some()).count();
    assert_eq!(
        shared,
        capture.slots(1) - 2,
        "the rest are copies: the camera keeps two"
    );
    let detached = capture.stats(1).detached;
    for _ in 0..20 {
        assert!(frame(&mut capture).as_dmabuf().is_some());
    }
    assert_eq!(capture.stats(0).detached, 0);
    assert!(capture.stats(1).detached > detached);
    let pixels = |frame: &dmaframe_core::Frame| frame.map_read(PATIENCE).unwrap().to_tight().unwrap().len();
    assert!(stills.iter().all(|frame| pixels(frame) == 1280 * 720 * 3 / 2));
}

#[test]
fn streams_a_camera_has_not_got_are_refused_by_name() {
    let _alone = alone();
    for id in [VIMC, VIRTUAL] {
        let camera = match id {
            VIMC => need_camera!(VIMC),
            _ => need_camera!(VIRTUAL),
        };
        let raw = Capture::builder(camera)
            .stream(StreamRequest::new(Role::ViewFinder))
            .stream(StreamRequest::new(Role::Raw));
        let error = raw.configure().unwrap_err();
        assert!(
            matches!(&error, Error::Roles { camera, .. } if camera.contains(id)),
            "{error}"
        );
        assert!(error.to_string().contains("viewfinder + raw"), "{error}");
    }
    // The error released the camera.
    let camera = need_camera!(VIRTUAL);
    let none = Capture::builder(camera).configure().unwrap_err();
    assert!(matches!(none, Error::Roles { .. }));
    let rgb = StreamRequest::new(Role::ViewFinder).format(Fourcc::XRGB8888);
    let error = Capture::builder(need_camera!(VIRTUAL))
        .stream(rgb)
        .configure()
        .unwrap_err();
    assert!(matches!(error, Error::FormatRefused { stream: 0, .. }), "{error}");
    assert!(
        error.to_string().contains("XR24") && error.to_string().contains("NV12"),
        "{error}"
    );
}
