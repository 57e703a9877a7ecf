//! Explicit sync between two processes: pictures that are filled after they were pushed, and read after they were given
//! back. With a wait taken out, the same set-up sees bad pictures; and whoever is killed, the other goes on.

mod common;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use common::sys::Window;
use common::{Other, PATIENCE, SMALL, linear, number, paint};
use dmaframe_core::{Fence, Frame, FrameMeta, Lease, Starvation, SyncFile, TimelineDevice};
use dmaframe_pipewire::{CameraEvent, CaptureBuilder, CaptureStream, Error, Event, VirtualCamera};
use dmaframe_testkit::{Daemon, Device, Leaks, SwSync, Vgem, end, need};

/// A camera with few buffers comes round to each of them soon.
const BUFFERS: u32 = 4;
/// How long the producer takes to fill a picture that it has pushed already.
const FILLING: Duration = Duration::from_millis(5);
/// How long a consumer goes on reading after it gave a frame back: several rounds of the camera.
const READING: Duration = Duration::from_millis(60);
/// Set in the number of a picture that is not filled yet.
const UNFILLED: u32 = 1 << 31;

/// PipeWire, and devices with timelines and fences, or the test is skipped visibly (and fails in the lab).
macro_rules! need_explicit_sync {
    () => {
        need_pipewire!();
        need!(Device::VgemRender);
        need!(Device::SwSync);
    };
}

fn device() -> TimelineDevice {
    let path = dmaframe_testkit::find(Device::VgemRender).unwrap();
    TimelineDevice::new(Vgem::open(&path).unwrap().into_fd()).unwrap()
}

fn sw_sync() -> SwSync {
    SwSync::open(&dmaframe_testkit::find(Device::SwSync).unwrap()).unwrap()
}

fn fence(timeline: &SwSync, value: u32) -> Fence {
    SyncFile::new(timeline.fence(value).unwrap()).unwrap().into()
}

fn consumer(remote: OwnedFd, name: &str) -> CaptureBuilder {
    common::capture_of(remote, name)
        .buffers(BUFFERS)
        .queue(1)
        .budget(1, Starvation::Drop)
        .explicit_sync(device())
}

/// The other process: this test, started by the others.
#[test]
fn the_other_process() {
    let Some((role, remote)) = common::role() else {
        return;
    };
    match role.as_str() {
        "camera" => camera(remote),
        role => hold_for_ever(&consumer(remote, role).start().unwrap()),
    }
}

/// A camera in another process, which has started.
fn other_camera(daemon: &Daemon) -> Other {
    let camera = Other::start(daemon, "camera");
    camera.wait_for("ready");
    camera
}

/// Publishes pictures that are filled [`FILLING`] after they were pushed, with a fence that says so.
fn camera(remote: OwnedFd) {
    let camera = VirtualCamera::builder("cam")
        .remote(remote)
        .formats(linear())
        .size(SMALL)
        .buffers(BUFFERS)
        .explicit_sync(device())
        .start()
        .unwrap();
    println!("tell: ready");
    let timeline = sw_sync();
    let mut bytes = vec![0; SMALL.width as usize * 4 * SMALL.height as usize];
    let mut n = 0;
    loop {
        while let Some(event) = camera.try_next().unwrap() {
            if matches!(event, CameraEvent::Unwatched) {
                println!("tell: unwatched");
            }
        }
        let mut frame = match camera.acquire(Duration::from_millis(50)) {
            Ok(frame) => frame,
            Err(Error::Starved { .. }) => {
                println!("tell: fds {}", Leaks::now().fds.len());
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        n += 1;
        paint(&mut frame, n | UNFILLED);
        for (y, row) in bytes.chunks_exact_mut(SMALL.width as usize * 4).enumerate() {
            common::pattern(n, u32::try_from(y).unwrap(), row);
        }
        assert_eq!(
            frame.layout().planes()[0].stride,
            SMALL.width * 4,
            "rows without padding"
        );
        let window = Window::new(frame.as_dmabuf().unwrap().lend(0).unwrap(), bytes.len());
        frame.acquire_after(fence(&timeline, n)).unwrap();
        let pushed = camera.push(frame, Duration::ZERO);
        std::thread::sleep(FILLING);
        window.write(&bytes);
        timeline.advance(1).unwrap();
        drop(pushed);
    }
}

/// Takes a frame and never gives it back.
fn hold_for_ever(stream: &CaptureStream) {
    let frame = common::frame(stream);
    println!("tell: holding {:?}", number(&frame));
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// How many descriptors the camera has once nobody watches any more.
fn idle_fds(camera: &Other) -> String {
    camera.wait_for("unwatched");
    // The first count may be of a moment before the last buffer is gone.
    camera.wait_for("fds");
    camera.wait_for("fds")
}

/// The frame's memory without its fences.
fn unfenced(frame: &Frame) -> Frame {
    Frame::new(
        Arc::clone(frame.buffer()),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap()
}

/// Reads pictures, goes on reading them after they were given back, and counts the bad ones. A careful consumer waits
/// for the acquire fence, and gives a frame back with a fence that signals when it has really finished.
fn read(stream: &CaptureStream, pictures: u32, waits: bool, fences: bool) -> (u32, u32) {
    let timeline = sw_sync();
    let (mut early, mut late) = (0, 0);
    for n in 1..=pictures {
        // Only the newest picture may still be unfilled.
        while stream.try_next().unwrap().is_some() {}
        let frame = common::frame(stream);
        assert!(
            !frame.acquire().is_trivial(),
            "no explicit sync: {:?}",
            stream.stats()
        );
        let memory = unfenced(&frame);
        let seen = if waits { number(&frame) } else { number(&memory) };
        let seen = seen.unwrap_or(UNFILLED);
        early += u32::from(seen & UNFILLED != 0);
        assert!(frame.wait(PATIENCE).unwrap().is_signaled());
        let whole = number(&memory);
        if fences {
            frame.release_after(fence(&timeline, n));
        }
        drop(frame);
        std::thread::sleep(READING);
        late += u32::from(number(&memory) != whole);
        timeline.advance(1).unwrap();
    }
    (early, late)
}

#[test]
fn nobody_reads_before_acquire_or_writes_before_release() {
    need_explicit_sync!();
    let daemon = Daemon::bare();
    let camera = other_camera(&daemon);
    let mut idle = Vec::new();
    for (waits, fences) in [(true, true), (false, true), (true, false)] {
        let stream = consumer(daemon.remote(), "reader").start().unwrap();
        daemon.link("cam", "reader");
        let (early, late) = read(&stream, 20, waits, fences);
        eprintln!(
            "waits {waits}, fences {fences}: {early} read too early, {late} overwritten; {:?}",
            stream.stats()
        );
        assert!(stream.stats().explicit_sync);
        assert_eq!(early == 0, waits, "{early} of 20 read before they were filled");
        assert_eq!(late == 0, fences, "{late} of 20 overwritten while they were read");
        drop(stream);
        idle.push(idle_fds(&camera));
    }
    assert!(
        idle.iter().all(|fds| *fds == idle[0]),
        "the camera's descriptors: {idle:?}"
    );
}

#[test]
fn a_consumer_killed_with_a_frame_in_hand_leaves_the_camera_running() {
    need_explicit_sync!();
    let daemon = Daemon::bare();
    let camera = other_camera(&daemon);
    let mut idle = Vec::new();
    for name in ["first", "second"] {
        let mut consumer = Other::start(&daemon, name);
        daemon.link("cam", name);
        consumer.wait_for("holding Some");
        end(&mut consumer.child);
        idle.push(idle_fds(&camera));
    }
    assert_eq!(idle[0], idle[1], "the camera's descriptors");
    let stream = consumer(daemon.remote(), "third").start().unwrap();
    daemon.link("cam", "third");
    assert_eq!(read(&stream, 3, true, true), (0, 0));
}

#[test]
fn a_camera_killed_in_mid_frame_leaves_its_consumer_whole() {
    need_explicit_sync!();
    let daemon = Daemon::bare();
    let before = Leaks::now();
    {
        let stream = consumer(daemon.remote(), "reader").start().unwrap();
        for _ in 0..2 {
            let mut camera = other_camera(&daemon);
            daemon.link("cam", "reader");
            let frame = common::frame(&stream);
            let n = number(&frame);
            assert!(n.is_some_and(|n| n & UNFILLED == 0));
            end(&mut camera.child);
            common::until(&stream, |event| matches!(event, Event::NodeRemoved { .. }));
            assert_eq!(number(&frame), n, "the picture in hand");
        }
    }
    before.check();
}
