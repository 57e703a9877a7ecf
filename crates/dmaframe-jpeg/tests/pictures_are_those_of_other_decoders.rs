//! Every sample of every format is within one code value of what FFmpeg's decoder makes of the same JPEG; and progressive
//! JPEGs, restart markers and optimised tables change nothing.

mod common;

use std::process::Command;

use common::{FORMATS, PATIENCE, jpeg, jpeg_with, tight};
use dmaframe_core::{Fourcc, FrameMeta, Layout, Size};
use dmaframe_jpeg::Decoder;
use dmaframe_testkit::{Device, need};

/// GStreamer's strides: rows are multiples of four bytes, and 4:2:0 has an even number of them.
fn without_padding(bytes: &[u8], fourcc: Fourcc, size: Size) -> Vec<u8> {
    let layout = Layout::tight(fourcc, size).unwrap();
    let four = |value: u32| value.next_multiple_of(4) as usize;
    let height = match fourcc {
        Fourcc::YUV420 => size.height.next_multiple_of(2),
        _ => size.height,
    };
    let mut at = 0;
    let mut tight = Vec::new();
    for plane in 0..layout.planes().len() {
        let (stride, rows) = match (fourcc, plane) {
            (_, 0) | (Fourcc::YUV444, _) => (four(size.width), height),
            (Fourcc::YUV420, _) => (four(size.width.div_ceil(2)), height / 2),
            _ => (size.width.next_multiple_of(8) as usize / 2, height),
        };
        for row in 0..layout.rows(plane) as usize {
            let start = at + row * stride;
            tight.extend(&bytes[start..start + layout.row_bytes(plane)]);
        }
        at += stride * rows as usize;
    }
    assert_eq!(at, bytes.len(), "{fourcc} {size}: the reference's own layout");
    tight
}

#[test]
fn each_sample_is_within_one_of_ffmpegs() {
    let _ = need!(Device::Program("gst-launch-1.0"));
    let dir = std::env::temp_dir();
    let sizes = [Size::new(64, 48), Size::new(65, 33), Size::new(321, 241)];
    let all: Vec<_> = FORMATS
        .into_iter()
        .flat_map(|(fourcc, sampling)| sizes.map(|size| (fourcc, size, jpeg(size, sampling, 3))))
        .collect();
    let file = |n: usize, end: &str| dir.join(format!("{n}.{end}")).display().to_string();
    // One process for all of them: starting it takes longest.
    let mut launch = Command::new("gst-launch-1.0");
    launch.arg("-q");
    for (n, (_, _, bytes)) in all.iter().enumerate() {
        std::fs::write(file(n, "jpg"), bytes).unwrap();
        let (from, to) = (file(n, "jpg"), file(n, "raw"));
        let chain = format!("filesrc location={from} ! jpegparse ! avdec_mjpeg ! filesink location={to}");
        launch.args(chain.split(' '));
    }
    assert!(launch.status().unwrap().success());
    let mut decoder = Decoder::default();
    let (mut worst, mut samples, mut differ) = (0, 0u64, 0u64);
    for (n, (fourcc, size, bytes)) in all.into_iter().enumerate() {
        let expected = without_padding(&std::fs::read(file(n, "raw")).unwrap(), fourcc, size);
        let frame = decoder
            .decode_bytes(&bytes, FrameMeta::default(), PATIENCE)
            .unwrap();
        assert_eq!((frame.fourcc(), frame.layout().size()), (fourcc, size));
        let found = tight(&frame);
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(&expected) {
            worst = worst.max(a.abs_diff(*b));
            differ += u64::from(a != b);
            samples += 1;
        }
        assert!(worst <= 1, "{fourcc} {size}: {worst}");
        assert!(found.iter().any(|value| *value != found[0]));
    }
    eprintln!("{differ} of {samples} samples differ, by {worst} at most");
}

#[test]
fn how_the_coefficients_are_written_changes_no_sample() {
    let mut decoder = Decoder::builder().slots(8).build();
    for (fourcc, sampling) in FORMATS {
        for size in [Size::new(1, 1), Size::new(17, 9), Size::new(101, 67)] {
            let mut decode = |bytes: &[u8]| {
                let frame = decoder
                    .decode_bytes(bytes, FrameMeta::default(), PATIENCE)
                    .unwrap();
                assert_eq!((frame.fourcc(), frame.layout().size()), (fourcc, size));
                tight(&frame)
            };
            let plain = decode(&jpeg(size, sampling, 7));
            assert_eq!(
                plain,
                decode(&jpeg_with(size, sampling, 7, |e| e.set_progressive(true)))
            );
            assert_eq!(
                plain,
                decode(&jpeg_with(size, sampling, 7, |e| e.set_restart_interval(2)))
            );
            assert_eq!(
                plain,
                decode(&jpeg_with(size, sampling, 7, |e| e.set_optimized_huffman_tables(true)))
            );
        }
    }
}

/// What went in comes out, but for what JPEG loses: planes are not swapped, mirrored or shifted.
#[test]
fn a_picture_without_chroma_detail_is_nearly_the_original() {
    let size = Size::new(160, 120);
    for (fourcc, sampling) in FORMATS {
        let Some(sampling) = sampling else { continue };
        let flat: Vec<u8> = (0..size.height)
            .flat_map(|y| (0..size.width).flat_map(move |x| [(x + y / 2) as u8, 200, 60]))
            .collect();
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 98);
        encoder.set_sampling_factor(sampling);
        encoder
            .encode(&flat, 160, 120, jpeg_encoder::ColorType::Ycbcr)
            .unwrap();
        let frame = Decoder::default()
            .decode_bytes(&bytes, FrameMeta::default(), PATIENCE)
            .unwrap();
        assert_eq!(frame.fourcc(), fourcc);
        let view = frame.map_read(PATIENCE).unwrap();
        for y in 0..size.height {
            for (x, value) in (0..).zip(view.row(0, y).unwrap()) {
                assert!(value.abs_diff((x + y / 2) as u8) <= 3, "luma {x},{y}");
            }
        }
        for (plane, expected) in [(1, 200u8), (2, 60)] {
            for row in view.rows(plane).unwrap() {
                assert!(row.iter().all(|value| value.abs_diff(expected) <= 2));
            }
        }
    }
}
