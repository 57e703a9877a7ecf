//! Sinks: what is in their files, what they drop and say, and that one's failure is not another's.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dmaframe::report::{Hop, PathReport};
use dmaframe::sink::{self, Error, Fanout, Latest, Opening, Sink, Summary, Taken};
use dmaframe::source::{Next, Source, Wish};
use dmaframe::{
    ColorInfo, Deadline, Fourcc, Frame, FrameMeta, Layout, Orientation, Rect, Rotation, Size, SyncFile,
};
use dmaframe_testkit::{Device, SwSync, need};

/// A wait that reaches it is a hang.
const LONG: Duration = Duration::from_secs(20);

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("dmaframe-sink-{}-{name}", std::process::id()))
}

/// A picture whose samples are all different from their neighbours', with padding that must not be seen.
fn picture(fourcc: Fourcc, size: Size, first: u8) -> Frame {
    let layout = Layout::linear(fourcc, size, 64).unwrap();
    let mut bytes = vec![0xee; layout.object_len(0) as usize];
    let mut value = first;
    for (index, plane) in layout.planes().iter().enumerate() {
        for row in 0..layout.rows(index) {
            let at = plane.offset as usize + row as usize * plane.stride as usize;
            for byte in &mut bytes[at..at + layout.row_bytes(index)] {
                *byte = 16 + value % 200;
                value = value.wrapping_add(7);
            }
        }
    }
    let mut meta = FrameMeta::default();
    meta.color = ColorInfo::BT709;
    Frame::from_bytes(bytes, &layout, meta).unwrap()
}

fn tight(frame: &Frame) -> Vec<u8> {
    frame.map_read(Deadline::NEVER).unwrap().to_tight().unwrap()
}

#[test]
fn files_of_pictures_have_every_sample_of_every_frame_and_no_padding() {
    let (raw, y4m) = (scratch("a.nv12"), scratch("a.Y4M"));
    let size = Size::new(10, 6);
    let frames = [picture(Fourcc::NV12, size, 1), picture(Fourcc::NV12, size, 90)];
    let opening = Opening::of(&frames[0]).framerate(30_000, 1001);
    let mut sinks = Fanout::new();
    sinks.push(sink::pictures(&raw, &opening).unwrap());
    sinks.push(sink::pictures(&y4m, &opening).unwrap());
    let path = PathReport::new();
    sinks.report(&path);
    for frame in &frames {
        assert!(sinks.take(frame).is_empty());
    }
    let said: Vec<_> = sinks
        .finish()
        .into_iter()
        .map(|done| done.unwrap().to_string())
        .collect();
    assert_eq!(
        said[0],
        format!("file: {} (2 frames, 180 bytes, 0 dropped)", raw.display())
    );
    assert_eq!(path.cpu_bytes_per_frame(), 180, "both files' 90 bytes");

    let written = std::fs::read(&raw).unwrap();
    assert_eq!(written, [tight(&frames[0]), tight(&frames[1])].concat());
    let written = std::fs::read(&y4m).unwrap();
    let (header, pictures) = written.split_at(written.iter().position(|byte| *byte == b'\n').unwrap() + 1);
    let siting = match frames[0].meta().color.siting {
        dmaframe::ChromaSiting::Left => "mpeg2",
        _ => "jpeg",
    };
    assert_eq!(
        String::from_utf8_lossy(header),
        format!("YUV4MPEG2 W10 H6 F30000:1001 Ip A1:1 C420{siting} XCOLORRANGE=LIMITED\n")
    );
    for (picture, frame) in pictures.chunks(6 + 90).zip(&frames) {
        let nv12 = tight(frame);
        let every_other = |from: usize| {
            nv12[60..]
                .iter()
                .skip(from)
                .step_by(2)
                .copied()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            picture,
            [b"FRAME\n", &nv12[..60], &every_other(0), &every_other(1)].concat()
        );
    }
    assert!(
        said[1].contains(&format!("{} bytes", written.len())),
        "{}",
        said[1]
    );
    for file in [raw, y4m] {
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_file_shows_the_visible_part_upright_and_another_size_ends_it_alone() {
    let (file, other) = (scratch("b.nv12"), scratch("b-other.nv12"));
    let mut frame = picture(Fourcc::NV12, Size::new(8, 8), 3);
    let all = tight(&frame);
    let meta = frame.meta_mut().unwrap();
    meta.visible = Some(Rect {
        x: 2,
        y: 0,
        width: 6,
        height: 4,
    });
    meta.orientation = Orientation {
        rotation: Rotation::R180,
        mirror: false,
    };
    let mut sinks = Fanout::new();
    sinks.push(sink::pictures(&file, &Opening::of(&frame)).unwrap());
    assert!(sinks.take(&frame).is_empty());
    sinks.push(sink::pictures(&other, &Opening::of(&frame)).unwrap());
    let big = picture(Fourcc::NV12, Size::new(8, 8), 3);
    let failed = sinks.take(&big);
    assert_eq!((failed.len(), sinks.len()), (1, 1));
    let said = failed[0].to_string();
    assert!(
        said.starts_with(&format!("file({}) ended: ", file.display())),
        "{said}"
    );
    assert!(said.contains("became 8x8") && said.ends_with("are 6x4"), "{said}");
    assert!(sinks.take(&big).is_empty(), "the other one goes on");
    drop(failed);
    let mut luma: Vec<u8> = (0..4)
        .flat_map(|row| all[row * 8 + 2..row * 8 + 8].to_vec())
        .collect();
    luma.reverse();
    let written = std::fs::read(&file).unwrap();
    assert_eq!((written.len(), &written[..24]), (36, &luma[..]));
    assert_eq!(sinks.finish().pop().unwrap().unwrap().frames, 2);
    for file in [file, other] {
        std::fs::remove_file(file).unwrap();
    }
}

/// A sink that waits for ever is found by who asks it from another thread.
fn taken(mut sink: Box<dyn Sink>, frame: &Frame) -> (Box<dyn Sink>, Taken) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let frame = frame.clone();
    std::thread::spawn(move || {
        let taken = sink.take(&frame);
        let _ = sender.send((sink, taken));
    });
    let (sink, taken) = receiver.recv_timeout(LONG).expect("an end of the wait");
    (sink, taken.unwrap())
}

#[test]
fn a_file_misses_a_picture_that_is_not_finished_in_time_or_failed_and_has_the_next_one() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let size = Size::new(10, 6);
    let pending = |value| {
        let mut frame = picture(Fourcc::NV12, size, value as u8);
        let fence = SyncFile::new(timeline.fence(value).unwrap()).unwrap();
        frame.acquire_after(fence.into()).unwrap();
        frame
    };
    let (soon, late, failed) = (pending(1), pending(2), pending(3));
    let file = scratch("late.nv12");
    let ready = picture(Fourcc::NV12, size, 90);
    // A picture's time is long here, so that a slow machine is in time.
    let sink = sink::pictures(&file, &Opening::of(&ready).framerate(1, 1)).unwrap();
    let (sink, first) = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            timeline.advance(1).unwrap();
        });
        taken(sink, &soon)
    });
    assert_eq!(first, Taken::Copied(90));
    let start = std::time::Instant::now();
    let (sink, second) = taken(sink, &late);
    assert_eq!(second, Taken::Dropped("the picture was not finished in time"));
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    drop(timeline);
    let (sink, third) = taken(sink, &failed);
    assert_eq!(third, Taken::Dropped("the work on the picture failed"));
    let (sink, last) = taken(sink, &ready);
    assert_eq!(last, Taken::Copied(90));
    assert_eq!(sink.hop().counts().dropped, 2);
    let done = sink.finish().unwrap();
    assert_eq!((done.frames, done.dropped), (2, 2), "{done}");
    assert_eq!(
        std::fs::read(&file).unwrap(),
        [tight(&soon), tight(&ready)].concat()
    );
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_patient_file_waits_longer_than_pictures_take_to_come() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let mut frame = picture(Fourcc::NV12, Size::new(10, 6), 1);
    let fence = SyncFile::new(timeline.fence(1).unwrap()).unwrap();
    frame.acquire_after(fence.into()).unwrap();
    let file = scratch("patient.y4m");
    let opening = Opening::of(&frame).framerate(1000, 1).patience(LONG);
    let sink = sink::pictures(&file, &opening).unwrap();
    let (_, taken) = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            timeline.advance(1).unwrap();
        });
        taken(sink, &frame)
    });
    assert_eq!(taken, Taken::Copied(90));
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_dump_has_the_planes_with_their_stride_also_of_memory_that_others_have() {
    let file = scratch("c.raw");
    let wish = Wish::new("test".parse().unwrap()).size(Size::new(318, 180));
    let mut source = Source::open(&wish, &mut Vec::new()).unwrap();
    let Next::Frame(frame) = source.next(LONG) else {
        panic!("a test picture always comes")
    };
    // Rows of what was lent can no longer be borrowed.
    if let Some(dmabuf) = frame.as_dmabuf() {
        let _ = dmabuf.lend(0).unwrap();
    }
    let bytes = sink::dump(&frame, &file, LONG).unwrap();
    let written = std::fs::read(&file).unwrap();
    assert_eq!(written.len() as u64, bytes);
    let mut rest = &written[..];
    let mut samples = Vec::new();
    for (index, plane) in frame.layout().planes().iter().enumerate() {
        for _ in 0..frame.layout().rows(index) {
            let (row, behind) = rest.split_at(plane.stride as usize);
            samples.extend_from_slice(&row[..318]);
            assert!(row[318..].iter().all(|byte| *byte == 0));
            rest = behind;
        }
    }
    assert!(samples == tight(&frame) && rest.is_empty());
    let text = format!("{}.txt", file.display());
    assert!(std::fs::read_to_string(&text).unwrap().contains("plane 1 offset"));
    for file in [file, text.into()] {
        std::fs::remove_file(file).unwrap();
    }
    let nowhere = sink::dump(&frame, "/nonexistent/file", LONG).unwrap_err();
    assert!(
        nowhere
            .to_string()
            .starts_with("/nonexistent/file cannot be written: "),
        "{nowhere}"
    );
}

#[test]
fn the_reader_has_the_newest_frame_one_wake_up_for_each_it_takes_and_the_camera_has_the_rest() {
    let woken = Arc::new(AtomicU64::new(0));
    let latest = Latest::new({
        let woken = Arc::clone(&woken);
        move || {
            woken.fetch_add(1, Ordering::Relaxed);
        }
    });
    let frames: Vec<_> = (0..3).map(|n| picture(Fourcc::R8, Size::new(4, 4), n)).collect();
    for frame in &frames {
        assert!(latest.put(frame.clone()));
    }
    assert_eq!((woken.load(Ordering::Relaxed), latest.replaced()), (1, 2));
    assert!(frames[0].is_unique() && frames[1].is_unique(), "given back");
    assert!(latest.try_next().unwrap().same_frame(&frames[2]));
    assert!(latest.try_next().is_none());

    latest.say("gone");
    assert_eq!(latest.message().as_deref(), Some("gone"));
    assert!(latest.put(frames[0].clone()));
    assert_eq!(latest.message(), None, "another picture");
    assert_eq!(woken.load(Ordering::Relaxed), 3);

    // As a sink, among others; refused once it is closed, while the others go on.
    let (mut sinks, watched) = (Fanout::new(), Latest::new(|| {}));
    sinks.push(Box::new(latest.clone()));
    sinks.push(Box::new(watched.clone()));
    latest.close();
    assert!(frames[0].is_unique(), "closing gives back what was not taken");
    assert!(!latest.put(frames[0].clone()));
    let failed = sinks.take(&frames[1]);
    assert!(
        matches!(
            failed[..],
            [sink::Failed {
                error: Error::Closed,
                ..
            }]
        ),
        "{failed:?}"
    );
    assert!(watched.next(LONG).unwrap().same_frame(&frames[1]));
    assert_eq!(sinks.finish()[0].as_ref().unwrap().frames, 1);
    assert!(watched.has_ended());
}

#[test]
fn a_reader_on_a_thread_of_its_own_waits_for_frames_and_for_the_end() {
    let latest = Latest::new(|| {});
    let begin = std::time::Instant::now();
    assert!(latest.next(Duration::from_millis(20)).is_none());
    assert!(begin.elapsed() >= Duration::from_millis(20));
    let reader = std::thread::spawn({
        let latest = latest.clone();
        move || std::iter::from_fn(|| latest.next(LONG)).count()
    });
    for n in 0..5 {
        assert!(latest.put(picture(Fourcc::R8, Size::new(4, 4), n)));
        std::thread::sleep(Duration::from_millis(5));
    }
    latest.end();
    let (seen, replaced) = (reader.join().unwrap() as u64, latest.replaced());
    assert_eq!(seen + replaced, 5);
    assert!(begin.elapsed() < LONG, "woken by the end, not by the deadline");
}

/// A sink of an application's own: takes two, and fails.
struct Two(Arc<Hop>);

impl Sink for Two {
    fn take(&mut self, _: &Frame) -> Result<Taken, Error> {
        if self.0.counts().frames == 2 {
            return Err(Error::Closed);
        }
        self.0.zero_copy();
        Ok(Taken::Shared)
    }

    fn hop(&self) -> &Arc<Hop> {
        &self.0
    }

    fn finish(self: Box<Self>) -> Result<Summary, Error> {
        Err(Error::Closed)
    }
}

#[test]
fn a_warning_stays_whatever_frames_come_and_a_message_does_not() {
    let wakes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&wakes);
    let latest = Latest::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    latest.say("gone");
    for text in ["the recording ended", "and so did the camera"] {
        latest.warn(text);
    }
    assert_eq!(wakes.load(Ordering::Relaxed), 3, "the reader is told of each");
    assert!(latest.put(picture(Fourcc::R8, Size::new(4, 4), 0)) && latest.try_next().is_some());
    assert_eq!(latest.message(), None);
    assert_eq!(
        latest.warnings(),
        ["the recording ended", "and so did the camera"]
    );
}

#[test]
fn sinks_of_an_applications_own_are_as_good_as_ours() {
    let mut sinks = Fanout::new();
    sinks.push(Box::new(Two(Hop::new("mine"))));
    let frame = picture(Fourcc::R8, Size::new(4, 4), 0);
    let failed: Vec<_> = (0..3).map(|_| sinks.take(&frame).len()).collect();
    assert_eq!(failed, [0, 0, 1]);
    assert!(sinks.is_empty());
    sinks.push(Box::new(Two(Hop::new("mine"))));
    let end = sinks.finish().pop().unwrap().unwrap_err();
    assert_eq!(
        end.to_string(),
        "mine ended: the reader of the newest picture has closed it"
    );
}

#[cfg(not(all(feature = "gstreamer", feature = "pipewire")))]
#[test]
fn what_was_not_built_is_said_with_the_feature_and_the_packages() {
    let frame = picture(Fourcc::R8, Size::new(4, 4), 0);
    let opening = Opening::of(&frame);
    if cfg!(not(feature = "gstreamer")) {
        let error = sink::record("a.mkv", &opening, &mut Vec::new()).err().unwrap();
        assert!(
            error.to_string().contains("build with `--features gstreamer`"),
            "{error}"
        );
    }
    if cfg!(not(feature = "pipewire")) {
        let error = sink::virtual_camera("a", &opening).err().unwrap();
        assert!(
            error.to_string().contains("build with `--features pipewire`"),
            "{error}"
        );
    }
}
