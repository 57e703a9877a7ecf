//! Slices only of memory that nobody writes: whatever safe code does with fences, buffers and descriptors.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::{
    Buffer, Error, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Modifier, Object, Plane, ReturnQueue,
    Size, SyncFile,
};
use dmaframe_testkit::{Device, SwSync, memfd, need};

const SIZE: Size = Size::new(64, 32);

fn bytes_buffer() -> Arc<Buffer> {
    let layout = Layout::tight(Fourcc::NV12, SIZE).unwrap();
    let bytes = vec![7; layout.tight_len() as usize];
    Arc::new(Buffer::from_bytes(bytes.into(), &layout).unwrap())
}

fn frame(buffer: &Arc<Buffer>, acquire: Fence) -> Frame {
    Frame::new(Arc::clone(buffer), FrameMeta::default(), acquire, Lease::none()).unwrap()
}

fn pending(timeline: &SwSync, at: u32) -> Fence {
    SyncFile::new(timeline.fence(at).unwrap()).unwrap().into()
}

fn assert_pending(frame: &Frame) {
    let what = "acquire fence";
    assert_eq!(
        frame.map_read(Duration::ZERO).unwrap_err(),
        Error::Timeout { what }
    );
}

fn assert_quiet(frame: &Frame) {
    assert_eq!(
        frame.map_read(Duration::ZERO).unwrap().row(0, 0).unwrap(),
        [7; 64]
    );
}

#[test]
fn an_acquire_fence_is_added_to_and_never_replaced() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let queue = ReturnQueue::new(1).unwrap();
    let mut frame = queue
        .frame(0, &bytes_buffer(), FrameMeta::default(), pending(&timeline, 1))
        .unwrap();
    frame.acquire_after(Fence::Signaled).unwrap();
    assert_pending(&frame);
    frame.acquire_after(pending(&timeline, 2)).unwrap();
    timeline.advance(1).unwrap();
    assert_pending(&frame);

    let clone = frame.clone();
    let refused = frame.acquire_after(pending(&timeline, 3)).unwrap_err();
    assert!(matches!(refused.value, Fence::SyncFile(_)), "the fence came back");
    assert!(matches!(refused.error, Error::Shared { .. }));
    drop((frame, clone));
    let returned = queue.next().unwrap();
    assert!(!returned.fence.is_done().unwrap(), "nor does the slot come early");
    timeline.advance(1).unwrap();
    assert!(returned.fence.is_done().unwrap());
}

#[test]
fn what_is_pending_when_a_frame_ends_is_waited_for_by_the_next_one_in_its_buffer() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let buffer = bytes_buffer();
    drop(frame(&buffer, pending(&timeline, 1)));
    let next = frame(&buffer, Fence::Signaled);
    assert_pending(&next);
    // It goes from frame to frame as long as it is pending, and consumers' fences do too.
    next.release_after(pending(&timeline, 2));
    drop(next);
    timeline.advance(1).unwrap();
    assert_pending(&frame(&buffer, Fence::Signaled));
    timeline.advance(1).unwrap();
    let next = frame(&buffer, Fence::Signaled);
    assert!(next.acquire().is_trivial(), "nothing is left to be waited for");
    assert_quiet(&next);
}

#[test]
fn a_device_in_between_changes_nothing_about_what_is_pending() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let (buffer, queue) = (bytes_buffer(), ReturnQueue::new(1).unwrap());
    drop(frame(&buffer, pending(&timeline, 1)));
    drop(buffer.claim_for_device().unwrap());
    let claim = buffer.claim_for_device().unwrap();
    let next = queue.frame_from_device(0, claim, FrameMeta::default(), Fence::Signaled);
    assert_pending(&next.unwrap());
    timeline.advance(1).unwrap();
    assert_quiet(&frame(&buffer, Fence::Signaled));
}

#[test]
fn a_failure_of_the_last_frame_is_not_the_next_ones() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let buffer = bytes_buffer();
    drop(frame(&buffer, pending(&timeline, 1)));
    drop(timeline);
    assert_quiet(&frame(&buffer, Fence::Signaled));
}

#[test]
fn a_turned_frame_leaves_its_fences_with_the_original() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let buffer = bytes_buffer();
    let turned = frame(&buffer, Fence::Signaled).with_meta(FrameMeta::default());
    let turned = turned.unwrap();
    turned.release_after(pending(&timeline, 1));
    drop(turned);
    assert_pending(&frame(&buffer, Fence::Signaled));
}

/// In a process of its own, with few descriptors.
#[test]
fn a_buffer_whose_last_fence_could_not_be_kept_gives_no_slices_any_more() {
    let sw_sync = need!(Device::SwSync);
    if std::env::var_os("DMAFRAME_FEW_DESCRIPTORS").is_none() {
        let child = std::process::Command::new("sh")
            .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .arg("--exact")
            .arg("a_buffer_whose_last_fence_could_not_be_kept_gives_no_slices_any_more")
            .env("DMAFRAME_FEW_DESCRIPTORS", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let timeline = SwSync::open(&sw_sync).unwrap();
    let buffer = bytes_buffer();
    let frame_before = frame(&buffer, pending(&timeline, 1));
    let mut full = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        full.push(file);
    }
    drop(frame_before);
    drop(full);
    let next = frame(&buffer, Fence::Signaled);
    let view = next.map_read(Duration::ZERO).unwrap();
    assert!(!view.has_slices());
    assert_eq!(view.to_tight().unwrap(), [7; 64 * 48]);
}

/// A private buffer whose two planes are said to lie in these two objects.
fn private(first: OwnedFd, second: OwnedFd) -> Frame {
    let object = |(index, fd)| Arc::new(Object::new(fd, index).unwrap());
    let objects = [(0, first), (1, second)].map(object);
    let plane = |object, offset| Plane {
        object,
        offset,
        stride: 64,
    };
    let planes = [plane(0, 0), plane(1, 64 * 32)];
    // SAFETY: nobody else has the descriptors.
    let buffer = unsafe {
        dmaframe_core::raw::private_buffer(Fourcc::NV12, Modifier::LINEAR, SIZE, objects, &planes, 0)
    };
    frame(&Arc::new(buffer.unwrap()), Fence::Signaled)
}

fn lend(frame: &Frame, index: usize) -> Result<(), Error> {
    frame.buffer().objects()[index].lend(index).map(drop)
}

#[test]
fn lending_either_of_two_objects_of_one_kernel_object_lends_both() {
    let memory: OwnedFd = memfd(64 * 48, true).unwrap().into();
    let frame = private(memory.try_clone().unwrap(), memory);
    let view = frame.map_read(Duration::ZERO).unwrap();
    assert!(view.row(0, 0).is_ok());
    for index in [0, 1] {
        let views = 1;
        assert_eq!(lend(&frame, index), Err(Error::Borrowed { object: index, views }));
    }
    drop(view);
    lend(&frame, 1).unwrap();
    let view = frame.map_read(Duration::ZERO).unwrap();
    assert_eq!(view.row(0, 0), Err(Error::Foreign { object: 0 }));
    assert_eq!(view.row(1, 0), Err(Error::Foreign { object: 1 }));
}

#[test]
fn of_two_objects_of_one_kernel_object_the_writable_one_is_kept() {
    let memory: OwnedFd = memfd(64 * 48, true).unwrap().into();
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let mut frame = private(std::fs::File::open(path).unwrap().into(), memory);
    assert!(frame.buffer().objects().iter().all(|object| object.is_writable()));
    let mut view = frame.map_write(Duration::ZERO).unwrap();
    view.planes_mut().unwrap()[1].fill(9);
    drop(view);
    assert_eq!(
        frame.map_read(Duration::ZERO).unwrap().row(1, 0).unwrap(),
        [9; 64]
    );
}
