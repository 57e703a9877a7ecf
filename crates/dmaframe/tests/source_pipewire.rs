//! PipeWire's cameras, with the real daemons: vivid by its node's name, and a virtual camera that goes and comes back.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dmaframe::negotiate::FormatSet;
use dmaframe::pipewire::VirtualCamera;
use dmaframe::source::{Error, Next, Placeholder, Source, Unguarded, Which, Wish};
use dmaframe::v4l2::PixelFormat;
use dmaframe::{Fourcc, Frame, Modifier, Size};
use dmaframe_testkit::{Daemon, Device, need};

/// A wait that reaches it is a hang.
const LONG: Duration = Duration::from_secs(20);
const SIZE: Size = Size::new(320, 180);

/// A camera of ours, painted until it is dropped.
struct Painted {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Painted {
    fn new(luma: u8) -> Self {
        let formats = FormatSet::new("cam").with(Fourcc::XRGB8888, Modifier::LINEAR);
        let camera = VirtualCamera::builder("painted")
            .formats(formats)
            .size(SIZE)
            .start()
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(mut frame) = camera.acquire(Duration::from_millis(20)) {
                        let row = vec![luma; SIZE.width as usize * 4];
                        let mut view = frame.map_write(LONG).unwrap();
                        for y in 0..SIZE.height {
                            view.write_row(0, y, &row).unwrap();
                        }
                        drop(view);
                        let _ = camera.push(frame, Duration::from_millis(20));
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        let thread = Some(thread);
        Self { stop, thread }
    }
}

impl Drop for Painted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn frame(source: &mut Source) -> Frame {
    match source.next(LONG) {
        Next::Frame(frame) => frame,
        other => panic!("{}: {other:?}", source.describe()),
    }
}

fn luma(frame: &Frame) -> u8 {
    let mut row = vec![0; SIZE.width as usize * 4];
    frame.map_read(LONG).unwrap().copy_row(0, 100, &mut row).unwrap();
    row[400]
}

/// The driver's own dma-bufs, through the daemon, which fills them again whoever holds them: it is counted.
fn its_own_memory_is_for_who_is_quick(wish: &Wish) {
    let wish = wish.clone().unguarded(Unguarded::InPlace);
    let mut source = Source::open(&wish, &mut Vec::new()).unwrap();
    for _ in 0..100 {
        let frame = frame(&mut source);
        assert!(frame.as_dmabuf().is_some(), "{frame:?}");
        assert_eq!((frame.fourcc(), frame.layout().size()), (Fourcc::NV12, SIZE));
    }
    let counts = source.hop().counts();
    assert!(
        counts.frames >= 100 && counts.zero_copy == counts.frames,
        "{counts}"
    );
    assert_eq!(counts.cpu_bytes, 0, "{counts}");
    let lost = source.stats().lost();
    let held = frame(&mut source);
    (0..40).for_each(|_| drop(frame(&mut source)));
    let stats = source.stats();
    assert!(stats.overwritten > 0 && stats.lost() > lost, "{stats:?}");
    let counts = source.hop().counts();
    assert!(
        counts.reason.unwrap().contains("filled a buffer again"),
        "{counts}"
    );
    drop(held);
}

/// What anybody gets who says nothing.
fn a_held_picture_stays_as_it_was(wish: &Wish) {
    let mut source = Source::open(wish, &mut Vec::new()).unwrap();
    let held = frame(&mut source);
    let pixels = |frame: &Frame| frame.map_read(LONG).unwrap().to_tight().unwrap();
    let before = pixels(&held);
    (0..40).for_each(|_| drop(frame(&mut source)));
    assert!(pixels(&held) == before, "a held picture was overwritten");
    let (stats, counts) = (source.stats(), source.hop().counts());
    assert_eq!(
        (stats.overwritten, stats.detached),
        (0, stats.delivered),
        "{stats:?}"
    );
    assert!(
        counts.reason.unwrap().contains("takes its buffers back"),
        "{counts}"
    );
}

/// The daemon finds out, when the stream is there.
fn a_format_that_the_node_has_not_got_is_no_picture_in_another(wish: &Wish) {
    let wish = wish.clone().format(PixelFormat::new(b"P010"));
    let mut source = Source::open(&wish, &mut Vec::new()).unwrap();
    match source.next(LONG) {
        Next::Gone(reason) => assert!(reason.contains("format"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

// One after the other: they share the daemon's name in the environment.
#[test]
fn cameras_of_pipewire_are_listed_read_and_found_again() {
    need!(Device::Program("pipewire"));
    need!(Device::Udmabuf);
    need!(Device::Capture("vivid"));
    let daemon = Daemon::with_session_manager();
    for name in ["XDG_RUNTIME_DIR", "PIPEWIRE_RUNTIME_DIR"] {
        common::sys::set_env(name, daemon.dir().as_os_str());
    }

    let listed = Source::list();
    let vivid = listed
        .iter()
        .find(|found| found.driver == "PipeWire" && found.which.to_string().contains("vivid"))
        .expect("vivid's node");
    let wish = Wish::new(vivid.which.clone())
        .size(SIZE)
        .consumer(FormatSet::new("encoder").with(Fourcc::NV12, Modifier::LINEAR));
    its_own_memory_is_for_who_is_quick(&wish);
    a_held_picture_stays_as_it_was(&wish);
    a_format_that_the_node_has_not_got_is_no_picture_in_another(&wish);

    let missing = Source::open(
        &Wish::new(Which::Pipewire(Some("nobody".into()))),
        &mut Vec::new(),
    );
    let missing = missing.unwrap_err();
    assert!(matches!(&missing, Error::NotFound { .. }), "{missing}");
    assert!(
        missing.to_string().contains("'nobody' in PipeWire: there are "),
        "{missing}"
    );

    // A camera that is taken out of the graph, and another one of its name.
    // Asked for by its serial number, which the other one has not got.
    let mut camera = Painted::new(50);
    let start = Instant::now();
    let serial = loop {
        // The session manager has to see it first.
        let nodes = dmaframe::pipewire::video_sources(Some(daemon.remote()), LONG).unwrap();
        match nodes.into_iter().find(|node| node.name == "painted") {
            Some(node) => break node.serial.expect("a serial number"),
            None => assert!(start.elapsed() < LONG, "not listed"),
        }
    };
    let wish = Wish::new(Which::Pipewire(Some(serial)))
        .size(SIZE)
        .placeholder(true);
    let mut source = Source::open(&wish, &mut Vec::new()).unwrap();
    assert_eq!(source.describe(), "painted (PipeWire)");
    for round in 1..=3_u8 {
        let held = frame(&mut source);
        let shown = luma(&held);
        drop(camera);
        let start = Instant::now();
        let reason = loop {
            match source.next(LONG) {
                Next::Gone(reason) => break reason,
                Next::Frame(_) => assert!(start.elapsed() < LONG),
                other => panic!("{other:?}"),
            }
        };
        assert!(reason.contains("removed"), "{reason}");
        let still = frame(&mut source);
        assert!(still.meta().extensions.get::<Placeholder>().is_some());
        assert_eq!(still.layout().size(), SIZE);
        assert_eq!(luma(&held), shown, "a frame in hand outlives its node");
        camera = Painted::new(50 + round);
        let start = Instant::now();
        loop {
            match source.next(LONG) {
                Next::Back => break,
                Next::Frame(_) => assert!(start.elapsed() < LONG, "not found again"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(luma(&frame(&mut source)), 50 + round, "the new one's picture");
        assert_eq!(source.stats().replugs, u64::from(round));
    }
    drop(source);

    // As a portal gives it: a connection of its own, and the default camera. The session manager may choose another one, so
    // it is asked for by its node's id.
    let nodes = dmaframe::pipewire::video_sources(Some(daemon.remote()), LONG).unwrap();
    let id = nodes.iter().find(|node| node.name == "painted").unwrap().id;
    let remote = dmaframe::source::Remote::new(daemon.remote(), Some(id));
    let wish = Wish::new(Which::Remote(remote)).size(SIZE);
    let mut source = Source::open(&wish, &mut Vec::new()).unwrap();
    assert_eq!(luma(&frame(&mut source)), 53);
    let again = Source::open(&wish, &mut Vec::new()).unwrap_err().to_string();
    assert!(again.contains("ask the portal for another one"), "{again}");
    drop((camera, source));
}

#[test]
fn an_encoded_format_asked_for_of_pipewire_is_refused_before_anybody_is_asked() {
    // No daemon behind it: nobody gets as far as that.
    let socket = std::fs::File::open("/dev/null").unwrap().into();
    let remote = dmaframe::source::Remote::new(socket, None);
    let wish = Wish::new(Which::Remote(remote)).format(PixelFormat::MJPEG);
    let error = Source::open(&wish, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
    assert!(error.to_string().contains("PipeWire gives no MJPG"), "{error}");
}
