//! What encoders and decoders make is what the same driver makes for v4l2-ctl, unit by unit and pixel by pixel; nothing
//! is lost, doubled or given another time.

mod common;

use std::path::Path;
use std::process::Command;

use common::codec::{FWHT, SIZE, bytes, decoder, encode, encoder, layout, time};
use common::{PATIENCE, coded, pattern, picture, pool, rest, shown, through};
use dmaframe_core::{Bitstream, Codec, Size};
use dmaframe_v4l2::{Decoder, Device, Error, FormatRequest, Output, PixelFormat};

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
fn after_a_drain_it_goes_on_with_the_next_input() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let mut encoder = encoder(&enc, PixelFormat::NV12, SIZE);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 6);
    let mut decoder = decoder(&dec, Size::new(1280, 720));
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
    let mut decoder = decoder(&dec, Size::new(1280, 720));
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
    let mut decoder = decoder(&dec, Size::new(1280, 720));
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
    let mut decoder = decoder(&dec, Size::new(1280, 720));
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

/// Memory for a new size may be short for a while. Each call says so until there is some, and then every picture comes.
#[test]
fn buffers_that_cannot_be_had_for_a_new_size_are_told_until_they_can() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let sizes = [SIZE, Size::new(800, 608)];
    let mut units = Vec::new();
    for (n, size) in (0..).zip(sizes) {
        units.extend(encode(&enc, PixelFormat::NV12, size, n * 10, 2));
    }
    let mut asked = 0;
    let mut decoder = Decoder::builder(Device::open_m2m(&dec).unwrap())
        .input(FormatRequest::new(FWHT, sizes[1]))
        .output_into(move |_, layout| {
            asked += 1;
            // Twice nothing for each size.
            if asked % 3 != 0 {
                return Vec::new();
            }
            let chain = dmaframe_alloc::Chain::dmabuf();
            let set = dmaframe_alloc::Allocator::allocate_set(&chain, &layout.into(), 6, 9).unwrap();
            set.into_iter().map(std::sync::Arc::new).collect()
        })
        .start()
        .unwrap();
    let mut units = units.into_iter();
    let (mut errors, mut formats, mut times) = (Vec::new(), Vec::new(), Vec::new());
    decoder.submit(units.next().unwrap(), PATIENCE).unwrap();
    loop {
        match decoder.next(PATIENCE) {
            Err(error) => {
                assert!(matches!(error, Error::BufferCount { found: 0, .. }), "{error}");
                errors.push(formats.len());
            }
            Ok(Some(Output::Format(format))) => {
                formats.push(format.size);
                for unit in units.by_ref() {
                    decoder.submit(unit, PATIENCE).unwrap();
                }
                if formats.len() == 1 {
                    decoder.drain().unwrap();
                }
            }
            Ok(Some(Output::Item(frame))) => times.push(frame.meta().timestamp.unwrap().ns),
            Ok(Some(Output::Drained)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(errors, [0, 0, 1, 1], "told each time, for each size");
    assert_eq!(formats, sizes);
    assert_eq!(times, [0, 1, 10, 11].map(time));
}
