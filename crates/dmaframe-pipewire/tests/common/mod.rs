//! Real daemons for tests, found on the PATH, each test with its own.
#![allow(dead_code, reason = "each test binary uses some of it")]

pub(crate) mod sys;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Fourcc, Frame, Modifier, Size};
use dmaframe_pipewire::{CameraEvent, CaptureStream, Error, Event, VirtualCamera};

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

/// A daemon with a socket of its own; killed when dropped.
pub(crate) struct Daemon {
    dir: PathBuf,
    child: Child,
    others: Vec<Child>,
    bus: Option<String>,
}

/// Kills and reaps.
pub(crate) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

impl Daemon {
    /// PipeWire alone: links are made by hand.
    pub(crate) fn bare() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("dmaframe-pw-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let child = Self::spawn(&dir);
        let daemon = Self {
            dir,
            child,
            others: Vec::new(),
            bus: None,
        };
        daemon.wait_for_socket();
        daemon
    }

    /// With a session bus and WirePlumber, which makes links and knows default devices.
    pub(crate) fn with_session_manager() -> Self {
        let mut daemon = Self::bare();
        let mut bus = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address=1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        daemon.others.push(bus);
        daemon.bus = Some(address.trim().to_owned());
        let log = fs::File::create(daemon.dir.join("wp.log")).unwrap();
        let manager = daemon
            .command("wireplumber")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        daemon.others.push(manager);
        // It has looked at the devices once it lists nodes of theirs.
        let start = Instant::now();
        while !daemon.output("pw-cli", &["ls", "Node"]).contains("v4l2_input") {
            assert!(
                start.elapsed() < PATIENCE,
                "WirePlumber lists no camera: {}",
                daemon.log("wp.log")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        daemon
    }

    fn spawn(dir: &Path) -> Child {
        let log = fs::File::create(dir.join("pw.log")).unwrap();
        let mut command = Command::new("pipewire");
        environment(&mut command, dir);
        command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn wait_for_socket(&self) {
        let start = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            assert!(
                start.elapsed() < PATIENCE,
                "PipeWire has not started: {}",
                self.log("pw.log")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("pipewire-0")
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A connection for a stream.
    pub(crate) fn remote(&self) -> OwnedFd {
        connect(&self.socket())
    }

    /// A program that talks to this daemon.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        environment(&mut command, &self.dir);
        if let Some(bus) = &self.bus {
            command.env("DBUS_SESSION_BUS_ADDRESS", bus);
        }
        command
    }

    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Output {
        self.command(program).args(args).output().unwrap()
    }

    /// What it writes, both ways together.
    pub(crate) fn output(&self, program: &str, args: &[&str]) -> String {
        let output = self.run(program, args);
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    }

    /// Links a camera to a capture, by their node names.
    pub(crate) fn link(&self, camera: &str, capture: &str) {
        let (from, to) = (format!("{camera}:capture_1"), format!("{capture}:input_1"));
        let start = Instant::now();
        loop {
            let said = self.run("pw-link", &[&from, &to]);
            // A link that was made and has failed since: for some tests the very point.
            let made = String::from_utf8_lossy(&said.stderr).contains("failed to link ports: Success");
            if said.status.success() || made {
                return;
            }
            let ports = || self.output("pw-link", &["-io"]);
            assert!(
                start.elapsed() < PATIENCE,
                "{from} and {to} cannot be linked: {said:?}, ports {}",
                ports()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn unlink(&self, camera: &str, capture: &str) {
        let (from, to) = (format!("{camera}:capture_1"), format!("{capture}:input_1"));
        let said = self.run("pw-link", &["-d", &from, &to]);
        assert!(said.status.success(), "{said:?}");
    }

    /// Ends the daemon and starts it again.
    pub(crate) fn restart(&mut self) {
        end(&mut self.child);
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_file(self.dir.join("pipewire-0.lock"));
        self.child = Self::spawn(&self.dir);
        self.wait_for_socket();
    }

    /// gst-launch-1.0 with few plugins to look through, since a guest starts with an empty registry.
    pub(crate) fn gst(&self, program: &str) -> Command {
        let plugins = self.dir.join("gst");
        if !plugins.exists() {
            fs::create_dir_all(&plugins).unwrap();
            let mut folders = vec![PathBuf::from("/usr/lib/x86_64-linux-gnu/gstreamer-1.0")];
            folders.push("/usr/lib64/gstreamer-1.0".into());
            for folder in folders {
                for name in [
                    "coreelements",
                    "pipewire",
                    "videoconvertscale",
                    "videofilter",
                    "videotestsrc",
                    "imagefreeze",
                ] {
                    let file = folder.join(format!("libgst{name}.so"));
                    if file.exists() {
                        std::os::unix::fs::symlink(&file, plugins.join(file.file_name().unwrap())).unwrap();
                    }
                }
            }
        }
        let mut command = self.command(program);
        command
            .env("GST_PLUGIN_SYSTEM_PATH_1_0", &plugins)
            .env("GST_REGISTRY_1_0", self.dir.join("gst-registry"))
            .env("GST_REGISTRY_FORK", "no");
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for child in self.others.iter_mut().rev() {
            end(child);
        }
        end(&mut self.child);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn environment(command: &mut Command, dir: &Path) {
    command
        .env("XDG_RUNTIME_DIR", dir)
        .env("PIPEWIRE_RUNTIME_DIR", dir)
        .env("HOME", dir)
        .env("XDG_STATE_HOME", dir)
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
        .stdin(Stdio::null());
}

pub(crate) fn connect(socket: &Path) -> OwnedFd {
    UnixStream::connect(socket).unwrap().into()
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
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<u32>>,
}

impl Producer {
    pub(crate) fn start(camera: std::sync::Arc<VirtualCamera>, pause: Duration) -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
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
