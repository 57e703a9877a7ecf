//! Display servers without a display, and what is on their screens.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use x11rb::connection::Connection;
use x11rb::protocol::xproto::{ConfigureWindowAux, ConnectionExt as _, InputFocus, Window};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use super::picture::{Picture, read_png};
use super::{signal, until};

/// A child that is not left behind.
pub(crate) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// `None`, and a visible skip, where the program is not installed; the lab has it.
fn start(command: &mut Command) -> Option<Child> {
    match command.stdout(Stdio::null()).spawn() {
        Ok(child) => Some(child),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            dmaframe_testkit::skip(&format!("no {:?}", command.get_program()));
            None
        }
        Err(error) => panic!("{command:?}: {error}"),
    }
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A Wayland desktop in memory, drawn by software. Every window takes the whole screen.
pub(crate) struct Sway {
    child: Child,
    folder: PathBuf,
}

impl Sway {
    pub(crate) fn start((width, height): (usize, usize), refresh: u32) -> Option<Self> {
        let folder = scratch("sway");
        let config = folder.join("config");
        let text = format!(
            "xwayland disable\noutput HEADLESS-1 mode --custom {width}x{height}@{refresh}Hz\noutput * bg #204060 solid_color\n\
             default_border none\nfor_window [app_id=\".*\"] fullscreen enable\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("sway");
        command
            .arg("-c")
            .arg(&config)
            .env("XDG_RUNTIME_DIR", &folder)
            .envs([
                ("WLR_BACKENDS", "headless"),
                ("WLR_RENDERER", "pixman"),
                ("WLR_LIBINPUT_NO_DEVICES", "1"),
            ])
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        let child = start(&mut command)?;
        let sway = Self { child, folder };
        until("sway", || sway.socket("wayland-").and(sway.socket("sway-ipc")));
        Some(sway)
    }

    fn socket(&self, name: &str) -> Option<PathBuf> {
        let mut entries = fs::read_dir(&self.folder)
            .ok()?
            .flatten()
            .map(|entry| entry.path());
        entries.find(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with(name) && !file.ends_with(".lock")
        })
    }

    /// For programs that are to appear here.
    pub(crate) fn environment(&self, command: &mut Command) {
        command
            .env("XDG_RUNTIME_DIR", &self.folder)
            .env("WAYLAND_DISPLAY", self.socket("wayland-").unwrap())
            .env_remove("DISPLAY");
    }

    pub(crate) fn command(&self, text: &str) {
        let socket = self.socket("sway-ipc").unwrap();
        let output = Command::new("swaymsg")
            .arg("-s")
            .arg(socket)
            .arg("--")
            .arg(text)
            .output()
            .unwrap();
        assert!(output.status.success(), "{text}: {output:?}");
    }

    /// It dies.
    pub(crate) fn kill(&mut self) {
        end(&mut self.child);
    }

    /// What is on the screen.
    pub(crate) fn shot(&self) -> Picture {
        let mut grim = Command::new("grim");
        self.environment(&mut grim);
        let output = grim.args(["-t", "png", "-l", "0", "-"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        read_png(&output.stdout)
    }
}

impl Drop for Sway {
    fn drop(&mut self) {
        end(&mut self.child);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A Wayland desktop in memory, drawn by OpenGL, which reads what windows give it as a GPU does. The one window takes the whole
/// screen.
pub(crate) struct Weston {
    child: Child,
    folder: PathBuf,
}

impl Weston {
    const SOCKET: &str = "weston-0";

    pub(crate) fn start((width, height): (usize, usize)) -> Option<Self> {
        let folder = scratch("weston");
        let mut command = Command::new("weston");
        command
            .args([
                "--backend=headless",
                "--renderer=gl",
                "--shell=kiosk",
                "--no-config",
            ])
            // Whoever asks may have what is on the screen.
            .args(["--debug", "--idle-time=0"])
            .arg(format!("--socket={}", Self::SOCKET))
            .args([format!("--width={width}"), format!("--height={height}")])
            .env("XDG_RUNTIME_DIR", &folder)
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .stderr(Stdio::null());
        let child = start(&mut command)?;
        let weston = Self { child, folder };
        until("weston", || {
            UnixStream::connect(weston.folder.join(Self::SOCKET)).ok()
        });
        Some(weston)
    }

    /// For programs that are to appear here.
    pub(crate) fn environment(&self, command: &mut Command) {
        command
            .env("XDG_RUNTIME_DIR", &self.folder)
            .env("WAYLAND_DISPLAY", Self::SOCKET)
            .env_remove("DISPLAY");
    }

    /// What is on the screen.
    pub(crate) fn shot(&self) -> Picture {
        let shots = self.folder.join("shots");
        let _ = fs::remove_dir_all(&shots);
        fs::create_dir(&shots).unwrap();
        let mut shooter = Command::new("weston-screenshooter");
        self.environment(&mut shooter);
        shooter.current_dir(&shots).env("XDG_PICTURES_DIR", &shots);
        let output = shooter.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let shot = fs::read_dir(&shots).unwrap().next().expect("a picture").unwrap();
        read_png(&fs::read(shot.path()).unwrap())
    }
}

impl Drop for Weston {
    fn drop(&mut self) {
        end(&mut self.child);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// An X server in memory, without a window manager: windows are where and as large as they ask to be.
pub(crate) struct Xvfb {
    child: Child,
    folder: PathBuf,
    display: String,
    connection: RustConnection,
}

impl Xvfb {
    pub(crate) fn start((width, height): (usize, usize)) -> Option<Self> {
        let folder = scratch("xvfb");
        let display = format!(":{}", 40 + std::process::id() % 1000);
        let mut command = Command::new("Xvfb");
        command
            .args([&display, "-nolisten", "tcp", "-screen", "0"])
            .arg(format!("{width}x{height}x24"))
            .arg("-fbdir")
            .arg(&folder)
            .stderr(Stdio::null());
        let child = start(&mut command)?;
        let connection = until("Xvfb", || x11rb::connect(Some(&display)).ok()).0;
        Some(Self {
            child,
            folder,
            display,
            connection,
        })
    }

    /// For programs that are to appear here.
    pub(crate) fn environment(&self, command: &mut Command) {
        command
            .env("DISPLAY", &self.display)
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("WAYLAND_SOCKET");
    }

    /// It dies.
    pub(crate) fn kill(&mut self) {
        end(&mut self.child);
    }

    /// It answers nobody for a while.
    pub(crate) fn hang(&self, time: Duration) {
        signal(&self.child, "-STOP");
        std::thread::sleep(time);
        signal(&self.child, "-CONT");
    }

    fn root(&self) -> Window {
        self.connection.setup().roots[0].root
    }

    /// The one window that is seen, when it is; it gets the keyboard, as a window manager would see to.
    pub(crate) fn window(&self) -> Window {
        let window = until("window", || {
            let tree = self.connection.query_tree(self.root()).ok()?.reply().ok()?;
            tree.children.into_iter().find(|window| {
                let attributes = self
                    .connection
                    .get_window_attributes(*window)
                    .ok()
                    .and_then(|a| a.reply().ok());
                attributes.is_some_and(|a| a.map_state == x11rb::protocol::xproto::MapState::VIEWABLE)
            })
        });
        let focus = self
            .connection
            .set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME);
        focus.unwrap().check().unwrap();
        window
    }

    /// Presses and releases a key.
    pub(crate) fn key(&self, key: char) {
        let setup = self.connection.setup();
        let (first, last) = (setup.min_keycode, setup.max_keycode);
        let map = self
            .connection
            .get_keyboard_mapping(first, last - first + 1)
            .unwrap()
            .reply()
            .unwrap();
        let per = usize::from(map.keysyms_per_keycode);
        // Letters' and the space's codes are Latin-1's.
        let index = map
            .keysyms
            .chunks(per)
            .position(|symbols| symbols[0] == u32::from(key))
            .unwrap();
        let code = first + u8::try_from(index).unwrap();
        // 2 is KeyPress, 3 KeyRelease.
        for kind in [2, 3] {
            let sent =
                self.connection
                    .xtest_fake_input(kind, code, x11rb::CURRENT_TIME, self.root(), 0, 0, 0);
            sent.unwrap().check().unwrap();
        }
    }

    pub(crate) fn resize(&self, window: Window, (width, height): (u32, u32)) {
        let size = ConfigureWindowAux::new().width(width).height(height);
        self.connection
            .configure_window(window, &size)
            .unwrap()
            .check()
            .unwrap();
    }

    /// The screen's upper left corner, out of the server's memory: a file in xwd's format.
    pub(crate) fn shot(&self, (width, height): (usize, usize)) -> Picture {
        let file = fs::read(Path::new(&self.folder).join("Xvfb_screen0")).unwrap();
        let word = |index: usize| {
            let bytes = file[index * 4..][..4].try_into().unwrap();
            u32::from_be_bytes(bytes) as usize
        };
        // Header's size, bits a pixel, bytes a row, colours (12 bytes each).
        let (header, bits, row, colors) = (word(0), word(11), word(12), word(19));
        assert_eq!(bits, 32);
        let pixels = &file[header + colors * 12..];
        Picture::made(width, height, |x, y| {
            let at = y * row + x * 4;
            [pixels[at + 2], pixels[at + 1], pixels[at]]
        })
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        end(&mut self.child);
        let _ = fs::remove_dir_all(&self.folder);
    }
}
