//! Any bytes as a JPEG: no panic, no memory beyond the limits; what decodes has the format and size that its headers said,
//! and every sample of it is written: the same picture into whatever was in the memory before.
#![no_main]

use std::cell::RefCell;
use std::time::Duration;

use dmaframe_alloc::Bytes;
use dmaframe_core::{Frame, FrameMeta, Layout, Size};
use dmaframe_jpeg::{Decoder, Error, Header, Limits};
use libfuzzer_sys::fuzz_target;

/// Small, so that a run is fast; what claims more has to be refused.
const LIMITS: Limits = Limits {
    size: Size::new(512, 512),
    pixels: 1 << 15,
    scans: 12,
};

thread_local! {
    static DECODER: RefCell<Decoder> =
        RefCell::new(Decoder::builder().slots(2).allocator(Bytes::new()).limits(LIMITS).build());
}

fuzz_target!(|bytes: &[u8]| {
    DECODER.with_borrow_mut(|decoder| run(decoder, bytes));
});

fn run(decoder: &mut Decoder, bytes: &[u8]) {
    let header = Header::parse(bytes);
    let decoded = decoder.decode_bytes(bytes, FrameMeta::default(), Duration::ZERO);
    let header = match header {
        Ok(header) => header,
        Err(_) => return assert!(decoded.is_err(), "decoded without a header"),
    };
    let pixels = u64::from(header.size.width) * u64::from(header.size.height);
    let large = header.size.width > LIMITS.size.width
        || header.size.height > LIMITS.size.height
        || pixels > LIMITS.pixels;
    assert_eq!(large, matches!(decoded, Err(Error::TooLarge { .. })));
    let Ok(frame) = decoded else { return };
    assert_eq!((frame.fourcc(), frame.layout().size()), (header.fourcc, header.size));
    let first = tight(&frame);
    drop(frame);

    let layout = Layout::linear(header.fourcc, header.size, 64).unwrap();
    let len = usize::try_from(layout.object_len(0)).unwrap();
    for fill in [0, 0xff] {
        let mut frame = Frame::from_bytes(vec![fill; len], &layout, FrameMeta::default()).unwrap();
        decoder.decode_into(bytes, &mut frame, Duration::ZERO).unwrap();
        assert_eq!(first, tight(&frame), "a sample was not written");
    }
}

fn tight(frame: &Frame) -> Vec<u8> {
    frame.map_read(Duration::ZERO).unwrap().to_tight().unwrap()
}
