//! Fences of the real kernel: pending, late, failed, merged, implicit, on timelines.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_core::{
    Access, Buffer, Error, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Object, Size, SyncFile,
    TimelineDevice, Waited,
};
use dmaframe_testkit::{Device, SwSync, Vgem, need, system_heap, udmabuf};
use rustix::io::Errno;

const SIZE: Size = Size::new(64, 32);

fn layout() -> Layout {
    Layout::tight(Fourcc::NV12, SIZE).unwrap()
}

fn frame(buffer: Arc<Buffer>, acquire: Fence) -> Frame {
    Frame::new(buffer, FrameMeta::default(), acquire, Lease::none()).unwrap()
}

fn pending(timeline: &SwSync, at: u32) -> Fence {
    SyncFile::new(timeline.fence(at).unwrap()).unwrap().into()
}

/// The bounds the project promises for a 50 ms deadline.
fn assert_about_50_ms(start: Instant) {
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(50), "returned early: {waited:?}");
    assert!(waited < Duration::from_millis(70), "returned late: {waited:?}");
}

#[test]
fn map_read_times_out_on_a_pending_fence_with_the_frame_intact_and_succeeds_after_the_signal() {
    let sw_sync = need!(Device::SwSync);
    let fd = udmabuf(&need!(Device::Udmabuf), 4096).unwrap();
    let timeline = SwSync::open(&sw_sync).unwrap();
    let buffer = Arc::new(Buffer::from_fd(fd, &layout(), 0).unwrap());
    let frame = frame(buffer, pending(&timeline, 1));

    let start = Instant::now();
    let error = frame.map_read(Duration::from_millis(50)).unwrap_err();
    assert_about_50_ms(start);
    assert_eq!(
        error,
        Error::Timeout {
            what: "acquire fence"
        }
    );
    assert_eq!(
        frame.acquire().wait(Duration::ZERO).unwrap(),
        Waited::TimedOut,
        "still the same pending fence"
    );

    timeline.advance(1).unwrap();
    assert_eq!(
        frame
            .map_read(Duration::from_millis(50))
            .unwrap()
            .to_tight()
            .unwrap()
            .len(),
        64 * 48
    );
}

#[test]
fn map_read_is_bounded_by_an_implicit_fence_too() {
    let vgem = Vgem::open(&need!(Device::VgemRender)).unwrap();
    let objects = [
        udmabuf(&need!(Device::Udmabuf), 4096).unwrap(),
        system_heap(&need!(Device::SystemHeap), 4096, true).unwrap(),
    ];
    for fd in objects {
        let fence = vgem.attach_write(&fd).unwrap();
        let buffer = Arc::new(Buffer::from_fd(fd, &layout(), 0).unwrap());
        let frame = frame(buffer, Fence::Signaled);

        let start = Instant::now();
        let error = frame.map_read(Duration::from_millis(50)).unwrap_err();
        assert_about_50_ms(start);
        assert_eq!(
            error,
            Error::Timeout {
                what: "implicit fence"
            }
        );

        let implicit = frame.as_dmabuf().unwrap().implicit_fence(Access::Read).unwrap();
        assert!(
            !implicit.is_done().unwrap(),
            "EXPORT_SYNC_FILE shows the same pending fence"
        );
        vgem.signal(fence).unwrap();
        assert!(implicit.is_done().unwrap());
        assert!(frame.map_read(Duration::from_millis(50)).is_ok());
    }
}

#[test]
fn a_fence_put_on_a_dmabuf_holds_back_implicit_peers_until_it_signals() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let fd = udmabuf(&need!(Device::Udmabuf), 4096).unwrap();
    let peer = Object::new(fd.try_clone().unwrap(), 0).unwrap();
    let buffer = Arc::new(Buffer::from_fd(fd, &layout(), 0).unwrap());
    let frame = frame(buffer, Fence::Signaled);

    // We still read: a writer has to wait, another reader does not.
    frame
        .as_dmabuf()
        .unwrap()
        .attach_fence(&pending(&timeline, 1), Access::Read)
        .unwrap();
    assert_eq!(
        peer.wait_idle(Access::Read, Duration::ZERO).unwrap(),
        Waited::Signaled
    );
    assert_eq!(
        peer.wait_idle(Access::Write, Duration::ZERO).unwrap(),
        Waited::TimedOut
    );
    timeline.advance(1).unwrap();
    assert_eq!(
        peer.wait_idle(Access::Write, Duration::from_secs(1)).unwrap(),
        Waited::Signaled
    );
}

#[test]
fn a_merge_of_many_fences_signals_with_the_last_one() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let other = SwSync::open(&need!(Device::SwSync)).unwrap();
    let mut merged = Fence::signaled();
    for at in 1..=16 {
        merged = merged.merge(pending(&timeline, at));
    }
    merged = merged.merge(pending(&other, 1));
    let Fence::SyncFile(file) = &merged else {
        panic!("pending fences merge into a sync_file")
    };
    assert_eq!(
        file.fences().unwrap().len(),
        2,
        "one per timeline: the kernel keeps the latest of each"
    );

    timeline.advance(15).unwrap();
    other.advance(1).unwrap();
    assert!(!merged.is_done().unwrap());
    timeline.advance(1).unwrap();
    assert_eq!(merged.wait(Duration::from_secs(1)).unwrap(), Waited::Signaled);
}

#[test]
fn merging_with_a_signalled_fence_costs_no_merge() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let done = pending(&timeline, 1);
    timeline.advance(1).unwrap();
    let merged = done.merge(pending(&timeline, 5));
    let Fence::SyncFile(file) = &merged else {
        panic!("the pending one is left")
    };
    assert_ne!(file.name().unwrap(), "dmaframe", "a merge would have named it so");
    assert!(Fence::signaled().merge(Fence::signaled()).is_trivial());
}

#[test]
fn a_failed_fence_is_an_error_of_the_producer_and_not_a_picture() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let fd = udmabuf(&need!(Device::Udmabuf), 4096).unwrap();
    let fence = pending(&timeline, 1);
    let clone = fence.try_clone().unwrap();
    drop(timeline); // sw_sync ends what is pending with ENOENT
    assert_eq!(
        clone.wait(Duration::from_secs(1)).unwrap(),
        Waited::Failed(Errno::NOENT)
    );
    let Fence::SyncFile(file) = &clone else { panic!() };
    assert_eq!(file.status().unwrap(), Some(Err(Errno::NOENT)));
    assert_eq!(file.fences().unwrap()[0].status, Some(Err(Errno::NOENT)));

    let buffer = Arc::new(Buffer::from_fd(fd, &layout(), 0).unwrap());
    let error = frame(buffer, fence).map_read(Duration::from_secs(1)).unwrap_err();
    assert_eq!(error, Error::FenceFailed { errno: Errno::NOENT });
}

#[test]
fn of_two_fences_that_are_done_the_failed_one_is_kept() {
    let failed = SwSync::open(&need!(Device::SwSync)).unwrap();
    let alive = SwSync::open(&need!(Device::SwSync)).unwrap();
    let (bad, good) = (pending(&failed, 1), pending(&alive, 1));
    drop(failed);
    alive.advance(1).unwrap();
    let merged = good.merge(bad).merge(Fence::signaled());
    assert_eq!(merged.wait(Duration::ZERO).unwrap(), Waited::Failed(Errno::NOENT));
}

#[test]
fn a_pending_fence_tells_its_driver_and_timeline() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let Fence::SyncFile(file) = pending(&timeline, 1) else {
        panic!()
    };
    let info = &file.fences().unwrap()[0];
    assert_eq!((info.driver.as_str(), info.status), ("sw_sync", None));
    assert_eq!(file.status().unwrap(), None);
    timeline.advance(1).unwrap();
    assert!(file.fences().unwrap()[0].timestamp_ns > 0);
}

#[test]
fn what_is_no_sync_file_is_refused_at_the_door() {
    let fd = std::fs::File::open("/dev/null").unwrap().into();
    let error = SyncFile::new(fd).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Os {
                call: "SYNC_IOC_FILE_INFO",
                errno: Errno::NOTTY,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn the_release_fences_of_all_consumers_reach_the_producer_merged() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let bytes = vec![0; layout().tight_len() as usize];
    let buffer = Arc::new(Buffer::from_bytes(bytes.into(), &layout()).unwrap());
    let lease = Lease::on_release(move |fence| sender.send(fence).unwrap());
    let frame = Frame::new(buffer, FrameMeta::default(), Fence::Signaled, lease).unwrap();
    let threads: Vec<_> = (1..=4)
        .map(|at| {
            let (clone, fence) = (frame.clone(), pending(&timeline, at));
            std::thread::spawn(move || clone.release_after(fence))
        })
        .collect();
    drop(frame);
    threads.into_iter().for_each(|t| t.join().unwrap());
    let fence = receiver
        .recv_timeout(Duration::from_secs(5))
        .expect("the lease has run");
    assert!(receiver.recv().is_err(), "and runs only once");
    timeline.advance(3).unwrap();
    assert!(!fence.is_done().unwrap());
    timeline.advance(1).unwrap();
    assert_eq!(fence.wait(Duration::from_secs(1)).unwrap(), Waited::Signaled);
}

#[test]
fn a_frame_nobody_waited_for_does_not_come_back_before_its_producer_is_done() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let queue = dmaframe_core::ReturnQueue::new(1).unwrap();
    let bytes = vec![0; layout().tight_len() as usize];
    let buffer = Arc::new(Buffer::from_bytes(bytes.into(), &layout()).unwrap());
    drop(
        queue
            .frame(0, &buffer, FrameMeta::default(), pending(&timeline, 1))
            .unwrap(),
    );
    let returned = queue.next().unwrap();
    assert!(
        !returned.fence.is_done().unwrap(),
        "the acquire fence is part of what to wait for"
    );
}

#[test]
fn a_timeline_point_waits_signals_and_becomes_a_sync_file() {
    let vgem = Vgem::open(&need!(Device::VgemRender)).unwrap();
    let device = TimelineDevice::new(vgem.into_fd()).unwrap();
    let timeline = device.create().unwrap();
    let fence = Fence::from(timeline.point(5));

    let start = Instant::now();
    assert_eq!(fence.wait(Duration::from_millis(50)).unwrap(), Waited::TimedOut);
    assert_about_50_ms(start);
    assert!(matches!(
        timeline.point(5).to_sync_file(),
        Err(Error::Os {
            errno: Errno::INVAL,
            ..
        })
    ));

    // A sync_file put behind point 3, seen through another handle of the same timeline.
    let sw_sync = SwSync::open(&need!(Device::SwSync)).unwrap();
    timeline
        .attach(3, &SyncFile::new(sw_sync.fence(1).unwrap()).unwrap())
        .unwrap();
    let peer = device.import(timeline.export().unwrap().as_fd()).unwrap();
    assert!(
        peer.point(3)
            .wait_submitted(Duration::ZERO)
            .unwrap()
            .is_signaled()
    );
    let event = peer.point(3).eventfd().unwrap();
    let readable = |fd: &std::os::fd::OwnedFd| rustix::io::read(fd, &mut [0; 8]).is_ok();
    assert!(!readable(&event));
    let merged = Fence::from(peer.point(3)).merge(pending(&sw_sync, 2));
    sw_sync.advance(1).unwrap();
    assert_eq!(
        Fence::from(peer.point(3)).wait(Duration::from_secs(1)).unwrap(),
        Waited::Signaled
    );
    assert!(readable(&event));
    assert!(!merged.is_done().unwrap());
    sw_sync.advance(1).unwrap();
    assert!(merged.wait(Duration::from_secs(1)).unwrap().is_signaled());

    timeline.signal(5).unwrap();
    assert_eq!(fence.wait(Duration::ZERO).unwrap(), Waited::Signaled);
}

#[test]
fn a_driver_without_timelines_is_refused_by_name() {
    let card = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(need!(Device::Vkms))
        .unwrap();
    assert!(matches!(
        TimelineDevice::new(card.into()),
        Err(Error::Unsupported { .. })
    ));
}
