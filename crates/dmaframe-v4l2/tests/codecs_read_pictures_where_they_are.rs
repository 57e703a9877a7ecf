//! A camera's buffers are encoded, and an encoder's units decoded, in the memory they are in.

mod common;

use common::codec::{FWHT, SIZE, decoder, encode, encoder, layout, time};
use common::{PATIENCE, coded, fast, picture, pool, rest, shown, still, through};
use dmaframe_core::Size;
use dmaframe_core::report::PathReport;
use dmaframe_v4l2::{Decoder, Device, Encoder, FormatRequest, Output, PixelFormat};

#[test]
fn a_cameras_buffers_are_encoded_where_they_are() {
    let camera = need_vivid!();
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let _alone = common::alone();
    let mut capture = fast(still(&camera), PixelFormat::NV12, SIZE).start().unwrap();
    let mut encoder = Encoder::builder(Device::open_m2m(&enc).unwrap())
        .input(FormatRequest::from(capture.format()))
        .start()
        .unwrap();
    let report = PathReport::new();
    report.add(capture.hop().clone());
    report.add(encoder.input_hop().clone());
    report.add(encoder.output_hop().clone());
    let (mut units, mut times) = (Vec::new(), Vec::new());
    let mut one = None;
    while times.len() < 30 {
        let frame = common::frame(&mut capture);
        one.get_or_insert_with(|| common::pixels(&frame));
        times.push(frame.meta().timestamp);
        encoder.submit(frame, PATIENCE).unwrap();
        while let Some(output) = encoder.try_next().unwrap() {
            units.extend(coded(output));
        }
    }
    encoder.drain().unwrap();
    units.extend(rest(&mut encoder));
    assert_eq!(
        capture.stats().detached,
        0,
        "the encoder gave the camera's buffers back in time"
    );
    assert_eq!(
        report.to_string(),
        "vivid(V4L2,EXPBUF) -> vicodec(V4L2,OUTPUT) -> vicodec(V4L2,CAPTURE)   CPU bytes/frame: 0"
    );
    assert_eq!(
        units.iter().map(|unit| unit.timestamp()).collect::<Vec<_>>(),
        times
    );

    // And it can be seen again.
    let mut decoder = decoder(&dec, Size::new(1280, 720));
    let pictures = through(&mut decoder, units, shown);
    assert_eq!(
        pictures
            .iter()
            .map(|(_, meta)| meta.timestamp)
            .collect::<Vec<_>>(),
        times
    );
    // 4:2:0 in three planes is the decoder's own choice; luma is the same in both.
    assert_eq!(decoder.output_format().unwrap().pixel_format, PixelFormat::YUV420);
    let one = one.unwrap();
    let luma = SIZE.width as usize * SIZE.height as usize;
    for (bytes, _) in &pictures {
        let far: u64 = one[..luma]
            .iter()
            .zip(bytes)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        assert!(far / (luma as u64) < 8, "mean distance {}", far / luma as u64);
    }
}

/// An encoder's units go into a decoder where they are, and come out as they do when they are copied.
#[test]
fn a_decoder_reads_units_where_the_encoder_wrote_them() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let count = 24;
    let copied = encode(&enc, PixelFormat::NV12, SIZE, 0, count);
    let expected = through(&mut decoder(&dec, Size::new(1280, 720)), copied.clone(), shown);

    let mut encoder = encoder(&enc, PixelFormat::NV12, SIZE);
    let mut decoder = Decoder::builder(Device::open_m2m(&dec).unwrap())
        .input(FormatRequest::new(FWHT, SIZE))
        .import_input()
        .start()
        .unwrap();
    let report = PathReport::new();
    report.add(encoder.output_hop().clone());
    report.add(decoder.input_hop().clone());
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 6);
    let mut pictures = Vec::new();
    for n in 0..count {
        encoder.submit(picture(&pool, n, time(n)), PATIENCE).unwrap();
        let unit = encoder
            .next(PATIENCE)
            .unwrap()
            .and_then(Output::into_item)
            .unwrap();
        assert!(unit.is_dmabuf());
        decoder.submit(unit, PATIENCE).unwrap();
        while let Some(output) = decoder.try_next().unwrap() {
            pictures.extend(shown(output));
        }
    }
    assert_eq!(decoder.input_hop().counts().zero_copy, count);
    assert_eq!(report.cpu_bytes_per_frame(), 0, "{report}");
    decoder.drain().unwrap();
    pictures.extend(
        rest(&mut decoder)
            .into_iter()
            .map(|frame| (common::pixels(&frame), frame.meta().clone())),
    );
    assert_eq!(pictures.len(), expected.len());
    for (n, (found, wanted)) in pictures.iter().zip(&expected).enumerate() {
        assert!(found.0 == wanted.0, "picture {n} differs");
        assert_eq!(found.1.timestamp, wanted.1.timestamp, "picture {n}");
    }

    // Units in bytes are copied by the same decoder, and said to be.
    let again = through(&mut decoder, copied, shown);
    assert!(
        again
            .iter()
            .zip(&expected)
            .all(|(found, wanted)| found.0 == wanted.0)
    );
    assert_eq!(again.len(), expected.len());
    assert!(decoder.input_hop().counts().cpu_bytes > 0);
}
