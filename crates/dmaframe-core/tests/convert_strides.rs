//! Padding between the destination's rows changes nothing in them.
#![cfg(feature = "convert")]

use dmaframe_core::convert::{Assume, Converter};
use dmaframe_core::format::all_formats;
use dmaframe_core::{ColorInfo, Deadline, Fourcc, Frame, FrameMeta, Layout, Size};

fn source(fourcc: Fourcc, size: Size) -> Frame {
    let layout = Layout::linear(fourcc, size, 16).unwrap();
    let mut state = 0x9e37_79b9_u32;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        // Within the limited range, where every path of the backend says the same.
        64 + ((state >> 11) as u8) % 128
    };
    let bytes: Vec<u8> = (0..layout.object_len(0)).map(|_| byte()).collect();
    Frame::from_bytes(bytes, &layout, FrameMeta::default()).unwrap()
}

fn target(fourcc: Fourcc, size: Size, align: u32) -> Frame {
    let layout = Layout::linear(fourcc, size, align).unwrap();
    let bytes = vec![0u8; layout.object_len(0) as usize];
    Frame::from_bytes(bytes, &layout, FrameMeta::default()).unwrap()
}

#[test]
fn padded_destination_rows_hold_the_same_pixels_as_tight_ones() {
    for info in all_formats().iter().filter(|info| Converter::reads(info.fourcc)) {
        for width in [1, 31, 33, 64, 82, 97, 160] {
            let size = Size::new(width, 18);
            let frame = source(info.fourcc, size);
            let mut converter = Converter::new(Assume::As(ColorInfo::BT709));
            let (tight, _) = converter.rgba_image(&frame, Deadline::NEVER).unwrap();
            let row = width as usize * 4;
            for extra in [4, 52, 128, 196, 512] {
                let mut padded = vec![0x5a; (row + extra) * 18];
                converter
                    .to_rgba(&frame, Deadline::NEVER, &mut padded, row + extra)
                    .unwrap();
                let same = padded
                    .chunks(row + extra)
                    .zip(tight.chunks(row))
                    .all(|(a, b)| a[..row] == *b);
                assert!(
                    same,
                    "{} {size} to RGBA with {extra} bytes between rows",
                    info.name
                );
            }
            for to in [Fourcc::ABGR8888, Fourcc::NV12, Fourcc::YUV420] {
                let mut pictures = [1, 64, 256, 1024].map(|align| {
                    let mut out = target(to, size, align);
                    let done = converter.to_frame(&frame, &mut out, Deadline::NEVER);
                    done.ok()
                        .map(|_| out.map_read(Deadline::NEVER).unwrap().to_tight().unwrap())
                });
                let first = pictures[0].take();
                assert!(first.is_some(), "{} to {to} is possible at all", info.name);
                for (picture, align) in pictures[1..].iter().zip([64, 256, 1024]) {
                    assert!(
                        *picture == first,
                        "{} {size} to {to} with rows at multiples of {align}",
                        info.name
                    );
                }
            }
        }
    }
}
