//! What goes wrong, or changes, in the middle of a stream: each has an outcome with a type, nothing hangs, and nothing is
//! left behind.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Other, PATIENCE, Producer, SMALL, linear, number, paint, set, until, watched};
use dmaframe_core::report::PathReport;
use dmaframe_core::{Fourcc, Frame, Layout, Modifier, Size, Starvation};
use dmaframe_pipewire::pod::Modifiers;
use dmaframe_pipewire::{
    CameraBuilder, CameraEvent, CaptureBuilder, CaptureStream, Error, Event, Pushed, Target, VirtualCamera,
};
use dmaframe_testkit::{Daemon, Leaks, end};

/// Nobody here makes this one.
const TILED: Modifier = Modifier(0x0100_0000_0000_0004);

fn camera(daemon: &Daemon) -> CameraBuilder {
    VirtualCamera::builder("cam")
        .remote(daemon.remote())
        .formats(linear())
        .size(SMALL)
}

fn capture(daemon: &Daemon, name: &str) -> CaptureBuilder {
    CaptureStream::builder()
        .remote(daemon.remote())
        .name(name)
        .target(Target::Unlinked)
        .formats(linear())
}

#[test]
fn size_and_format_change_in_mid_stream() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let before = Leaks::now();
    {
        let camera = Arc::new(camera(&daemon).start().unwrap());
        let formats = linear().with(Fourcc::ARGB8888, Modifier::LINEAR);
        let stream = capture(&daemon, "reader").formats(formats).start().unwrap();
        daemon.link("cam", "reader");
        let producer = Producer::start(camera.clone(), Duration::from_millis(5));
        let kept = common::frame(&stream);
        let n = number(&kept);
        assert!(n.is_some());
        for (fourcc, size) in [
            (Fourcc::XRGB8888, Size::new(100, 30)),
            (Fourcc::ARGB8888, SMALL),
            (Fourcc::XRGB8888, SMALL),
        ] {
            camera
                .set_picture(set(fourcc, &[Modifier::LINEAR]), size)
                .unwrap();
            let event = until(
                &stream,
                |e| matches!(e, Event::Format(f) if (f.fourcc, f.size) == (fourcc, size)),
            );
            assert!(matches!(event, Event::Format(f) if f.modifiers == Modifiers::Fixed(Modifier::LINEAR)));
            for _ in 0..3 {
                let frame = common::frame(&stream);
                assert_eq!((frame.fourcc(), frame.layout().size()), (fourcc, size));
                assert!(number(&frame).is_some(), "a torn picture after the change");
            }
        }
        assert_eq!(number(&kept), n, "the frame of the first format");
        producer.stop();
        drop(kept);
    }
    before.check();
}

#[test]
fn a_camera_that_can_make_no_dma_bufs_is_read_from_shared_memory_in_the_same_format() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let nowhere = dmaframe_alloc::Udmabuf::at("/nonexistent");
    let cam = Arc::new(camera(&daemon).allocator(nowhere).start().unwrap());
    let stream = capture(&daemon, "reader").start().unwrap();
    daemon.link("cam", "reader");
    let producer = Producer::start(cam.clone(), Duration::from_millis(5));
    let frame = common::frame(&stream);
    assert!(frame.as_dmabuf().is_none() && number(&frame).is_some());
    assert_eq!((frame.fourcc(), frame.layout().size()), (Fourcc::XRGB8888, SMALL));
    let refused = |event| matches!(event, CameraEvent::Refused(Error::NoModifier { .. }));
    assert!(
        std::iter::from_fn(|| cam.try_next().unwrap()).any(refused),
        "the reason is told"
    );
    producer.stop();
}

#[test]
fn a_node_that_goes_is_told_and_its_frames_stay() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let before = Leaks::now();
    {
        let cam = Arc::new(camera(&daemon).start().unwrap());
        let stream = capture(&daemon, "reader").start().unwrap();
        daemon.link("cam", "reader");
        let producer = Producer::start(cam.clone(), Duration::from_millis(5));
        let kept = common::frame(&stream);
        let n = number(&kept);
        producer.stop();
        drop(cam);
        until(&stream, |e| matches!(e, Event::NodeRemoved { .. }));
        assert_eq!(number(&kept), n);
        // The next one of that name can be linked to the same stream.
        let cam = Arc::new(camera(&daemon).start().unwrap());
        daemon.link("cam", "reader");
        let producer = Producer::start(cam, Duration::from_millis(5));
        assert!(number(&common::frame(&stream)).is_some());
        producer.stop();
        drop(kept);
    }
    before.check();
}

#[test]
fn a_daemon_that_goes_ends_both_sides_with_an_error_and_a_new_one_serves() {
    need_pipewire!();
    let mut daemon = Daemon::bare();
    let before = Leaks::now();
    {
        let cam = Arc::new(camera(&daemon).start().unwrap());
        let stream = capture(&daemon, "reader").start().unwrap();
        daemon.link("cam", "reader");
        let producer = Producer::start(cam.clone(), Duration::from_millis(5));
        let kept = common::frame(&stream);
        let n = number(&kept);
        daemon.restart();
        let start = Instant::now();
        let error = loop {
            match stream.next(PATIENCE) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("nothing was told within {:?}", start.elapsed()),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Disconnected { .. }), "{error}");
        producer.stop();
        let error = cam.acquire(PATIENCE).unwrap_err();
        assert!(matches!(error, Error::Disconnected { .. }), "{error}");
        assert_eq!(number(&kept), n);
        drop((cam, stream));

        let cam = Arc::new(camera(&daemon).start().unwrap());
        let stream = capture(&daemon, "reader").start().unwrap();
        daemon.link("cam", "reader");
        let producer = Producer::start(cam, Duration::from_millis(5));
        assert!(number(&common::frame(&stream)).is_some());
        producer.stop();
    }
    before.check();
}

#[test]
fn no_daemon_is_an_error_and_not_a_hang() {
    need_pipewire!();
    // A socket on which nobody ever answers.
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let start = Instant::now();
    let error = CaptureStream::builder()
        .remote(ours.into())
        .timeout(Duration::from_millis(300))
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(start.elapsed() < PATIENCE);
}

/// A consumer that keeps everything it gets, and one that only looks on.
fn hoard(policy: Starvation) -> (dmaframe_pipewire::Stats, PathReport, Option<&'static str>) {
    let daemon = Daemon::bare();
    let cam = Arc::new(camera(&daemon).buffers(6).start().unwrap());
    let hoarder = capture(&daemon, "hoarder").budget(3, policy).start().unwrap();
    let other = capture(&daemon, "other").start().unwrap();
    daemon.link("cam", "hoarder");
    daemon.link("cam", "other");
    let producer = Producer::start(cam.clone(), Duration::from_millis(5));
    let mut held: Vec<Frame> = Vec::new();
    let wanted = if policy == Starvation::Detach { 20 } else { 3 };
    while held.len() < wanted {
        held.push(common::frame(&hoarder));
    }
    let report = PathReport::new();
    report.add(hoarder.hop().clone());
    let reason = report.counts()[0].reason;
    // The camera goes on for everybody else, long after all that was to be had is held.
    for _ in 0..30 {
        assert!(number(&common::frame(&other)).is_some());
    }
    let numbers: Vec<_> = held
        .iter()
        .map(|frame| number(frame).expect("a held frame was overwritten"))
        .collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    producer.stop();
    (hoarder.stats(), report, reason)
}

#[test]
fn holding_every_frame_turns_into_copies_and_stalls_nobody() {
    need_pipewire!();
    let (stats, report, reason) = hoard(Starvation::Detach);
    assert!(stats.detached > 0 && stats.delivered >= 3, "{stats:?}");
    let reason = reason.unwrap();
    assert!(reason.contains("consumers hold all buffers"), "{reason}");
    assert!(report.cpu_bytes_per_frame() > 0, "{report}");
}

#[test]
fn holding_every_frame_turns_into_drops_where_that_is_the_policy() {
    need_pipewire!();
    let (stats, report, _) = hoard(Starvation::Drop);
    assert!(stats.dropped > 0 && stats.detached == 0, "{stats:?}");
    assert_eq!(report.cpu_bytes_per_frame(), 0, "{report}");
}

#[test]
fn modifiers_that_cannot_be_made_are_refused_with_the_reason() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let before = Leaks::now();
    {
        // The camera believes that it could: its allocator knows better.
        let formats = set(Fourcc::XRGB8888, &[Modifier::LINEAR, TILED]);
        let cam = Arc::new(camera(&daemon).formats(formats).start().unwrap());
        let stream = capture(&daemon, "tiled")
            .formats(set(Fourcc::XRGB8888, &[TILED]))
            .start()
            .unwrap();
        daemon.link("cam", "tiled");
        let refused = loop {
            match cam.next(PATIENCE).unwrap().expect("nothing was told") {
                CameraEvent::Refused(error) => break error,
                CameraEvent::Format { layout, .. } => panic!("{layout:?}"),
                _ => {}
            }
        };
        assert!(matches!(refused, Error::NoModifier { .. }), "{refused}");
        assert!(refused.to_string().contains("INTEL"), "{refused}");
        let reason = cam.hop().counts().reason.unwrap();
        assert!(reason.contains("a consumer takes"), "{reason}");
        let error = loop {
            match stream.next(PATIENCE) {
                Ok(Some(Event::Frame(frame))) => panic!("{frame:?}"),
                Ok(Some(_)) => {}
                Ok(None) => panic!("the consumer was told nothing"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::NoCommonFormat { .. }), "{error}");
        assert!(error.to_string().contains("INTEL"), "{error}");
        drop(stream);
        // Others are not concerned.
        let stream = capture(&daemon, "linear").start().unwrap();
        daemon.link("cam", "linear");
        let producer = Producer::start(cam.clone(), Duration::from_millis(5));
        assert!(number(&common::frame(&stream)).is_some());
        producer.stop();
    }
    before.check();
}

#[test]
fn a_consumer_of_another_format_is_told_and_the_camera_lives() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let cam = Arc::new(camera(&daemon).start().unwrap());
    let stream = capture(&daemon, "nv12")
        .formats(set(Fourcc::NV12, &[Modifier::LINEAR]))
        .start()
        .unwrap();
    daemon.link("cam", "nv12");
    let error = loop {
        match stream.next(PATIENCE) {
            Ok(Some(event)) => assert!(!matches!(event, Event::Frame(_))),
            Ok(None) => panic!("the consumer was told nothing"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::NoCommonFormat { .. }), "{error}");
    drop(stream);
    let stream = capture(&daemon, "right").start().unwrap();
    daemon.link("cam", "right");
    let producer = Producer::start(cam, Duration::from_millis(5));
    assert!(number(&common::frame(&stream)).is_some());
    producer.stop();
}

#[test]
fn frames_from_elsewhere_are_copied_once_and_it_says_why() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let cam = camera(&daemon).start().unwrap();
    let stream = capture(&daemon, "reader").start().unwrap();
    daemon.link("cam", "reader");
    watched(&cam);
    let layout = Layout::tight(Fourcc::XRGB8888, SMALL).unwrap();
    let foreign = || {
        let bytes = vec![0u8; usize::try_from(layout.tight_len()).unwrap()];
        let mut frame = Frame::from_bytes(bytes, &layout, dmaframe_core::FrameMeta::default()).unwrap();
        paint(&mut frame, 77);
        frame
    };
    let bytes = layout.tight_len();
    common::started(&cam, &stream, foreign);
    let before = cam.hop().counts().cpu_bytes;
    assert_eq!(cam.push(foreign(), PATIENCE).unwrap(), Pushed::Copied(bytes));
    assert_eq!(number(&common::frame(&stream)), Some(77));
    let counts = cam.hop().counts();
    assert_eq!(counts.cpu_bytes, before + bytes);
    assert!(counts.reason.unwrap().contains("none of the buffers"), "{counts}");

    let other = Layout::tight(Fourcc::XRGB8888, Size::new(8, 8)).unwrap();
    let small = Frame::from_bytes(vec![0u8; 256], &other, dmaframe_core::FrameMeta::default()).unwrap();
    let rejected = cam.push(small, PATIENCE).unwrap_err();
    assert!(
        matches!(rejected.error, Error::Picture { .. }),
        "{}",
        rejected.error
    );
    assert_eq!(
        rejected.value.layout().size(),
        Size::new(8, 8),
        "the frame comes back"
    );
}

#[test]
fn frames_in_imported_buffers_go_out_without_a_copy() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let request = dmaframe_alloc::Request::new(Fourcc::XRGB8888, SMALL);
    let pool = dmaframe_alloc::FramePool::builder(request)
        .slots(6)
        .allocator(dmaframe_alloc::Chain::dmabuf())
        .build()
        .unwrap();
    let cam = camera(&daemon).import(pool.buffers()).start().unwrap();
    let stream = capture(&daemon, "reader").start().unwrap();
    daemon.link("cam", "reader");
    watched(&cam);
    common::started(&cam, &stream, || pool.acquire(PATIENCE).unwrap());
    for n in 1..=50 {
        let mut frame = pool.acquire(PATIENCE).unwrap();
        paint(&mut frame, n);
        let id = frame.buffer().identities().next();
        assert_eq!(cam.push(frame, PATIENCE).unwrap(), Pushed::ZeroCopy);
        let seen = common::frame(&stream);
        assert_eq!(number(&seen), Some(n));
        assert_eq!(seen.buffer().identities().next(), id, "the pool's own memory");
    }
    assert_eq!(cam.hop().counts().cpu_bytes, 0);
}

#[test]
fn metadata_goes_with_the_picture() {
    need_pipewire!();
    use dmaframe_core::{Clock, ColorInfo, Orientation, Rect, Rotation, Timestamp};
    use dmaframe_pipewire::Damage;
    let daemon = Daemon::bare();
    let cam = camera(&daemon).color(ColorInfo::SRGB).start().unwrap();
    let stream = capture(&daemon, "reader").start().unwrap();
    daemon.link("cam", "reader");
    watched(&cam);
    common::started(&cam, &stream, || cam.acquire(PATIENCE).unwrap());
    let mut frame = cam.acquire(PATIENCE).unwrap();
    let (visible, orientation) = (
        Rect {
            x: 2,
            y: 3,
            width: 20,
            height: 10,
        },
        Orientation {
            rotation: Rotation::R90,
            mirror: true,
        },
    );
    let damage = Damage(vec![Rect {
        x: 1,
        y: 1,
        width: 2,
        height: 2,
    }]);
    let meta = frame.meta_mut().unwrap();
    meta.visible = Some(visible);
    meta.orientation = orientation;
    meta.sequence = Some(4711);
    meta.timestamp = Some(Timestamp {
        ns: 123_456_789,
        clock: Clock::Monotonic,
    });
    meta.extensions.insert(damage.clone());
    let sent = meta.clone();
    cam.push(frame, Duration::ZERO).unwrap();
    let seen = common::frame(&stream);
    let meta = seen.meta();
    assert_eq!((meta.visible, meta.orientation), (Some(visible), orientation));
    assert_eq!((meta.sequence, meta.timestamp), (sent.sequence, sent.timestamp));
    assert_eq!(meta.color, ColorInfo::SRGB);
    assert_eq!(meta.extensions.get::<Damage>(), Some(&damage));
}

/// Takes frames and never gives them back: another process of this test.
#[test]
fn the_other_process() {
    let Some((name, remote)) = common::role() else {
        return;
    };
    let stream = CaptureStream::builder()
        .remote(remote)
        .name(name)
        .target(Target::Unlinked)
        .formats(linear())
        .budget(0, Starvation::Drop)
        .start()
        .unwrap();
    let held: Vec<_> = (0..4).map(|_| common::frame(&stream)).collect();
    println!("tell: holding {}", held.len());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_consumer_that_dies_with_buffers_takes_them_from_nobody_else() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let cam = Arc::new(camera(&daemon).buffers(6).start().unwrap());
    let stream = capture(&daemon, "reader").start().unwrap();
    daemon.link("cam", "reader");
    let producer = Producer::start(cam.clone(), Duration::from_millis(5));
    for name in ["first", "second"] {
        let mut other = Other::start(&daemon, name);
        daemon.link("cam", name);
        other.wait_for("holding");
        end(&mut other.child);
        for _ in 0..30 {
            assert!(number(&common::frame(&stream)).is_some());
        }
    }
    eprintln!("{:?}", cam.stats());
    assert_eq!(cam.stats().consumers, 1);
    producer.stop();
}

#[test]
fn each_plane_arrives_in_its_place() {
    need_pipewire!();
    for (fourcc, dmabuf) in [
        (Fourcc::NV12, true),
        (Fourcc::NV12, false),
        (Fourcc::YUV420, true),
    ] {
        let daemon = Daemon::bare();
        let formats = set(fourcc, &[Modifier::LINEAR]);
        let cam = camera(&daemon).formats(formats.clone()).start().unwrap();
        let stream = capture(&daemon, "reader")
            .formats(formats)
            .dmabuf(dmabuf)
            .start()
            .unwrap();
        daemon.link("cam", "reader");
        watched(&cam);
        let painted = || {
            let mut frame = cam.acquire(PATIENCE).unwrap();
            let layout = frame.layout().clone();
            let mut view = frame.map_write(PATIENCE).unwrap();
            for plane in 0..layout.planes().len() {
                for y in 0..layout.rows(plane) {
                    let value = u8::try_from(y).unwrap() ^ (0x40 << plane);
                    view.write_row(plane, y, &vec![value; layout.row_bytes(plane)])
                        .unwrap();
                }
            }
            drop(view);
            frame
        };
        common::started(&cam, &stream, painted);
        cam.push(painted(), PATIENCE).unwrap();
        let frame = common::frame(&stream);
        assert_eq!(frame.as_dmabuf().is_some(), dmabuf, "{frame:?}");
        let view = frame.map_read(PATIENCE).unwrap();
        for plane in 0..frame.layout().planes().len() {
            let mut row = vec![0; frame.layout().row_bytes(plane)];
            for y in 0..frame.layout().rows(plane) {
                view.copy_row(plane, y, &mut row).unwrap();
                let value = u8::try_from(y).unwrap() ^ (0x40 << plane);
                assert!(
                    row.iter().all(|byte| *byte == value),
                    "{fourcc} plane {plane} row {y}"
                );
            }
        }
        assert_eq!(stream.hop().counts().cpu_bytes, 0);
    }
}
