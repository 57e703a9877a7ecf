use super::*;

fn jpeg(segments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0xff, SOI];
    for segment in segments {
        bytes.extend(*segment);
    }
    bytes
}

fn sof(factors: [u8; 3]) -> Vec<u8> {
    let [y, b, r] = factors;
    let mut bytes = vec![0xff, 0xc0, 0, 17, 8, 0, 61, 0, 101, 3];
    bytes.extend([1, y, 0, 2, b, 1, 3, r, 1]);
    bytes
}

const SCAN: &[u8] = &[0xff, SOS, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0];

#[test]
fn sampling_factors_say_the_format_by_their_ratio() {
    for (factors, expected) in [
        ([0x22, 0x11, 0x11], Fourcc::YUV420),
        ([0x21, 0x11, 0x11], Fourcc::YUV422),
        // As some cameras write 4:2:2.
        ([0x22, 0x12, 0x12], Fourcc::YUV422),
        ([0x11, 0x11, 0x11], Fourcc::YUV444),
        ([0x22, 0x22, 0x22], Fourcc::YUV444),
    ] {
        let header = Header::parse(&jpeg(&[&sof(factors), SCAN])).unwrap();
        assert_eq!((header.fourcc, header.size), (expected, Size::new(101, 61)));
    }
    for (factors, ratio) in [
        ([0x12, 0x11, 0x11], (1, 2)),
        ([0x41, 0x11, 0x11], (4, 1)),
        ([0x31, 0x21, 0x21], (0, 1)),
    ] {
        let error = Header::parse(&jpeg(&[&sof(factors), SCAN])).unwrap_err();
        assert!(
            matches!(error, Error::Subsampling { horizontal, vertical } if (horizontal, vertical) == ratio),
            "{error}"
        );
    }
    assert!(Header::parse(&jpeg(&[&sof([0x22, 0x11, 0x21]), SCAN])).is_err());
    assert!(Header::parse(&jpeg(&[&sof([0x20, 0x11, 0x11]), SCAN])).is_err());
}

#[test]
fn every_cut_through_the_headers_is_truncated_and_none_panics() {
    let bytes = jpeg(&[&[0xff, APP0, 0, 4, 1, 2], &sof([0x22, 0x11, 0x11]), SCAN]);
    assert!(Header::parse(&bytes).is_ok());
    for end in 2..bytes.len() {
        let error = Header::parse(&bytes[..end]).unwrap_err();
        assert!(
            matches!(error, Error::Truncated { bytes } if bytes == end),
            "{end}: {error}"
        );
    }
    assert!(matches!(Header::parse(&[]), Err(Error::Header { at: 0, .. })));
}

#[test]
fn the_clean_copy_has_what_decoding_needs_and_ends_with_the_picture() {
    let tables: &[u8] = &[0xff, DHT, 0, 3, 0];
    let mut frame = sof([0x21, 0x11, 0x11]);
    // Small enough for these few bytes.
    frame[5..9].copy_from_slice(&[0, 8, 0, 8]);
    let clean = |segments: &[&[u8]]| {
        let bytes = jpeg(segments);
        let mut clean = vec![1, 2, 3];
        Header::parse(&bytes).unwrap().clean(&bytes, &mut clean).unwrap();
        clean
    };
    let ones = [0xff, 0].repeat(8);
    let expected = jpeg(&[tables, &frame, SCAN, b"data", &ones, &[0xff, EOI]]);
    let app: &[u8] = b"\xff\xe1\0\x06\xff\xd9\xff\xda";
    let end = &[0xff, EOI];
    assert_eq!(clean(&[tables, &frame, SCAN, b"data", end]), expected);
    assert_eq!(clean(&[tables, &frame, SCAN, b"data"]), expected, "no end");
    assert_eq!(
        clean(&[tables, b"stray", app, &frame, SCAN, b"data", end, b"more", end]),
        expected
    );
    let bare = clean(&[&frame, SCAN, b"data", end]);
    assert!(bare.starts_with(b"\xff\xd8\xff\xe0\0\x07AVI1\0\xff\xc0"));
    // What looks like an end inside of a later table is none.
    let later: &[u8] = &[0xff, DHT, 0, 4, 0xff, EOI];
    let two = clean(&[tables, &frame, SCAN, b"one", later, SCAN, b"two", end]);
    assert!(two.ends_with(&[b"two", &ones[..], end].concat()));
}

#[test]
fn what_is_not_yuv_in_8_bits_is_refused_by_name() {
    let refused = |segments: &[&[u8]]| Header::parse(&jpeg(segments)).unwrap_err().to_string();
    let mut deep = sof([0x11, 0x11, 0x11]);
    deep[4] = 12;
    assert!(refused(&[&deep, SCAN]).contains("8 bits"));
    let adobe: &[u8] = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0";
    assert!(refused(&[adobe, &sof([0x11, 0x11, 0x11]), SCAN]).contains("RGB"));
    assert!(refused(&[&[0xff, 0xc3, 0, 2], SCAN]).contains("lossless"));
    assert!(refused(&[SCAN]).contains("before any frame header"));
    assert!(refused(&[&[0xff, EOI]]).contains("EOI"));
}
