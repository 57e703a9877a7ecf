//! Without a device: what becomes of what work uses, whatever the driver and wgpu say.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use dmaframe_core::{Buffer, Fourcc, FrameMeta, Layout, ReturnQueue, Size, SyncFile};
use dmaframe_testkit::{Device, SwSync, need};

/// Without a device: what is tested is what becomes of a fence that the driver gives, here a kernel's that is pending.
fn tracker() -> Tracker {
    Tracker::new(None, Box::new(|| Polled::Busy), Box::new(|_, _| Ok(false)))
}

/// A frame in a dma-buf, whose slot can be seen coming home.
fn leased_dmabuf(udmabuf: &std::path::Path) -> (Arc<Buffer>, Arc<ReturnQueue>, Frame) {
    let layout = Layout::tight(Fourcc::R8, Size::new(64, 64)).unwrap();
    let fd = dmaframe_testkit::udmabuf(udmabuf, 4096).unwrap();
    let buffer = Buffer::from_fd(fd, &layout, dmaframe_core::next_generation()).unwrap();
    let (buffer, slots) = (Arc::new(buffer), ReturnQueue::new(1).unwrap());
    let frame = slots
        .frame(0, &buffer, FrameMeta::default(), Fence::Signaled)
        .unwrap();
    (buffer, slots, frame)
}

#[test]
fn a_pending_release_fence_is_in_the_lease_and_on_the_dma_buf() {
    let (udmabuf, sw_sync) = (need!(Device::Udmabuf), need!(Device::SwSync));
    let (buffer, slots, frame) = leased_dmabuf(&udmabuf);
    let timeline = SwSync::open(&sw_sync).unwrap();
    let fence = SyncFile::new(timeline.fence(1).unwrap()).unwrap();
    let (tracker, done) = (tracker(), Arc::new(AtomicBool::new(false)));
    let holds = Holds {
        frames: vec![(frame, Access::Read)],
        ..Holds::default()
    };
    let export: Export = Box::new(move || Marked::Yes(Some(Ok(fence.into()))));
    let late = tracker.hold(Mark::Callback(Arc::clone(&done)), holds, Some(export));
    let soon = Deadline::after(Duration::from_secs(20));
    let found = late.unwrap().get(soon).unwrap().unwrap();
    assert!(!found.is_done().unwrap());
    // The frame is home before the work is done, and says so; a writer of the memory has to wait, a reader has not.
    let returned = slots.next().expect("the frame is home");
    assert!(!returned.fence.is_done().unwrap());
    let object = &buffer.objects()[0];
    assert!(!object.export_fence(Access::Write).unwrap().is_done().unwrap());
    assert!(object.export_fence(Access::Read).unwrap().is_done().unwrap());
    assert_eq!(tracker.outstanding(), 1);
    timeline.advance(1).unwrap();
    assert!(returned.fence.is_done().unwrap());
    assert!(object.export_fence(Access::Write).unwrap().is_done().unwrap());
    done.store(true, Ordering::Release);
    assert!(tracker.settle(0, soon));
}

/// In a process of its own, with few descriptors.
#[test]
fn a_frame_whose_lease_cannot_be_told_of_the_fence_is_held_until_the_work_is_done() {
    let (udmabuf, sw_sync) = (need!(Device::Udmabuf), need!(Device::SwSync));
    if std::env::var_os("DMAFRAME_FEW_DESCRIPTORS").is_none() {
        let child = std::process::Command::new("sh")
            .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .arg("--exact")
            .arg("track::tests::a_frame_whose_lease_cannot_be_told_of_the_fence_is_held_until_the_work_is_done")
            .env("DMAFRAME_FEW_DESCRIPTORS", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let (_buffer, slots, frame) = leased_dmabuf(&udmabuf);
    let timeline = SwSync::open(&sw_sync).unwrap();
    let fence = SyncFile::new(timeline.fence(1).unwrap()).unwrap();
    let (tracker, done) = (tracker(), Arc::new(AtomicBool::new(false)));
    let mut full = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        full.push(file);
    }
    // The driver had the last descriptor for it.
    let export: Export = Box::new(move || Marked::Yes(Some(Ok(fence.into()))));
    let mark = Mark::Callback(Arc::clone(&done));
    let late = tracker.hold(mark, holding(frame), Some(export)).unwrap();
    let soon = Deadline::after(SOON);
    assert!(matches!(late.get(soon), Some(Err(Error::Frame(_)))));
    assert!(
        slots.next().is_none(),
        "its camera would fill it, and the GPU reads it"
    );
    drop(full);
    timeline.advance(1).unwrap();
    done.store(true, Ordering::Release);
    assert!(tracker.settle(0, soon) && slots.next().is_some());
}

#[test]
fn a_frame_in_the_cpus_memory_is_held_until_the_gpu_has_read_it() {
    let (slots, mut frame) = leased();
    let (tracker, done) = (tracker(), Arc::new(AtomicBool::new(false)));
    // A fence that says nothing: what is written next does not look at it either.
    let export: Export = Box::new(|| Marked::Yes(Some(Ok(Fence::Signaled))));
    let mark = Mark::Callback(Arc::clone(&done));
    let late = tracker.hold(mark, holding(frame.clone()), Some(export)).unwrap();
    let soon = Deadline::after(SOON);
    assert!(matches!(late.get(soon), Some(Ok(_))));
    let written = frame.map_write(Deadline::now()).map(drop);
    assert!(
        matches!(written, Err(dmaframe_core::Error::Shared { .. })),
        "{written:?}"
    );
    done.store(true, Ordering::Release);
    assert!(tracker.settle(0, soon));
    frame.map_write(Deadline::now()).map(drop).unwrap();
    drop(frame);
    assert!(slots.next().is_some());
}

#[test]
fn when_the_last_handle_is_dropped_the_thread_has_nothing_of_the_device_any_more() {
    let (device, done) = (Arc::new(()), Arc::new(AtomicBool::new(false)));
    let polled = (Arc::clone(&device), Arc::clone(&done), Instant::now());
    let poll = move || {
        let (_device, done, begun) = &polled;
        done.store(begun.elapsed() > Duration::from_millis(60), Ordering::Release);
        Polled::Busy
    };
    let tracker = Tracker::new(None, Box::new(poll), Box::new(|_, _| Ok(false)));
    let holds = Holds {
        frames: Vec::new(),
        keep: vec![Box::new(Arc::clone(&device))],
    };
    tracker.hold(Mark::Callback(done), holds, None);
    drop(tracker);
    assert_eq!(Arc::strong_count(&device), 1);
}

/// A frame whose slot can be seen coming home.
fn leased() -> (Arc<ReturnQueue>, Frame) {
    let layout = Layout::tight(Fourcc::R8, Size::new(4, 4)).unwrap();
    let buffer = Arc::new(Buffer::from_bytes(vec![0; 16].into(), &layout).unwrap());
    let slots = ReturnQueue::new(1).unwrap();
    let frame = slots
        .frame(0, &buffer, FrameMeta::default(), Fence::Signaled)
        .unwrap();
    (slots, frame)
}

fn holding(frame: Frame) -> Holds {
    Holds {
        frames: vec![(frame, Access::Read)],
        ..Holds::default()
    }
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn work_that_cannot_be_marked_keeps_what_it_uses_until_the_device_has_nothing_left_to_do() {
    let (slots, frame) = leased();
    let (other_slots, other) = leased();
    let idle = Arc::new(AtomicBool::new(false));
    let polled = Arc::clone(&idle);
    let poll = move || match polled.load(Ordering::Acquire) {
        true => Polled::Empty,
        false => Polled::Busy,
    };
    let tracker = Tracker::new(None, Box::new(poll), Box::new(|_, _| Ok(false)));
    // Another submission's, whose end nobody will tell either.
    tracker.hold(Mark::Callback(Arc::default()), holding(other), None);
    let export: Export = Box::new(|| panic!("a driver's bug"));
    let mark = Mark::Callback(Arc::default());
    let late = tracker.hold(mark.clone(), holding(frame), Some(export)).unwrap();
    let soon = Deadline::after(SOON);
    assert!(matches!(late.get(soon), Some(Err(Error::DeviceLost { .. }))));
    assert!(tracker.core().is_lost(), "nothing more is taken");
    assert!(!tracker.settle(1, Deadline::after(Duration::from_millis(100))));
    assert!(
        slots.next().is_none() && other_slots.next().is_none(),
        "the GPU reads them"
    );
    idle.store(true, Ordering::Release);
    assert!(tracker.settle(0, soon) && slots.next().is_some() && other_slots.next().is_some());
    assert!(tracker.core().wait(&mark, soon));
}

#[test]
fn a_fence_that_the_driver_does_not_give_costs_the_fence_and_nothing_else() {
    let (slots, frame) = leased();
    let (tracker, done) = (tracker(), Arc::new(AtomicBool::new(false)));
    let errno = rustix::io::Errno::MFILE;
    let error = dmaframe_core::Error::Os {
        call: "vkGetSemaphoreFdKHR",
        object: "fence",
        errno,
    };
    let export: Export = Box::new(move || Marked::Yes(Some(Err(error.into()))));
    let mark = Mark::Callback(Arc::clone(&done));
    let late = tracker.hold(mark, holding(frame), Some(export)).unwrap();
    let soon = Deadline::after(SOON);
    assert!(matches!(late.get(soon), Some(Err(Error::Frame(_)))));
    assert!(!tracker.settle(0, Deadline::after(Duration::from_millis(50))));
    assert!(slots.next().is_none(), "the GPU reads it");
    assert!(!tracker.core().is_lost());
    done.store(true, Ordering::Release);
    assert!(tracker.settle(0, soon) && slots.next().is_some());
}

#[test]
fn a_panic_while_polling_is_the_devices_end_only_when_it_goes_on() {
    let (slots, frame) = leased();
    let panics = Arc::new(std::sync::atomic::AtomicU32::new(1));
    let left = Arc::clone(&panics);
    // An application's callback, say, which wgpu calls while it polls.
    let poll = move || match left.load(Ordering::Acquire) {
        0 => Polled::Busy,
        more => {
            left.store(more - 1, Ordering::Release);
            panic!("a callback's bug");
        }
    };
    let tracker = Tracker::new(None, Box::new(poll), Box::new(|_, _| Ok(false)));
    let done = Arc::new(AtomicBool::new(false));
    tracker.hold(Mark::Callback(Arc::clone(&done)), holding(frame), None);
    assert!(!tracker.settle(0, Deadline::after(Duration::from_millis(100))));
    assert!(slots.next().is_none() && !tracker.core().is_lost());
    panics.store(1000, Ordering::Release);
    assert!(tracker.settle(0, Deadline::after(SOON)));
    assert!(tracker.core().is_lost() && slots.next().is_some());
}
