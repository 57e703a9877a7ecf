//! Colour, the part to show and the encoder's controls reach the stream, and those who decode it.

mod common;

use common::codec::{SIZE, decoder, encoder, layout};
use common::{PATIENCE, coded, picture, pool, rest, shown, still, through};
use dmaframe_core::{Bitstream, ColorInfo, Fourcc, FrameMeta, Range, Size};
use dmaframe_v4l2::{Device, Encoder, Error, FormatRequest, Output, PixelFormat};

/// Colour is in FWHT's header: the camera's gets to whoever decodes.
#[test]
fn the_colour_goes_through_the_stream() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let camera = need_vivid!();
    let _alone = common::alone();
    let device = still(&camera);
    device.set_menu("Colorspace", "BT.2020").unwrap();
    let format = device
        .set_format(FormatRequest::new(PixelFormat::NV12, SIZE))
        .unwrap();
    device.set_menu("Colorspace", "sRGB").unwrap();
    let described = FormatRequest::of_layout(&layout(PixelFormat::NV12, SIZE)).unwrap();
    let full = ColorInfo {
        range: Range::Full,
        ..ColorInfo::BT709
    };
    for (request, expected) in [
        (FormatRequest::from(&format), (9, 9, format.color.range)),
        (described.with_color(full), (1, 1, Range::Full)),
    ] {
        let mut encoder = Encoder::builder(Device::open_m2m(&enc).unwrap())
            .input(request)
            .start()
            .unwrap();
        let pool = pool(&layout(PixelFormat::NV12, SIZE), 2);
        encoder.submit(picture(&pool, 0, 0), PATIENCE).unwrap();
        encoder.drain().unwrap();
        let units = rest(&mut encoder);
        let pictures = through(&mut decoder(&dec, Size::new(1280, 720)), units, shown);
        let color = pictures[0].1.color;
        assert_eq!((color.primaries, color.matrix, color.range), expected);
    }
}

/// A codec that pads: what is shown is told to the encoder, and comes out of the decoder.
#[test]
fn rows_that_a_codec_adds_are_not_shown() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    // vicodec's blocks are eight pixels wide and high, of chroma too: 16.
    let size = Size::new(648, 366);
    let mut encoder = encoder(&enc, PixelFormat::NV12, size);
    let coded_size = encoder.input_format().size;
    assert!(coded_size.height > size.height, "{coded_size}");
    let pool = pool(&layout(PixelFormat::NV12, size), 6);
    let units = through(&mut encoder, (0..3).map(|n| picture(&pool, n, n)), coded);
    assert_eq!(
        encoder.input_hop().counts().cpu_bytes,
        3 * layout(PixelFormat::NV12, size).tight_len()
    );
    let mut decoder = decoder(&dec, Size::new(1280, 720));
    let mut frames = 0;
    through(&mut decoder, units, |output| {
        if let Output::Item(frame) = &output {
            let shown = frame.visible();
            assert_eq!(
                (shown.x, shown.y, shown.width, shown.height),
                (0, 0, size.width, size.height)
            );
            assert_eq!(frame.layout().size(), coded_size);
            frames += 1;
        }
        None::<()>
    });
    assert_eq!(frames, 3);
}

#[test]
fn controls_reach_the_encoder_and_those_it_lacks_are_named() {
    let enc = need_m2m!("vicodec", Encoder);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 6);
    let mut encoder = Encoder::builder(Device::open_m2m(&enc).unwrap())
        .input(FormatRequest::new(PixelFormat::NV12, SIZE))
        .interval(dmaframe_v4l2::Interval::fps(30))
        .gop(3)
        .start()
        .unwrap();
    let units = through(&mut encoder, (0..7).map(|n| picture(&pool, n, n)), coded);
    let keys: Vec<_> = units.iter().map(Bitstream::is_keyframe).collect();
    assert_eq!(keys, [true, false, false, true, false, false, true]);
    let error = encoder.set_bitrate(1_000_000).unwrap_err();
    assert!(matches!(error, Error::NoControl { .. }), "{error}");
    assert!(matches!(encoder.force_keyframe(), Err(Error::NoControl { .. })));
    let error = Encoder::builder(Device::open_m2m(&enc).unwrap())
        .input(FormatRequest::new(PixelFormat::NV12, SIZE))
        .gop(17)
        .start()
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::ControlRange {
                value: 17,
                maximum: 16,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn metadata_of_units_carries_no_rect_of_the_picture() {
    let enc = need_m2m!("vicodec", Encoder);
    let mut encoder = encoder(&enc, PixelFormat::NV12, SIZE);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 1);
    let mut frame = picture(&pool, 0, 0);
    frame.meta_mut().unwrap().visible = Some(dmaframe_core::Rect::full(SIZE));
    encoder.submit(frame, PATIENCE).unwrap();
    encoder.drain().unwrap();
    let units = rest(&mut encoder);
    assert_eq!(units[0].meta().visible, None);
    let _: &FrameMeta = units[0].meta();
    assert_eq!(layout(PixelFormat::NV12, SIZE).fourcc(), Fourcc::NV12);
}
