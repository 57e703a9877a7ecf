//! Producers that a test has in its hand: whose fence it signals, and whose slot it sees coming home.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dmaframe_core::{Fence, Fourcc, Frame, FrameMeta, FrameParts, Plane, ReturnQueue, Size, SyncFile};

use crate::frames::{TIGHT, frame_in, udmabuf_frame};
use crate::{SwSync, udmabuf};

/// A fence that is pending until the timeline is advanced by one.
///
/// # Panics
/// When the kernel refuses.
pub fn pending(timeline: &SwSync) -> Fence {
    SyncFile::new(timeline.fence(1).unwrap()).unwrap().into()
}

/// A frame of bytes (`R8`) over a udmabuf as it comes from another process, and the same memory as its camera has it, to
/// be written through.
///
/// # Panics
/// When the kernel refuses.
pub fn shared_frame(device: &Path, size: Size, acquire: Fence) -> (Frame, Frame) {
    let len = u64::from(size.width) * u64::from(size.height);
    let fd = udmabuf(device, len).unwrap();
    let other = fd.try_clone().unwrap();
    let plane = Plane {
        object: 0,
        offset: 0,
        stride: size.width,
    };
    let empty = vec![0; usize::try_from(len).unwrap()];
    let camera = frame_in(vec![other], Fourcc::R8, size, &[plane], &empty).unwrap();
    let mut parts = FrameParts::new(Fourcc::R8, size);
    parts.objects.push(fd);
    parts.planes.push(plane);
    parts.acquire = acquire;
    (Frame::try_from(parts).unwrap(), camera)
}

/// A producer of one slot, and its frame of bytes (`R8`) with a picture of this seed, to be read after `acquire`; without a
/// udmabuf device a skipped test and `None`.
///
/// # Panics
/// When the kernel refuses.
#[must_use]
pub fn leased_after(acquire: Fence, size: Size, seed: u8) -> Option<(Arc<ReturnQueue>, Frame)> {
    let (frame, _) = udmabuf_frame(Fourcc::R8, size, TIGHT, seed)?;
    let queue = ReturnQueue::new(1).unwrap();
    let buffer = Arc::clone(frame.buffer());
    drop(frame);
    let frame = queue.frame(0, &buffer, FrameMeta::default(), acquire);
    Some((queue, frame.unwrap()))
}

/// The same, to be read at once.
#[must_use]
pub fn leased(size: Size, seed: u8) -> Option<(Arc<ReturnQueue>, Frame)> {
    leased_after(Fence::Signaled, size, seed)
}

/// Does it after a while, on a thread of its own.
pub fn later<T: Send + 'static>(after: Duration, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(move || {
        std::thread::sleep(after);
        work()
    })
}

/// Advances the timeline after a while. Its end waits for nobody: whoever joins gets the timeline back.
///
/// # Panics
/// The thread, when the kernel refuses.
pub fn advance_later(timeline: SwSync, after: Duration) -> JoinHandle<SwSync> {
    later(after, move || {
        timeline.advance(1).unwrap();
        timeline
    })
}
