//! What is refused, and why: colour that nobody said, destinations that do not fit, memory that is not linear.

use dmaframe_core::convert::{Assume, ConvertError, Converter};
use dmaframe_core::{ColorInfo, Error, Fourcc, Frame, FrameParts, Layout, Modifier, Plane, Range, Size};

use super::compare::{NOW, color, target};
use super::pack::{meta, private};

#[test]
fn unspecified_colour_is_refused_or_assumed_and_said() {
    let frame = |size: Size, fourcc, color| {
        let layout = Layout::tight(fourcc, size).unwrap();
        private(&layout, vec![128; layout.tight_len() as usize], meta(color))
    };
    let sd = frame(Size::new(640, 480), Fourcc::NV12, ColorInfo::UNSPECIFIED);
    let hd = frame(Size::new(1280, 720), Fourcc::NV12, ColorInfo::UNSPECIFIED);
    let convert = |assume, frame: &Frame| {
        Converter::new(assume)
            .rgba_image(frame, NOW)
            .map(|(_, done)| done)
    };

    let refused = convert(Assume::Refuse, &sd).unwrap_err();
    assert_eq!(
        refused,
        ConvertError::Unspecified {
            fourcc: Fourcc::NV12,
            what: "range"
        }
    );
    let full = ColorInfo {
        range: Range::Full,
        ..ColorInfo::UNSPECIFIED
    };
    let refused = convert(Assume::Refuse, &frame(Size::new(2, 2), Fourcc::NV12, full)).unwrap_err();
    assert_eq!(
        refused,
        ConvertError::Unspecified {
            fourcc: Fourcc::NV12,
            what: "matrix"
        }
    );

    let done = convert(Assume::Auto, &sd).unwrap();
    assert_eq!((done.source, done.assumed), (ColorInfo::BT601, true));
    assert_eq!((done.result.matrix, done.result.range), (0, Range::Full));
    assert_eq!(convert(Assume::Auto, &hd).unwrap().source, ColorInfo::BT709);
    assert_eq!(
        convert(Assume::As(ColorInfo::JFIF), &hd).unwrap().source,
        ColorInfo::JFIF
    );
    // Only what is open is filled in.
    let done = convert(Assume::Auto, &frame(Size::new(2, 2), Fourcc::NV12, full)).unwrap();
    assert_eq!(
        (done.source.range, done.source.matrix, done.assumed),
        (Range::Full, 6, true)
    );
    // RGB leaves nothing to assume that pixels depend on; gray is full range by custom.
    let rgb = frame(Size::new(2, 2), Fourcc::XRGB8888, ColorInfo::UNSPECIFIED);
    assert!(!convert(Assume::Refuse, &rgb).unwrap().assumed);
    let gray = frame(Size::new(2, 2), Fourcc::R8, ColorInfo::UNSPECIFIED);
    assert_eq!(convert(Assume::Auto, &gray).unwrap().source.range, Range::Full);
    assert!(convert(Assume::Refuse, &gray).is_err());
}

#[test]
fn unknown_matrices_are_refused() {
    for matrix in [0, 3, 8, 10, 14, 255] {
        let layout = Layout::tight(Fourcc::NV12, Size::new(2, 2)).unwrap();
        let frame = private(&layout, vec![0; 6], meta(color(matrix, Range::Limited)));
        let refused = Converter::new(Assume::Auto).rgba_image(&frame, NOW).unwrap_err();
        assert_eq!(
            refused,
            ConvertError::Matrix {
                fourcc: Fourcc::NV12,
                matrix
            }
        );
    }
}

#[test]
fn bad_destinations_are_refused_with_numbers() {
    let layout = Layout::tight(Fourcc::NV12, Size::new(5, 3)).unwrap();
    let frame = private(
        &layout,
        vec![0; layout.tight_len() as usize],
        meta(ColorInfo::BT709),
    );
    let mut converter = Converter::new(Assume::Refuse);
    let size = Size::new(5, 3);
    let refused = converter.to_rgba(&frame, NOW, &mut [0; 59], 20).unwrap_err();
    assert_eq!(
        refused,
        ConvertError::TooSmall {
            found: 59,
            needed: 60,
            size
        }
    );
    let refused = converter.to_rgba(&frame, NOW, &mut [0; 600], 19).unwrap_err();
    assert_eq!(
        refused,
        ConvertError::Stride {
            found: 19,
            needed: 20
        }
    );
    let refused = converter
        .to_rgba(&frame, NOW, &mut [0; 60], usize::MAX)
        .unwrap_err();
    assert_eq!(
        refused,
        ConvertError::TooLarge {
            size,
            bytes_per_pixel: 4
        }
    );
    let refused = converter
        .to_frame(&frame, &mut target(Fourcc::XRGB8888, size, 0), NOW)
        .unwrap_err();
    assert_eq!(
        refused,
        ConvertError::Target {
            fourcc: Fourcc::XRGB8888
        }
    );
    let refused = converter
        .to_frame(&frame, &mut target(Fourcc::NV12, Size::new(3, 5), 0), NOW)
        .unwrap_err();
    let (found, needed) = (Size::new(3, 5), size);
    assert_eq!(
        refused,
        ConvertError::TargetSize {
            found,
            x: 0,
            y: 0,
            needed
        }
    );
    let mut out = target(Fourcc::NV12, size, 0);
    let _clone = out.clone();
    let refused = converter.to_frame(&frame, &mut out, NOW).unwrap_err();
    assert!(
        matches!(refused, ConvertError::Frame(Error::Shared { .. })),
        "{refused}"
    );
}

#[test]
fn tiled_memory_is_refused() {
    let mut parts = FrameParts::new(Fourcc::NV12, Size::new(64, 64));
    parts.modifier = Modifier(0x0100_0000_0000_0002);
    parts
        .objects
        .push(dmaframe_testkit::memfd(65536, true).unwrap().into());
    parts.planes = vec![
        Plane {
            object: 0,
            offset: 0,
            stride: 64,
        },
        Plane {
            object: 0,
            offset: 4096,
            stride: 64,
        },
    ];
    parts.meta = meta(ColorInfo::BT709);
    let modifier = parts.modifier;
    let frame = Frame::try_from(parts).unwrap();
    let refused = Converter::new(Assume::Auto).rgba_image(&frame, NOW).unwrap_err();
    assert_eq!(refused, ConvertError::Frame(Error::NotLinear { modifier }));
}
