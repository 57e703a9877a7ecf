//! What cameras leave out or add is no matter; what is cut, damaged or too large is an error with its reason, and the next
//! picture decodes.

mod common;

use common::{FORMATS, PATIENCE, jpeg, jpeg_with, tight, unit};
use dmaframe_alloc::{Bytes, Chain};
use dmaframe_core::{
    Bitstream, Clock, Codec, ColorInfo, Fourcc, FrameMeta, Orientation, Range, Rotation, Size, Timestamp,
};
use dmaframe_jpeg::{Decoder, Error, Header, Limits};
use jpeg_encoder::SamplingFactor;

const SIZE: Size = Size::new(67, 43);

fn decode(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    Decoder::default()
        .decode_bytes(bytes, FrameMeta::default(), PATIENCE)
        .map(|frame| tight(&frame))
}

/// Where each segment before the scan begins and ends, with its marker.
fn segments(bytes: &[u8]) -> Vec<(u8, std::ops::Range<usize>)> {
    let mut list = Vec::new();
    let mut at = 2;
    loop {
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        list.push((bytes[at + 1], at..at + 2 + length));
        if bytes[at + 1] == 0xda {
            return list;
        }
        at += 2 + length;
    }
}

#[test]
fn missing_huffman_tables_are_the_standard_ones() {
    for (fourcc, sampling) in FORMATS {
        let whole = jpeg(SIZE, sampling, 1);
        let mut bare = whole[..2].to_vec();
        let list = segments(&whole);
        assert!(list.iter().any(|(marker, _)| *marker == 0xc4));
        for (marker, range) in &list {
            if *marker != 0xc4 {
                bare.extend(&whole[range.clone()]);
            }
        }
        let scan = list.last().unwrap().1.end;
        bare.extend(&whole[scan..]);
        assert_eq!(decode(&bare).unwrap(), decode(&whole).unwrap(), "{fourcc}");
        // As an AVI file marks it.
        let mut avi = bare[..2].to_vec();
        avi.extend(b"\xff\xe0\0\x10AVI1\0\0\0\0\0\0\0\0\0\0");
        avi.extend(&bare[2..]);
        assert_eq!(decode(&avi).unwrap(), decode(&whole).unwrap(), "{fourcc} AVI1");
    }
}

#[test]
fn what_cameras_add_changes_nothing() {
    let plain = jpeg_with(SIZE, Some(SamplingFactor::R_4_2_2), 2, |e| {
        e.set_restart_interval(3)
    });
    let expected = decode(&plain).unwrap();
    let end = plain.len() - 2;
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = plain.clone();
        change(&mut bytes);
        bytes
    };
    let variants = [
        ("bytes behind the end", with(&|b| b.extend([0x5a; 700]))),
        ("another JPEG behind the end", with(&|b| b.extend(&plain))),
        (
            "padding in front of the end",
            with(&|b| drop(b.splice(end..end, [0; 9]))),
        ),
        ("no end", with(&|b| b.truncate(end))),
        (
            "application data",
            with(&|b| {
                let mut segment = vec![0xff, 0xe5, 0x40, 0];
                segment.extend([0xd9; 0x3ffe]);
                b.splice(2..2, segment);
            }),
        ),
        (
            "a comment that looks like an end",
            with(&|b| drop(b.splice(2..2, *b"\xff\xfe\0\x06\xff\xd9\xff\xda"))),
        ),
        ("fill bytes", with(&|b| drop(b.splice(2..2, [0xff; 5])))),
        (
            "stray bytes between headers",
            with(&|b| drop(b.splice(20..20, *b"stray bytes"))),
        ),
    ];
    for (what, bytes) in variants {
        // The stray bytes go behind the first segment, which is JFIF's of 18 bytes.
        assert_eq!(segments(&plain)[0].1.end, 20);
        let found = decode(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn every_cut_is_truncated_and_never_half_a_picture() {
    for kind in ["plain", "progressive", "restarts"] {
        let whole = jpeg_with(SIZE, Some(SamplingFactor::R_4_2_0), 3, |e| match kind {
            "progressive" => e.set_progressive(true),
            "restarts" => e.set_restart_interval(2),
            _ => {}
        });
        let scan = segments(&whole).last().unwrap().1.end;
        let expected = decode(&whole).unwrap();
        let (mut cut, mut coarse) = (0, 0);
        for end in (2..whole.len()).step_by(13) {
            // As it is cut, and as a camera's firmware ends it all the same.
            for ended in [false, true] {
                let mut bytes = whole[..end].to_vec();
                if ended {
                    bytes.extend([0xff, 0xd9]);
                }
                match decode(&bytes) {
                    Err(Error::Truncated { bytes: found }) => {
                        assert_eq!(found, bytes.len());
                        cut += 1;
                    }
                    Err(Error::Damaged { .. } | Error::Header { .. }) => cut += 1,
                    // The last bits may be padding.
                    Ok(found) if found == expected => assert!(end + 8 > whole.len(), "{kind} {end}"),
                    // Whole scans, and who is to know that there were more?
                    Ok(_) if kind == "progressive" && ended && end > scan => coarse += 1,
                    Ok(_) => panic!("{kind} {end} {ended}: half a picture"),
                    Err(other) => panic!("{kind} {end}: {other}"),
                }
            }
        }
        eprintln!("{kind}: {cut} told, {coarse} coarser");
        assert!(cut > 60 && coarse < cut / 4, "{kind}: {cut} {coarse}");
    }
}

#[test]
fn damage_is_an_error_or_a_picture_and_the_next_one_decodes() {
    let whole = jpeg(SIZE, Some(SamplingFactor::R_4_2_0), 4);
    let expected = decode(&whole).unwrap();
    let mut decoder = Decoder::builder().slots(2).allocator(Bytes::new()).build();
    let mut state = 1u64;
    let mut random = |limit: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    let (mut errors, mut same, mut other) = (0, 0, 0);
    for round in 0..800 {
        let mut bytes = whole.clone();
        for _ in 0..1 + round % 4 {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        match decoder.decode_bytes(&bytes, FrameMeta::default(), PATIENCE) {
            Err(_) => errors += 1,
            Ok(frame) if frame.layout().size() == SIZE && tight(&frame) == expected => same += 1,
            Ok(_) => other += 1,
        }
        if round % 100 == 0 {
            let frame = decoder
                .decode_bytes(&whole, FrameMeta::default(), PATIENCE)
                .unwrap();
            assert_eq!(tight(&frame), expected);
        }
    }
    eprintln!("{errors} errors, {same} unharmed, {other} other pictures");
    assert!(errors > 200 && other > 0, "the damage was felt");
}

#[test]
fn a_header_that_claims_too_much_gets_no_memory() {
    let mut bytes = jpeg(Size::new(16, 16), Some(SamplingFactor::R_4_2_0), 1);
    let frame = segments(&bytes)
        .into_iter()
        .find(|(marker, _)| *marker == 0xc0)
        .unwrap()
        .1;
    bytes[frame.start + 5..frame.start + 9].copy_from_slice(&[0xff; 4]);
    let error = decode(&bytes).unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { found, .. } if found == Size::new(65535, 65535)),
        "{error}"
    );
    let mut decoder = Decoder::builder()
        .limits(Limits {
            pixels: 1000,
            ..Limits::default()
        })
        .build();
    let small = jpeg(Size::new(32, 31), None, 1);
    assert!(
        decoder
            .decode_bytes(&small, FrameMeta::default(), PATIENCE)
            .is_ok()
    );
    let large = jpeg(Size::new(32, 32), None, 1);
    let error = decoder
        .decode_bytes(&large, FrameMeta::default(), PATIENCE)
        .unwrap_err();
    assert!(matches!(error, Error::TooLarge { pixels: 1000, .. }), "{error}");
    // A small file that claims much within the limits ends where its data does.
    bytes[frame.start + 5..frame.start + 9].copy_from_slice(&[4, 0, 4, 0]);
    let error = decode(&bytes).map(drop).unwrap_err();
    assert!(
        matches!(error, Error::Truncated { .. } | Error::Damaged { .. }),
        "{error}"
    );
}

#[test]
fn a_size_that_the_data_cannot_hold_makes_no_pool_and_costs_none() {
    let size_at = |bytes: &[u8]| {
        let list = segments(bytes);
        let frame = list.iter().find(|(marker, _)| matches!(marker, 0xc0..=0xc2));
        frame.unwrap().1.start + 5
    };
    for (fourcc, sampling) in FORMATS {
        for progressive in [false, true] {
            let good = jpeg_with(SIZE, sampling, 1, |e| e.set_progressive(progressive));
            let mut claim = good.clone();
            let at = size_at(&claim);
            claim[at..at + 4].copy_from_slice(&[10_000u16.to_be_bytes(), 10_000u16.to_be_bytes()].concat());
            assert_eq!(Header::parse(&claim).unwrap().size, Size::new(10_000, 10_000));
            let mut decoder = Decoder::default();
            let refused = |decoder: &mut Decoder| {
                let error = decoder
                    .decode_bytes(&claim, FrameMeta::default(), PATIENCE)
                    .unwrap_err();
                assert!(matches!(error, Error::Truncated { .. }), "{fourcc}: {error}");
            };
            refused(&mut decoder);
            assert!(decoder.pool().is_none(), "{fourcc}: a few hundred bytes made one");
            let first = decoder.decode_bytes(&good, FrameMeta::default(), PATIENCE);
            drop(first.unwrap());
            let generation = decoder.pool().unwrap().generation();
            refused(&mut decoder);
            assert_eq!(decoder.pool().unwrap().generation(), generation);
            let next = decoder.decode_bytes(&good, FrameMeta::default(), PATIENCE);
            drop(next.unwrap());
        }
    }
}

#[test]
fn the_emptiest_picture_there_can_be_is_one() {
    // All of one grey: hardly more than two codes a block.
    let (width, height) = (640, 480);
    for (fourcc, sampling) in FORMATS {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 50);
        encoder.set_optimized_huffman_tables(true);
        let (channels, color) = match sampling {
            Some(sampling) => {
                encoder.set_sampling_factor(sampling);
                (3, jpeg_encoder::ColorType::Ycbcr)
            }
            None => (1, jpeg_encoder::ColorType::Luma),
        };
        let grey = vec![128; usize::from(width) * usize::from(height) * channels];
        encoder.encode(&grey, width, height, color).unwrap();
        assert!(
            decode(&bytes).unwrap().iter().all(|sample| *sample == 128),
            "{fourcc}"
        );
    }
}

#[test]
fn metadata_is_the_units_and_colour_is_jfifs() {
    let mut meta = FrameMeta::default();
    meta.timestamp = Some(Timestamp {
        ns: 123_456_789_123,
        clock: Clock::Monotonic,
    });
    meta.sequence = Some(42);
    meta.orientation = Orientation {
        rotation: Rotation::R180,
        mirror: true,
    };
    meta.color = ColorInfo::BT709;
    let bytes = jpeg(SIZE, Some(SamplingFactor::R_4_2_0), 1);
    let unit = Bitstream::from_bytes(bytes, Codec::MJPEG, true, meta.clone()).unwrap();
    let mut decoder = Decoder::default();
    let frame = decoder.decode(&unit, PATIENCE).unwrap();
    assert_eq!(frame.meta().timestamp, meta.timestamp);
    assert_eq!(
        (frame.meta().sequence, frame.meta().orientation),
        (Some(42), meta.orientation)
    );
    let color = frame.meta().color;
    assert_eq!((color.matrix, color.range), (6, Range::Full));
    assert_eq!(decoder.hop().counts().cpu_bytes, frame.layout().tight_len());
    let h264 = Bitstream::from_bytes(vec![0; 8], Codec::H264, true, FrameMeta::default()).unwrap();
    assert!(matches!(
        decoder.decode(&h264, PATIENCE),
        Err(Error::Codec { found: Codec::H264 })
    ));
}

#[test]
fn a_new_size_makes_a_new_pool_and_old_frames_stay() {
    let mut decoder = Decoder::builder().slots(2).build();
    let mut kept = Vec::new();
    for (n, size) in (1..).zip([SIZE, Size::new(320, 240), SIZE, Size::new(33, 1)]) {
        for (fourcc, sampling) in FORMATS {
            let bytes = jpeg(size, sampling, n);
            assert_eq!(Header::parse(&bytes).unwrap().fourcc, fourcc);
            let frame = decoder.decode(&unit(bytes.clone()), PATIENCE).unwrap();
            kept.push((frame, decode(&bytes).unwrap()));
        }
    }
    for (frame, expected) in &kept {
        assert_eq!(tight(frame), *expected);
    }
}

#[test]
fn a_pool_whose_slots_are_all_held_says_so_and_goes_on() {
    let mut decoder = Decoder::builder().slots(1).build();
    let unit = unit(jpeg(SIZE, None, 1));
    let held = decoder.decode(&unit, PATIENCE).unwrap();
    let error = decoder.decode(&unit, std::time::Duration::ZERO).unwrap_err();
    assert!(
        matches!(&error, Error::Pool(pool) if pool.is_starved()),
        "{error}"
    );
    drop(held);
    assert!(decoder.decode(&unit, std::time::Duration::ZERO).is_ok());
}

/// Once somebody has the descriptor, rows cannot be borrowed any more; the picture is the same.
#[test]
fn memory_that_was_lent_gets_the_same_picture() {
    if let Err(reason) = dmaframe_testkit::find(dmaframe_testkit::Device::Udmabuf) {
        return dmaframe_testkit::skip(&reason);
    }
    let mut decoder = Decoder::builder().slots(1).allocator(Chain::dmabuf()).build();
    let unit = unit(jpeg(SIZE, Some(SamplingFactor::R_4_2_2), 9));
    let first = decoder.decode(&unit, PATIENCE).unwrap();
    let expected = tight(&first);
    first.as_dmabuf().expect("a dma-buf").lend(0).unwrap();
    drop(first);
    let second = decoder.decode(&unit, PATIENCE).unwrap();
    assert!(!second.map_read(PATIENCE).unwrap().has_slices());
    assert_eq!(tight(&second), expected);
    assert!(decoder.hop().counts().reason.unwrap().contains("lent"));
    let mut own = second;
    decoder
        .decode_into(
            &unit.map_read(PATIENCE).unwrap().to_vec().unwrap(),
            &mut own,
            PATIENCE,
        )
        .unwrap();
    assert_eq!(tight(&own), expected);
    let other = jpeg(SIZE, Some(SamplingFactor::R_4_2_0), 9);
    let error = decoder.decode_into(&other, &mut own, PATIENCE).unwrap_err();
    assert!(
        matches!(&error, Error::Frame { reason } if reason.contains("YU12")),
        "{error}"
    );
    assert_eq!(own.fourcc(), Fourcc::YUV422);
}
