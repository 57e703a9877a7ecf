//! What tests ask of any stream of pictures: how it ends, who has its buffers, and what it counts.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_core::capture::Stats;
use dmaframe_core::report::Hop;
use dmaframe_core::{Buffer, Error as FrameError, Fence, Frame, FrameMeta, Lease};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The error that comes of it, however many pictures were still on their way.
///
/// # Panics
/// When none has come for as long as `patience`.
pub fn error_of<T, E>(patience: Duration, mut next: impl FnMut() -> Result<T, E>) -> E {
    let start = Instant::now();
    loop {
        match next() {
            Ok(_) => assert!(start.elapsed() < patience, "the stream goes on without an error"),
            Err(error) => return error,
        }
    }
}

/// Whether there is something to do for whoever watches the descriptor, within `patience`.
///
/// # Panics
/// When the kernel refuses.
pub fn readable(stream: impl AsFd, patience: Duration) -> bool {
    let timeout = Timespec::try_from(patience).unwrap();
    let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).unwrap() == 1
}

/// A handle of each of the stream's `count` buffers, as somebody keeps them who should not.
pub fn every_buffer(count: usize, mut frame: impl FnMut() -> Frame) -> Vec<Arc<Buffer>> {
    let mut kept: Vec<Arc<Buffer>> = Vec::new();
    while kept.len() < count {
        let frame = frame();
        if kept.iter().all(|buffer| buffer.id() != frame.buffer_id()) {
            kept.push(Arc::clone(frame.buffer()));
        }
    }
    kept
}

/// A frame of a buffer that somebody has kept a handle of.
///
/// # Errors
/// [`FrameError::InUse`] where a device or a frame has it.
pub fn frame_of(buffer: &Arc<Buffer>) -> Result<Frame, FrameError> {
    let (meta, acquire, lease) = (FrameMeta::default(), Fence::signaled(), Lease::none());
    Frame::new(Arc::clone(buffer), meta, acquire, lease)
}

/// Whether nobody can make a frame of the buffer now.
///
/// # Panics
/// When it is refused for another reason.
pub fn is_in_use(buffer: &Arc<Buffer>) -> bool {
    match frame_of(buffer) {
        Ok(_) => false,
        Err(FrameError::InUse { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

/// How many of the frames are their producer's own memory; the others are copies.
#[must_use]
pub fn shared(frames: &[Frame]) -> usize {
    frames.iter().filter(|frame| frame.as_dmabuf().is_some()).count()
}

/// The first frames that a consumer held are the stream's memory, `count` of them, all others copies of the same kind,
/// and the stream has counted them so and said why.
///
/// # Panics
/// When it is not so.
#[track_caller]
pub fn only_the_first_are_shared(held: &[Frame], count: usize, stats: Stats, hop: &Hop) {
    assert_eq!(shared(&held[..count]), count, "shared while there were buffers");
    assert_eq!(shared(held), count, "all but those the device keeps");
    let copies = (held.len() - count) as u64;
    assert_eq!((stats.delivered, stats.detached), (count as u64, copies));
    let (first, last) = (&held[0], &held[held.len() - 1]);
    assert_eq!(first.layout().tight_len(), last.layout().tight_len());
    assert_eq!(first.meta().color, last.meta().color);
    let counts = hop.counts();
    assert_eq!(counts.cpu_bytes, copies * first.layout().tight_len());
    assert!(
        counts
            .reason
            .is_some_and(|reason| reason.contains("consumers hold"))
    );
}
