//! vicodec's encoder and decoder, and streams of theirs.

use std::path::Path;

use dmaframe_core::{Bitstream, Layout, Size};
use dmaframe_v4l2::{Decoder, Device, Encoder, FormatRequest, PixelFormat};

use super::{PATIENCE, coded, picture, pool, through};

/// A whole number of vicodec's blocks of 16, so that it reads frames as they are.
pub(crate) const SIZE: Size = Size::new(640, 480);

pub(crate) const FWHT: PixelFormat = PixelFormat::new(b"FWHT");

pub(crate) fn encoder(path: &Path, format: PixelFormat, size: Size) -> Encoder {
    Encoder::builder(Device::open_m2m(path).unwrap())
        .input(FormatRequest::new(format, size))
        .output(FormatRequest::new(FWHT, size))
        .start()
        .unwrap()
}

/// Encodes to whatever it does by itself.
pub(crate) fn plain_encoder(path: &Path) -> Encoder {
    Encoder::builder(Device::open_m2m(path).unwrap())
        .input(FormatRequest::new(PixelFormat::NV12, SIZE))
        .start()
        .unwrap()
}

/// Takes units of pictures of this size and below.
pub(crate) fn decoder(path: &Path, largest: Size) -> Decoder {
    Decoder::builder(Device::open_m2m(path).unwrap())
        .input(FormatRequest::new(FWHT, largest))
        .start()
        .unwrap()
}

pub(crate) fn layout(format: PixelFormat, size: Size) -> Layout {
    Layout::tight(format.frame().unwrap().fourcc, size).unwrap()
}

/// Encodes `count` pictures that begin with number `from`.
pub(crate) fn encode(path: &Path, format: PixelFormat, size: Size, from: u64, count: u64) -> Vec<Bitstream> {
    let mut encoder = encoder(path, format, size);
    let pool = pool(&layout(format, size), 6);
    let pictures = (from..from + count).map(|n| picture(&pool, n, time(n)));
    let units = through(&mut encoder, pictures, coded);
    assert_eq!(encoder.input_hop().counts().zero_copy, count);
    assert_eq!(encoder.input_hop().counts().cpu_bytes, 0);
    units
}

pub(crate) fn time(n: u64) -> u64 {
    3_600_000_000_123 + n * 33_333_333
}

pub(crate) fn bytes(unit: &Bitstream) -> Vec<u8> {
    unit.map_read(PATIENCE).unwrap().to_vec().unwrap()
}
