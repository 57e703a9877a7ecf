//! The desktop's portal as a source: xdg-desktop-portal, WirePlumber and PipeWire as they are. What the user says is in the
//! portal's memory; who asks him is tested with `dmaframe-pipewire`.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dmaframe::negotiate::FormatSet;
use dmaframe::pipewire::VirtualCamera;
use dmaframe::pipewire::portal::{PATIENCE, Request};
use dmaframe::source::{Error, Next, Remote, Source, Unguarded, Which, Wish};
use dmaframe::{Fourcc, Modifier, Size};
use dmaframe_testkit::{Daemon, Device, PORTAL, Portal, need};

/// A wait that reaches it is a hang.
const LONG: Duration = Duration::from_secs(20);
const SIZE: Size = Size::new(320, 180);

fn wish(which: Which) -> Wish {
    Wish::new(which)
        .size(SIZE)
        .patience(LONG)
        .unguarded(Unguarded::InPlace)
        .consumer(FormatSet::new("encoder").with(Fourcc::NV12, Modifier::LINEAR))
}

fn open(which: &str) -> Result<Source, Error> {
    Source::open(&wish(which.parse().unwrap()), &mut Vec::new())
}

fn ten_frames(source: &mut Source) {
    for _ in 0..10 {
        match source.next(LONG) {
            Next::Frame(frame) => {
                assert!(frame.as_dmabuf().is_some(), "{frame:?}");
                assert_eq!((frame.fourcc(), frame.layout().size()), (Fourcc::NV12, SIZE));
            }
            other => panic!("{}: {other:?}", source.describe()),
        }
    }
}

#[test]
fn the_portals_camera_is_a_source() {
    need!(Device::Program("pipewire"));
    need!(Device::Program(PORTAL));
    need!(Device::Program("gdbus"));
    need!(Device::Capture("vivid"));
    let daemon = Daemon::with_session_manager();
    common::sys::set_env("DBUS_SESSION_BUS_ADDRESS", daemon.bus().as_ref());
    let portal = Portal::start(&daemon);

    portal.remember(Some(false));
    let refused = open("portal").unwrap_err().to_string();
    assert!(refused.contains("the user refused"), "{refused}");

    portal.remember(Some(true));
    let access = Request::camera(PATIENCE).unwrap().answer(LONG).unwrap();
    let nodes = access.nodes().unwrap();
    let vivid = nodes.iter().find(|node| node.name.contains("vivid")).unwrap();
    let missing = open("portal:nobody").unwrap_err().to_string();
    assert!(
        missing.contains("'nobody' that the portal shows: there are ") && missing.contains(&vivid.name),
        "{missing}"
    );
    // Asked for by who opens it, and granted before: both at once.
    let mut ours = open(&format!("portal:{}", vivid.name)).unwrap();
    ten_frames(&mut ours);
    assert_eq!(ours.hop().counts().cpu_bytes, 0);

    drop(ours);

    // Granted to who asked himself; taken out of the graph, and there again under another id.
    let camera = Published::new(&daemon);
    let start = Instant::now();
    let id = loop {
        let nodes = access.nodes().unwrap();
        if let Some(node) = nodes.iter().find(|node| node.name == NAME) {
            break node.id;
        }
        assert!(start.elapsed() < LONG, "{nodes:?}");
    };
    let wish = Wish::new(Which::Remote(Remote::granted(access, Some(id)))).size(SIZE);
    let mut source = Source::open(&wish, &mut Vec::new()).unwrap();
    assert_eq!(source.describe(), format!("{NAME} (PipeWire)"));
    until(&mut source, |next| matches!(next, Next::Frame(_)));
    drop(camera);
    until(&mut source, |next| matches!(next, Next::Gone(_)));
    let _camera = Published::new(&daemon);
    until(&mut source, |next| matches!(next, Next::Back));
    until(&mut source, |next| matches!(next, Next::Frame(_)));
}

fn until(source: &mut Source, wanted: impl Fn(&Next) -> bool) {
    let start = Instant::now();
    loop {
        let next = source.next(LONG);
        if wanted(&next) {
            return;
        }
        assert!(start.elapsed() < LONG, "{next:?}");
    }
}

const NAME: &str = "published";

/// A camera of ours, which gives pictures until it is dropped.
struct Published {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Published {
    fn new(daemon: &Daemon) -> Self {
        let formats = FormatSet::new("cam").with(Fourcc::XRGB8888, Modifier::LINEAR);
        let camera = VirtualCamera::builder(NAME)
            .remote(daemon.remote())
            .formats(formats);
        let camera = camera.size(SIZE).start().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(frame) = camera.acquire(Duration::from_millis(20)) {
                        let _ = camera.push(frame, Duration::from_millis(20));
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        let thread = Some(thread);
        Self { stop, thread }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}
