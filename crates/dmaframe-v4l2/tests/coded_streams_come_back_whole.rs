//! What encoders and decoders make is what the same driver makes for v4l2-ctl, unit by unit and pixel by pixel; nothing
//! is lost, doubled or given another time.

mod common;

use std::path::Path;
use std::process::Command;

use common::{PATIENCE, coded, fast, pattern, picture, pool, rest, shown, still, through};
use dmaframe_core::report::PathReport;
use dmaframe_core::{Bitstream, Codec, ColorInfo, Fourcc, FrameMeta, Layout, Range, Size};
use dmaframe_v4l2::{Decoder, Device, Encoder, Error, FormatRequest, Output, PixelFormat};

/// A whole number of vicodec's blocks of 16, so that it reads frames as they are.
const SIZE: Size = Size::new(640, 480);
const FWHT: PixelFormat = PixelFormat::new(b"FWHT");

fn encoder(path: &Path, format: PixelFormat, size: Size) -> Encoder {
    Encoder::builder(Device::open_m2m(path).unwrap())
        .input(FormatRequest::new(format, size))
        .output(FormatRequest::new(FWHT, size))
        .start()
        .unwrap()
}

fn decoder(path: &Path) -> Decoder {
    Decoder::builder(Device::open_m2m(path).unwrap())
        .input(FormatRequest::new(FWHT, Size::new(1280, 720)))
        .start()
        .unwrap()
}

fn layout(format: PixelFormat, size: Size) -> Layout {
    Layout::tight(format.frame().unwrap().fourcc, size).unwrap()
}

/// Encodes `count` pictures that begin with number `from`.
fn encode(path: &Path, format: PixelFormat, size: Size, from: u64, count: u64) -> Vec<Bitstream> {
    let mut encoder = encoder(path, format, size);
    let pool = pool(&layout(format, size), 6);
    let pictures = (from..from + count).map(|n| picture(&pool, n, time(n)));
    let units = through(&mut encoder, pictures, coded);
    assert_eq!(encoder.input_hop().counts().zero_copy, count);
    assert_eq!(encoder.input_hop().counts().cpu_bytes, 0);
    units
}

fn time(n: u64) -> u64 {
    3_600_000_000_123 + n * 33_333_333
}

fn bytes(unit: &Bitstream) -> Vec<u8> {
    unit.map_read(PATIENCE).unwrap().to_vec().unwrap()
}

/// Whether a unit stands alone, by `struct fwht_cframe_hdr` and without the code under test: vicodec's encoder does not set
/// `V4L2_BUF_FLAG_KEYFRAME`.
fn stands_alone(unit: &Bitstream) -> bool {
    let bytes = bytes(unit);
    assert_eq!(bytes[..8], [0x4f, 0x4f, 0x4f, 0x4f, 0xff, 0xff, 0xff, 0xff]);
    u32::from_be_bytes(bytes[20..24].try_into().unwrap()) & 1 << 10 != 0
}

fn v4l2_ctl(device: &Path, args: &[&str]) {
    let out = Command::new("v4l2-ctl")
        .arg("-d")
        .arg(device)
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "v4l2-ctl {args:?}: {text}");
}

#[test]
fn units_and_pictures_are_those_of_the_same_driver_used_the_plain_way() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let _ = dmaframe_testkit::need!(dmaframe_testkit::Device::Program("v4l2-ctl"));
    let dir = std::env::temp_dir();
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    for (format, code) in [(PixelFormat::NV12, "NV12"), (PixelFormat::new(b"XR24"), "XR24")] {
        let count = 12;
        let raw: Vec<u8> = (0..count)
            .flat_map(|n| pattern(&layout(format, SIZE), n))
            .collect();
        std::fs::write(file("raw"), raw).unwrap();
        let (input, output) = (
            format!("width=640,height=480,pixelformat={code}"),
            "width=640,height=480,pixelformat=FWHT",
        );
        v4l2_ctl(
            &enc,
            &[
                "--set-fmt-video-out",
                &input,
                "--set-fmt-video",
                output,
                "--stream-out-mmap",
                "--stream-mmap",
                &format!("--stream-from={}", file("raw")),
                &format!("--stream-to={}", file("fwht")),
            ],
        );
        let units = encode(&enc, format, SIZE, 0, count);
        assert_eq!(units.len(), count as usize);
        let ours: Vec<u8> = units.iter().flat_map(bytes).collect();
        let theirs = std::fs::read(file("fwht")).unwrap();
        assert_eq!(ours.len(), theirs.len(), "{code}");
        assert!(ours == theirs, "{code}: units differ");
        for (n, unit) in (0..).zip(&units) {
            assert_eq!(unit.codec(), Codec::FWHT);
            assert_eq!(unit.timestamp().unwrap().ns, time(n));
            assert_eq!(unit.meta().sequence, Some(n));
            // vicodec's groups of ten.
            assert_eq!(stands_alone(unit), n % 10 == 0, "unit {n}");
            assert_eq!(unit.is_keyframe(), n % 10 == 0, "unit {n}");
        }

        v4l2_ctl(
            &dec,
            &[
                "--set-fmt-video-out",
                output,
                "--set-fmt-video",
                &input,
                "--stream-out-mmap",
                "--stream-mmap",
                &format!("--stream-from={}", file("fwht")),
                &format!("--stream-to={}", file("back")),
            ],
        );
        let theirs = std::fs::read(file("back")).unwrap();
        let mut decoder = Decoder::builder(Device::open_m2m(&dec).unwrap())
            .input(FormatRequest::new(FWHT, SIZE))
            .output(FormatRequest::new(format, SIZE))
            .start()
            .unwrap();
        let pictures = through(&mut decoder, units, shown);
        assert_eq!(pictures.len(), count as usize);
        for (n, (_, meta)) in (0..).zip(&pictures) {
            assert_eq!(meta.timestamp.unwrap().ns, time(n));
        }
        let ours: Vec<u8> = pictures.into_iter().flat_map(|(bytes, _)| bytes).collect();
        assert_eq!(ours.len(), theirs.len(), "{code}");
        assert!(ours == theirs, "{code}: pictures differ");
        // A lossy codec's picture is near what went in: the reference is no blank.
        let raw = std::fs::read(file("raw")).unwrap();
        let far: u64 = raw
            .iter()
            .zip(&ours)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        assert!(
            far / (raw.len() as u64) < 24,
            "{code}: mean distance {}",
            far / raw.len() as u64
        );
    }
}

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
    let mut decoder = decoder(&dec);
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
    let expected = through(&mut decoder(&dec), copied.clone(), shown);

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

#[test]
fn after_a_drain_it_goes_on_with_the_next_input() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let mut encoder = encoder(&enc, PixelFormat::NV12, SIZE);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 6);
    let mut decoder = decoder(&dec);
    let mut decoded = 0;
    for round in 0..4u64 {
        let count = [1, 3, 7, 2][round as usize];
        let pictures = (0..count).map(|n| picture(&pool, n, time(round * 100 + n)));
        let units = through(&mut encoder, pictures, coded);
        assert_eq!(units.len() as u64, count, "round {round}");
        assert!(stands_alone(&units[0]), "each round stands alone");
        let times: Vec<_> = units.iter().map(|unit| unit.timestamp().unwrap().ns).collect();
        assert_eq!(
            times,
            (0..count).map(|n| time(round * 100 + n)).collect::<Vec<_>>()
        );
        assert!(encoder.try_next().unwrap().is_none(), "nothing after the end");
        let pictures = through(&mut decoder, units, shown);
        decoded += pictures.len();
        let shown: Vec<_> = pictures
            .iter()
            .map(|(_, meta)| meta.timestamp.unwrap().ns)
            .collect();
        assert_eq!(shown, times, "round {round}");
    }
    assert_eq!(decoded, 13);
    // Nothing in, nothing out.
    encoder.drain().unwrap();
    assert!(rest(&mut encoder).is_empty());
    // While it is being drained nothing is taken.
    encoder.submit(picture(&pool, 0, 0), PATIENCE).unwrap();
    encoder.drain().unwrap();
    let rejected = encoder.try_submit(picture(&pool, 1, 1)).unwrap_err();
    assert!(matches!(rejected.error, Error::Draining { .. }));
    assert_eq!(rest(&mut encoder).len(), 1);
}

#[test]
fn a_decoder_that_is_drained_before_it_knows_its_stream_ends_too() {
    let dec = need_m2m!("vicodec", Decoder);
    let mut decoder = decoder(&dec);
    assert!(decoder.output_format().is_none());
    decoder.drain().unwrap();
    assert!(rest(&mut decoder).is_empty());
}

#[test]
fn a_size_that_changes_in_mid_stream_is_told_and_every_picture_comes() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let sizes = [SIZE, Size::new(1280, 720), Size::new(800, 608), SIZE];
    let mut units = Vec::new();
    for (n, size) in (0..).zip(sizes) {
        units.extend(encode(&enc, PixelFormat::NV12, size, n * 10, 5));
    }
    let mut decoder = decoder(&dec);
    let (mut formats, mut came, mut held) = (Vec::new(), Vec::new(), Vec::new());
    let mut keep = |output: Output<_>| {
        match output {
            Output::Format(format) => formats.push(format.size),
            Output::Item(frame) => {
                let frame: dmaframe_core::Frame = frame;
                came.push((frame.layout().size(), frame.meta().timestamp.unwrap().ns));
                if held.len() < 3
                    && held
                        .last()
                        .is_none_or(|last: &dmaframe_core::Frame| last.layout() != frame.layout())
                {
                    held.push(frame);
                }
            }
            other => panic!("{other:?}"),
        }
        None::<()>
    };
    through(&mut decoder, units, &mut keep);
    assert_eq!(formats, sizes);
    let expected: Vec<_> = (0..)
        .zip(sizes)
        .flat_map(|(n, size)| (0..5).map(move |m| (size, time(n * 10 + m))))
        .collect();
    assert_eq!(came, expected);
    // Frames of the sizes before are still there.
    for (frame, size) in held.iter().zip(sizes) {
        assert_eq!(frame.layout().size(), size);
        let picture = common::pixels(frame);
        assert!(picture.iter().any(|byte| *byte != picture[0]));
    }
}

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
        let pictures = through(&mut decoder(&dec), units, shown);
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
    let mut decoder = decoder(&dec);
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
fn a_flush_drops_what_is_on_its_way_and_nothing_else() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 6);
    let mut encoder = encoder(&enc, PixelFormat::NV12, SIZE);
    for n in 0..3 {
        encoder.try_submit(picture(&pool, n, time(n))).unwrap();
    }
    encoder.flush().unwrap();
    assert_eq!(pool.outstanding(), 0, "the frames went back");
    let units = through(&mut encoder, (10..14).map(|n| picture(&pool, n, time(n))), coded);
    let times: Vec<_> = units.iter().map(|unit| unit.timestamp().unwrap().ns).collect();
    assert_eq!(times, [10, 11, 12, 13].map(time));
    assert!(stands_alone(&units[0]));

    // A seek: the first units are dropped, the stream begins anew, also in another size.
    let mut decoder = decoder(&dec);
    for unit in &units[..2] {
        decoder.try_submit(unit.clone()).unwrap();
    }
    decoder.flush().unwrap();
    let pictures = through(&mut decoder, units.iter().cloned(), shown);
    assert_eq!(pictures.len(), 4);
    let large = encode(&enc, PixelFormat::NV12, Size::new(1280, 720), 20, 3);
    for unit in &large[..2] {
        decoder.submit(unit.clone(), PATIENCE).unwrap();
    }
    decoder.flush().unwrap();
    let pictures = through(&mut decoder, large, shown);
    assert_eq!(
        pictures
            .iter()
            .map(|(_, meta)| meta.timestamp.unwrap().ns)
            .collect::<Vec<_>>(),
        [20, 21, 22].map(time)
    );
    assert_eq!(pictures[0].0.len(), 1280 * 720 * 3 / 2);
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
