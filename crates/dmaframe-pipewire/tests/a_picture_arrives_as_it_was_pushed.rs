//! Pixels, planes and what is said of a picture arrive, without a copy where its memory is the stream's, and with one where it is
//! not.

mod common;

use std::time::{Duration, Instant};

use common::{PATIENCE, SMALL, camera, capture, number, paint, pool, set, watched};
use dmaframe_core::{
    Clock, ColorInfo, Fourcc, Frame, FrameMeta, Layout, Modifier, Orientation, Rect, Rotation, Size,
    Timestamp,
};
use dmaframe_pipewire::{CaptureBuilder, CaptureStream, Damage, Error, Pushed, Stats, VirtualCamera};
use dmaframe_testkit::Daemon;

/// The camera's only reader, once the format is settled.
fn reader(daemon: &Daemon, camera: &VirtualCamera, reader: CaptureBuilder) -> CaptureStream {
    let stream = reader.start().unwrap();
    daemon.link("cam", "reader");
    watched(camera);
    stream
}

#[test]
fn frames_from_elsewhere_are_copied_once_and_it_says_why() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let cam = camera(&daemon).start().unwrap();
    let stream = reader(&daemon, &cam, capture(&daemon, "reader"));
    let layout = Layout::tight(Fourcc::XRGB8888, SMALL).unwrap();
    let foreign = || {
        let bytes = vec![0u8; usize::try_from(layout.tight_len()).unwrap()];
        let mut frame = Frame::from_bytes(bytes, &layout, FrameMeta::default()).unwrap();
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
    let small = Frame::from_bytes(vec![0u8; 256], &other, FrameMeta::default()).unwrap();
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
    let pool = pool(6);
    let cam = camera(&daemon).import(pool.buffers()).start().unwrap();
    let stream = reader(&daemon, &cam, capture(&daemon, "reader"));
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
    let daemon = Daemon::bare();
    let cam = camera(&daemon).color(ColorInfo::SRGB).start().unwrap();
    let stream = reader(&daemon, &cam, capture(&daemon, "reader"));
    common::started(&cam, &stream, || cam.acquire(PATIENCE).unwrap());
    // The one before: after a gap in the numbers the whole picture may be new.
    let mut frame = cam.acquire(PATIENCE).unwrap();
    frame.meta_mut().unwrap().sequence = Some(4710);
    cam.push(frame, Duration::ZERO).unwrap();
    assert_eq!(common::frame(&stream).meta().sequence, Some(4710));
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

#[test]
fn pictures_that_are_counted_anew_all_arrive() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let cam = camera(&daemon).start().unwrap();
    let stream = reader(&daemon, &cam, capture(&daemon, "reader"));
    common::started(&cam, &stream, || cam.acquire(PATIENCE).unwrap());
    // What a camera that is plugged in again does.
    for sequence in (1040..1050).chain(1000..1020) {
        let mut frame = cam.acquire(PATIENCE).unwrap();
        frame.meta_mut().unwrap().sequence = Some(sequence);
        cam.push(frame, PATIENCE).unwrap();
        assert_eq!(common::frame(&stream).meta().sequence, Some(sequence));
    }
    assert_eq!(stream.stats().stale, 0);
}

#[test]
fn a_picture_after_a_lost_one_may_be_new_everywhere() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let cam = camera(&daemon).start().unwrap();
    let stream = reader(&daemon, &cam, capture(&daemon, "reader").queue(2));
    common::started(&cam, &stream, || cam.acquire(PATIENCE).unwrap());
    let part = |n: u32| {
        let (x, y, width, height) = (n, 1, 2, 2);
        Damage(vec![Rect { x, y, width, height }])
    };
    let push = |n: u32, sequence: u64| {
        let mut frame = cam.acquire(PATIENCE).unwrap();
        let meta = frame.meta_mut().unwrap();
        meta.sequence = Some(sequence);
        meta.extensions.insert(part(n));
        cam.push(frame, PATIENCE).unwrap();
    };
    let seen = || {
        let frame = common::frame(&stream);
        frame.meta().extensions.get::<Damage>().cloned()
    };
    // A picture whose number comes after the last one's, which the pushes of `started` had.
    push(0, 5000);
    let _ = seen();
    push(1, 5001);
    assert_eq!(seen(), Some(part(1)));
    // Two wait, and a third throws the first of them out of the queue. Each has come before the next is pushed.
    let (start, before) = (Instant::now(), stream.stats().delivered);
    for n in 2..5 {
        push(n, 5000 + u64::from(n));
        let came =
            |stats: Stats| stats.delivered == before + u64::from(n) - 1 && (n < 4 || stats.overrun == 1);
        while !came(stream.stats()) {
            assert!(start.elapsed() < PATIENCE, "{:?}", stream.stats());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!((seen(), seen()), (None, Some(part(4))));
    // A number that never came.
    push(5, 5006);
    assert_eq!(seen(), None);
    push(6, 5007);
    assert_eq!(seen(), Some(part(6)));
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
        let reading = capture(&daemon, "reader").formats(formats).dmabuf(dmabuf);
        let stream = reader(&daemon, &cam, reading);
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
