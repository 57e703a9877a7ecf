//! Shared memory whose owner can truncate it is read through the kernel and never mapped: an owner who takes it away is an
//! error of one frame, not a SIGBUS of the process.

mod common;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use dmaframe_core::{Fourcc, Size};
use dmaframe_gstreamer::{Error, Importer};

const SIZE: Size = Size::new(64, 48);
/// Of a row, and of the whole: GStreamer's own layout of R8.
const ROW: usize = 64;
const WHOLE: usize = ROW * 48;

/// A memfd of some bytes, and a second descriptor of it: its owner's.
fn memfd(bytes: &[u8]) -> (OwnedFd, File) {
    let file = dmaframe_testkit::memfd(bytes.len() as u64, false).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    (file.try_clone().unwrap().into(), file)
}

/// A buffer of parts of memories, as `pipewiresrc` makes them.
fn sample(memories: Vec<(OwnedFd, usize, std::ops::Range<usize>)>) -> gst::Sample {
    let mut buffer = gst::Buffer::new();
    for (fd, len, window) in memories {
        let mut memory = common::sys::fd_memory(fd, len);
        memory.get_mut().unwrap().resize(window);
        buffer.get_mut().unwrap().append_memory(memory);
    }
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "GRAY8")
        .field("width", SIZE.width as i32)
        .field("height", SIZE.height as i32)
        .field("framerate", gst::Fraction::new(30, 1))
        .build();
    gst::Sample::builder().buffer(&buffer).caps(&caps).build()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn a_memfd_that_its_owner_truncates_is_an_error_and_no_sigbus() {
    common::init();
    let (fd, owners) = memfd(&bytes(WHOLE));
    let sample = sample(vec![(fd, WHOLE, 0..WHOLE)]);
    let mut importer = Importer::new();
    let frame = importer.frame(&sample).unwrap();
    assert_eq!(frame.fourcc(), Fourcc::R8);
    assert!(common::tight(&frame) == bytes(WHOLE));
    for len in [WHOLE as u64 / 2, 0] {
        owners.set_len(len).unwrap();
        let error = importer.frame(&sample).unwrap_err();
        assert!(matches!(error, Error::Memory { index: 0, .. }), "{error}");
    }
}

#[test]
fn a_memfd_that_could_be_truncated_is_copied_from_its_window() {
    common::init();
    let all = bytes(WHOLE + 300);
    let (fd, _owners) = memfd(&all);
    let mut importer = Importer::new();
    let sample = sample(vec![(fd, WHOLE + 300, 200..200 + WHOLE)]);
    let frame = importer.frame(&sample).unwrap();
    assert!(frame.buffer().objects().is_empty(), "a copy");
    assert!(common::tight(&frame) == all[200..200 + WHOLE]);
    let counts = importer.hop().counts();
    assert_eq!(counts.cpu_bytes, WHOLE as u64, "{counts}");
    assert!(counts.reason.unwrap().contains("truncate"), "{counts}");
}
