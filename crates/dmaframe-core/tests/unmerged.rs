//! Fences that the kernel cannot merge: nothing blocks, nothing is forgotten.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_core::{
    Buffer, Errno, Error, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Size, SyncFile, Timeline,
    TimelineDevice, Waited,
};
use dmaframe_testkit::{Device, SwSync, Vgem, need};

const SOON: Duration = Duration::from_secs(5);

fn timeline(render: &std::path::Path) -> Timeline {
    let vgem = Vgem::open(render).unwrap();
    TimelineDevice::new(vgem.into_fd()).unwrap().create().unwrap()
}

fn pending(timeline: &SwSync, at: u32) -> Fence {
    SyncFile::new(timeline.fence(at).unwrap()).unwrap().into()
}

fn parts(fence: &Fence) -> usize {
    match fence {
        Fence::All(all) => all.iter().count(),
        _ => 1,
    }
}

#[test]
fn points_of_one_timeline_merge_into_the_higher_one() {
    let timeline = timeline(&need!(Device::VgemRender));
    for (a, b) in [(3, 5), (5, 3)] {
        let merged = Fence::from(timeline.point(a)).merge(timeline.point(b).into());
        assert!(matches!(&merged, Fence::Point(point) if point.point() == 5));
    }
    let clone = timeline.clone();
    let merged = Fence::from(timeline.point(1)).merge(clone.point(2).into());
    timeline.signal(1).unwrap();
    assert!(!merged.is_done().unwrap());
    timeline.signal(2).unwrap();
    assert!(merged.is_done().unwrap());
}

#[test]
fn a_point_nobody_submitted_work_for_merges_at_once_and_is_waited_for() {
    let sw_sync = SwSync::open(&need!(Device::SwSync)).unwrap();
    let (one, other) = (
        timeline(&need!(Device::VgemRender)),
        timeline(&need!(Device::VgemRender)),
    );
    let start = Instant::now();
    let merged = Fence::from(one.point(1))
        .merge(pending(&sw_sync, 1))
        .merge(other.point(1).into())
        .merge(pending(&sw_sync, 2))
        .merge(one.point(2).into());
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "nobody waits for what may never come"
    );
    assert_eq!(parts(&merged), 3, "one for each timeline: {merged:?}");
    let copy = merged.try_clone().unwrap();
    let rejected = copy.into_sync_file().unwrap_err();
    assert!(matches!(
        rejected.error,
        Error::Os {
            errno: Errno::INVAL,
            ..
        }
    ));
    assert_eq!(parts(&rejected.value), 3, "the fence came back");

    sw_sync.advance(2).unwrap();
    one.signal(2).unwrap();
    assert_eq!(merged.wait(Duration::from_millis(20)).unwrap(), Waited::TimedOut);
    // What is done goes at the next merge.
    let merged = merged.merge(pending(&sw_sync, 3));
    assert_eq!(parts(&merged), 2);
    other.signal(1).unwrap();
    sw_sync.advance(1).unwrap();
    assert_eq!(merged.wait(SOON).unwrap(), Waited::Signaled);
}

#[test]
fn once_its_work_is_submitted_a_list_becomes_one_sync_file() {
    let sw_sync = SwSync::open(&need!(Device::SwSync)).unwrap();
    let timeline = timeline(&need!(Device::VgemRender));
    let merged = Fence::from(timeline.point(1)).merge(pending(&sw_sync, 1));
    let merged = merged.into_pollable();
    assert_eq!(parts(&merged), 2, "not yet");
    timeline
        .attach(1, &SyncFile::new(sw_sync.fence(2).unwrap()).unwrap())
        .unwrap();
    let merged = merged.into_pollable();
    assert!(matches!(merged, Fence::SyncFile(_)), "{merged:?}");
    sw_sync.advance(1).unwrap();
    assert!(!merged.is_done().unwrap());
    sw_sync.advance(1).unwrap();
    assert!(merged.is_done().unwrap());
}

#[test]
fn an_error_is_told_when_the_others_are_done() {
    let (failing, alive) = (
        SwSync::open(&need!(Device::SwSync)).unwrap(),
        SwSync::open(&need!(Device::SwSync)).unwrap(),
    );
    let bad = pending(&failing, 1);
    drop(failing);
    let merged = bad.merge(pending(&alive, 1)).merge(pending(&alive, 2));
    assert_eq!(merged.wait(Duration::ZERO).unwrap(), Waited::TimedOut);
    alive.advance(2).unwrap();
    assert_eq!(merged.wait(SOON).unwrap(), Waited::Failed(Errno::NOENT));
}

#[test]
fn dropping_a_frame_with_a_point_nobody_submits_never_waits() {
    let sw_sync = SwSync::open(&need!(Device::SwSync)).unwrap();
    let timeline = timeline(&need!(Device::VgemRender));
    let layout = Layout::tight(Fourcc::NV12, Size::new(64, 32)).unwrap();
    let bytes = vec![0; layout.tight_len() as usize];
    let buffer = Arc::new(Buffer::from_bytes(bytes.into(), &layout).unwrap());
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let lease = Lease::on_release(move |fence| sender.send(fence).unwrap());
    let frame = Frame::new(buffer, FrameMeta::default(), pending(&sw_sync, 1), lease).unwrap();
    let point = timeline.point(7);
    // On a thread, so that a drop that waits for ever is a failed test and not a frozen one.
    std::thread::spawn(move || {
        frame.release_after(point.into());
        drop(frame);
    });
    let fence = receiver.recv_timeout(SOON).expect("the frame went home");
    sw_sync.advance(1).unwrap();
    assert!(!fence.is_done().unwrap());
    timeline.signal(7).unwrap();
    assert_eq!(fence.wait(SOON).unwrap(), Waited::Signaled);
}

#[test]
fn what_refuses_says_it_once() {
    let timeline = timeline(&need!(Device::VgemRender));
    let rejected = Fence::from(timeline.point(1)).into_sync_file().unwrap_err();
    let said = rejected.to_string();
    assert_eq!(said, rejected.error.to_string());
    let source = std::error::Error::source(&*rejected).map(ToString::to_string);
    assert_ne!(
        source,
        Some(said),
        "a report that prints sources would say it twice"
    );
}
