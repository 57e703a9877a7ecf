//! JPEGs to decode.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::time::Duration;

use dmaframe_core::{Bitstream, Codec, Fourcc, Frame, FrameMeta, Size};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// Far more than a picture takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Every format a JPEG can be, and the encoder's name for it.
pub(crate) const FORMATS: [(Fourcc, Option<SamplingFactor>); 4] = [
    (Fourcc::YUV420, Some(SamplingFactor::R_4_2_0)),
    (Fourcc::YUV422, Some(SamplingFactor::R_4_2_2)),
    (Fourcc::YUV444, Some(SamplingFactor::R_4_4_4)),
    (Fourcc::R8, None),
];

/// A picture with smooth parts, edges, noise and strong colours, different for each `n`.
pub(crate) fn pixels(size: Size, channels: usize, n: u32) -> Vec<u8> {
    let mut noise = n | 1;
    let mut bytes = Vec::new();
    for y in 0..size.height {
        for x in 0..size.width {
            for channel in 0..channels as u32 {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let smooth = (x * (channel + 1) + y * 2 + n * 5) / 3;
                let edge = if (x / 11 + y / 7 + channel) % 2 == 0 {
                    90
                } else {
                    0
                };
                bytes.push((smooth + edge + (noise >> 28)) as u8);
            }
        }
    }
    bytes
}

/// A JPEG; `setup` may change the encoder.
pub(crate) fn jpeg_with(
    size: Size,
    sampling: Option<SamplingFactor>,
    n: u32,
    setup: impl FnOnce(&mut Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 88);
    let (width, height) = (size.width as u16, size.height as u16);
    let (channels, color) = match sampling {
        Some(sampling) => {
            encoder.set_sampling_factor(sampling);
            (3, ColorType::Ycbcr)
        }
        None => (1, ColorType::Luma),
    };
    setup(&mut encoder);
    encoder
        .encode(&pixels(size, channels, n), width, height, color)
        .unwrap();
    bytes
}

pub(crate) fn jpeg(size: Size, sampling: Option<SamplingFactor>, n: u32) -> Vec<u8> {
    jpeg_with(size, sampling, n, |_| {})
}

pub(crate) fn unit(bytes: Vec<u8>) -> Bitstream {
    Bitstream::from_bytes(bytes, Codec::MJPEG, true, FrameMeta::default()).unwrap()
}

/// The pixels without padding.
pub(crate) fn tight(frame: &Frame) -> Vec<u8> {
    frame.map_read(PATIENCE).unwrap().to_tight().unwrap()
}
