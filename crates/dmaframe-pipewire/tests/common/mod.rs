//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses some of it")]

pub(crate) mod sys;

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_alloc::{Chain, FramePool, Request};
use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Fourcc, Frame, Modifier, Size};
use dmaframe_pipewire::{
    CameraBuilder, CameraEvent, CaptureBuilder, CaptureStream, Error, Event, Target, VirtualCamera,
};
use dmaframe_testkit::{Daemon, connect, end};

/// Longer than anything takes; a wait that ends here is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const SMALL: Size = Size::new(64, 48);

/// PipeWire's programs on the PATH, or the test is skipped visibly (and fails in the lab).
#[macro_export]
macro_rules! need_pipewire {
    () => {
        dmaframe_testkit::need!(dmaframe_testkit::Device::Program("pipewire"));
        dmaframe_testkit::need!(dmaframe_testkit::Device::Udmabuf);
    };
}

pub(crate) fn set(fourcc: Fourcc, modifiers: &[Modifier]) -> FormatSet {
    let set = FormatSet::new("test");
    modifiers
        .iter()
        .fold(set, |set, modifier| set.with(fourcc, *modifier))
}

/// XRGB8888 LINEAR, with or without shared memory beside it.
pub(crate) fn linear() -> FormatSet {
    set(Fourcc::XRGB8888, &[Modifier::LINEAR])
}

/// A small camera called "cam".
pub(crate) fn camera(daemon: &Daemon) -> CameraBuilder {
    VirtualCamera::builder("cam")
        .remote(daemon.remote())
        .formats(linear())
        .size(SMALL)
}

/// A consumer of that name, which waits to be linked.
pub(crate) fn capture(daemon: &Daemon, name: &str) -> CaptureBuilder {
    capture_of(daemon.remote(), name)
}

/// The same of a connection.
pub(crate) fn capture_of(remote: OwnedFd, name: &str) -> CaptureBuilder {
    CaptureStream::builder()
        .remote(remote)
        .name(name)
        .target(Target::Unlinked)
        .formats(linear())
}

/// The camera, which shows pictures from now on, and its reader, a [`capture`] called "reader".
pub(crate) fn play(
    daemon: &Daemon,
    camera: CameraBuilder,
    reader: CaptureBuilder,
) -> (Arc<VirtualCamera>, CaptureStream, Producer) {
    let camera = Arc::new(camera.start().unwrap());
    let stream = reader.start().unwrap();
    daemon.link("cam", "reader");
    let producer = Producer::start(camera.clone(), Duration::from_millis(5));
    (camera, stream, producer)
}

/// The camera still has pictures for another consumer.
pub(crate) fn serves(daemon: &Daemon, camera: &Arc<VirtualCamera>, name: &str) {
    let stream = capture(daemon, name).start().unwrap();
    daemon.link("cam", name);
    let producer = Producer::start(camera.clone(), Duration::from_millis(5));
    assert!(number(&frame(&stream)).is_some(), "a torn picture for {name}");
    producer.stop();
}

/// What ends the wait of a consumer that cannot be served.
pub(crate) fn refusal(stream: &CaptureStream) -> Error {
    refusal_in(stream, |frame| panic!("{frame:?}"))
}

/// What ends a consumer that had pictures.
pub(crate) fn refusal_after_frames(stream: &CaptureStream) -> Error {
    refusal_in(stream, drop)
}

fn refusal_in(stream: &CaptureStream, frame: impl Fn(Frame)) -> Error {
    loop {
        match stream.next(PATIENCE) {
            Ok(Some(Event::Frame(it))) => frame(it),
            Ok(Some(_)) => {}
            Ok(None) => panic!("the consumer was told nothing"),
            Err(error) => return error,
        }
    }
}

/// What a camera is told of a consumer that it cannot serve.
pub(crate) fn refused(camera: &VirtualCamera) -> Error {
    loop {
        let event = camera.next(PATIENCE).unwrap();
        if let CameraEvent::Refused(error) = event.expect("the camera was told nothing") {
            return error;
        }
    }
}

/// A pool of the camera's pictures.
pub(crate) fn pool(slots: usize) -> FramePool {
    let request = Request::new(Fourcc::XRGB8888, SMALL);
    let pool = FramePool::builder(request).slots(slots);
    pool.allocator(Chain::dmabuf()).build().unwrap()
}

/// Row `y` of picture `n`: everything follows from the number, so that rows of two pictures are told apart.
pub(crate) fn pattern(n: u32, y: u32, row: &mut [u8]) {
    let word = (n.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca6b)).to_le_bytes();
    for pixel in row.chunks_exact_mut(4) {
        pixel.copy_from_slice(&word);
    }
    if y == 0 {
        row[..4].copy_from_slice(&n.to_le_bytes());
    }
}

/// Writes picture `n`.
pub(crate) fn paint(frame: &mut Frame, n: u32) {
    let size = frame.layout().size();
    let mut row = vec![0; frame.layout().row_bytes(0)];
    let mut view = frame.map_write(PATIENCE).unwrap();
    for y in 0..size.height {
        pattern(n, y, &mut row);
        view.write_row(0, y, &row).unwrap();
    }
}

/// The number of the picture, or `None` where rows of two pictures are in it.
pub(crate) fn number(frame: &Frame) -> Option<u32> {
    let size = frame.layout().size();
    let view = frame.map_read(PATIENCE).unwrap();
    let len = view.layout().row_bytes(0);
    let (mut found, mut wanted) = (vec![0; len], vec![0; len]);
    view.copy_row(0, 0, &mut found).unwrap();
    let n = u32::from_le_bytes(found[..4].try_into().unwrap());
    for y in 0..size.height {
        view.copy_row(0, y, &mut found).unwrap();
        pattern(n, y, &mut wanted);
        if found != wanted {
            return None;
        }
    }
    Some(n)
}

/// The next frame, whatever else is told before it.
pub(crate) fn frame(stream: &CaptureStream) -> Frame {
    stream
        .next_frame(PATIENCE)
        .unwrap()
        .expect("no frame within the patience")
}

/// Waits until the camera is watched.
pub(crate) fn watched(camera: &VirtualCamera) -> dmaframe_core::Layout {
    loop {
        let event = camera.next(PATIENCE).unwrap().expect("nobody watches");
        if let CameraEvent::Format { layout, .. } = event {
            return layout;
        }
    }
}

/// A camera is live: a consumer sees what is pushed after it has started. Pushes until it has, and takes what it saw.
pub(crate) fn started(camera: &VirtualCamera, stream: &CaptureStream, mut next: impl FnMut() -> Frame) {
    let start = Instant::now();
    loop {
        camera.push(next(), PATIENCE).unwrap();
        if stream.next_frame(Duration::from_millis(50)).unwrap().is_some() {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the consumer never started");
    }
    while stream.next_frame(Duration::from_millis(50)).unwrap().is_some() {}
}

/// Waits for an event.
pub(crate) fn until(stream: &CaptureStream, mut wanted: impl FnMut(&Event) -> bool) -> Event {
    loop {
        let event = stream.next(PATIENCE).unwrap().expect("the event has not come");
        if wanted(&event) {
            return event;
        }
    }
}

/// Publishes pictures until told to stop, at a pace.
pub(crate) struct Producer {
    stop: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<u32>>,
}

impl Producer {
    pub(crate) fn start(camera: Arc<VirtualCamera>, pause: Duration) -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let mut n = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    match camera.acquire(Duration::from_millis(50)) {
                        Ok(mut frame) => {
                            n += 1;
                            paint(&mut frame, n);
                            let _ = camera.push(frame, Duration::ZERO);
                        }
                        Err(Error::Starved { .. }) => {}
                        Err(_) => break,
                    }
                    if !pause.is_zero() {
                        std::thread::sleep(pause);
                    }
                }
                n
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// How many pictures there were.
    pub(crate) fn stop(mut self) -> u32 {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

const ROLE: &str = "DMAFRAME_PIPEWIRE_ROLE";
const SOCKET: &str = "DMAFRAME_PIPEWIRE_SOCKET";

/// What this process is to play, and its connection, if [`Other`] started it.
pub(crate) fn role() -> Option<(String, OwnedFd)> {
    let role = std::env::var(ROLE).ok()?;
    Some((role, connect(std::env::var(SOCKET).ok()?.as_ref())))
}

/// This test binary in another role, and what it tells.
pub(crate) struct Other {
    pub(crate) child: Child,
    told: std::sync::mpsc::Receiver<String>,
}

impl Other {
    pub(crate) fn start(daemon: &Daemon, role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_other_process", "--nocapture"])
            .env(ROLE, role)
            .env(SOCKET, daemon.socket())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some((_, line)) = line.split_once("tell: ") {
                    let _ = tell.send(line.to_owned());
                }
            }
        });
        Self { child, told }
    }

    pub(crate) fn wait_for(&self, what: &str) -> String {
        let start = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let line = self.told.recv_timeout(left);
            let line = line.unwrap_or_else(|e| panic!("the other process never said {what}: {e}"));
            if line.starts_with(what) {
                return line;
            }
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
