//! PipeWire's real daemons, found on the PATH, each test with its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything takes, also on a machine that is at other work; a wait that ends here is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// PipeWire with a socket and a folder of its own; killed when dropped. Several may run at once.
///
/// Methods panic where the daemon or its tools fail: a test that needs them has failed.
#[derive(Debug)]
pub struct Daemon {
    dir: PathBuf,
    child: Child,
    others: Vec<Child>,
    bus: Option<String>,
}

/// Kills a process and reaps it.
pub fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

impl Daemon {
    /// PipeWire alone: links are made by hand.
    #[must_use]
    pub fn bare() -> Self {
        Self::start(None)
    }

    fn start(bus: Option<(Child, String)>) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("dmaframe-pw-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (others, bus) = bus.map_or((Vec::new(), None), |(child, bus)| (vec![child], Some(bus)));
        let child = Self::spawn(&dir, bus.as_deref());
        let daemon = Self {
            dir,
            child,
            others,
            bus,
        };
        daemon.wait_for_socket();
        daemon
    }

    /// With a session bus and WirePlumber, which makes links and knows default devices.
    #[must_use]
    pub fn with_session_manager() -> Self {
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
        // PipeWire too: it knows the portal by its name on the bus.
        let mut daemon = Self::start(Some((bus, address.trim().to_owned())));
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

    fn spawn(dir: &Path, bus: Option<&str>) -> Child {
        let log = fs::File::create(dir.join("pw.log")).unwrap();
        let mut command = Command::new("pipewire");
        environment(&mut command, dir, bus);
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

    /// What a daemon has written: `pw.log`, `wp.log` or `portal.log`.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// The socket it listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("pipewire-0")
    }

    /// A folder that goes with the daemon.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The session bus's address, of a daemon with a session manager.
    #[must_use]
    pub fn bus(&self) -> &str {
        self.bus.as_deref().expect("a daemon without a bus")
    }

    /// A connection for a stream.
    #[must_use]
    pub fn remote(&self) -> OwnedFd {
        connect(&self.socket())
    }

    /// A program that talks to this daemon.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        environment(&mut command, &self.dir, self.bus.as_deref());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        self.command(program).args(args).output().unwrap()
    }

    /// Runs it to its end, for what it writes to stdout and stderr.
    #[must_use]
    pub fn output(&self, program: &str, args: &[&str]) -> String {
        let output = self.run(program, args);
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    }

    /// Links a camera to a capture, by their node names.
    pub fn link(&self, camera: &str, capture: &str) {
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

    /// Undoes [`Daemon::link`].
    pub fn unlink(&self, camera: &str, capture: &str) {
        let (from, to) = (format!("{camera}:capture_1"), format!("{capture}:input_1"));
        let said = self.run("pw-link", &["-d", &from, &to]);
        assert!(said.status.success(), "{said:?}");
    }

    /// Ends the daemon and starts it again.
    pub fn restart(&mut self) {
        end(&mut self.child);
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_file(self.dir.join("pipewire-0.lock"));
        self.child = Self::spawn(&self.dir, self.bus.as_deref());
        self.wait_for_socket();
    }

    /// `gst-launch-1.0` or another program of GStreamer's, with [`few_plugins`].
    #[must_use]
    pub fn gst(&self, program: &str) -> Command {
        let mut command = self.command(program);
        few_plugins(&mut command, &self.dir);
        command
    }
}

/// Gives a program that uses GStreamer few plugins to look through, since a guest starts with an empty registry. Links to
/// them, and the registry, go into `dir`.
pub fn few_plugins(command: &mut Command, dir: &Path) {
    let plugins = dir.join("gst");
    if !plugins.exists() {
        fs::create_dir_all(&plugins).unwrap();
        let folders = [
            "/usr/lib/x86_64-linux-gnu/gstreamer-1.0",
            "/usr/lib64/gstreamer-1.0",
        ];
        for folder in folders.map(Path::new) {
            for name in [
                "app",
                "coreelements",
                "imagefreeze",
                "pipewire",
                "video4linux2",
                "videoconvertscale",
                "videofilter",
                "videotestsrc",
            ] {
                let file = folder.join(format!("libgst{name}.so"));
                if let (true, Some(name)) = (file.exists(), file.file_name()) {
                    std::os::unix::fs::symlink(&file, plugins.join(name)).unwrap();
                }
            }
        }
    }
    command
        .env("GST_PLUGIN_SYSTEM_PATH_1_0", &plugins)
        .env("GST_REGISTRY_1_0", dir.join("gst-registry"))
        .env("GST_REGISTRY_FORK", "no");
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

fn environment(command: &mut Command, dir: &Path, bus: Option<&str>) {
    command
        .env("XDG_RUNTIME_DIR", dir)
        .env("PIPEWIRE_RUNTIME_DIR", dir)
        .env("HOME", dir)
        .env("XDG_STATE_HOME", dir)
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
        .stdin(Stdio::null());
    if let Some(bus) = bus {
        command.env("DBUS_SESSION_BUS_ADDRESS", bus);
    }
}

/// A connection to the daemon that listens there.
#[must_use]
pub fn connect(socket: &Path) -> OwnedFd {
    UnixStream::connect(socket).unwrap().into()
}
