//! A running preview, and what is to be on the screen.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dmaframe::v4l2::Device as Camera;

use crate::common::picture::{Picture, read_png};
use crate::common::{PATIENCE, screens};

pub(crate) const SIZE: (usize, usize) = (320, 180);

/// One camera, and one CPU: tests take turns.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn camera(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera"));
    command.args(arguments).args(["--size", "320x180"]);
    command
}

/// Bars without moving text, and the last quarter empty: they are the same upside down. Whatever another test has left.
fn still(device: &Path) {
    let camera = Camera::open(device).unwrap();
    camera.set_menu("Test Pattern", "75% Colorbar").unwrap();
    camera.set_control("Fill Percentage of Frame", 75).unwrap();
    camera.set_menu("OSD Text Mode", "None").unwrap();
}

/// The same for all of the driver's cameras, whose numbers change when they are plugged in while somebody has them open.
pub(crate) fn stills() {
    for node in std::fs::read_dir("/sys/class/video4linux").unwrap() {
        let node = node.unwrap();
        let name = std::fs::read_to_string(node.path().join("name")).unwrap_or_default();
        if name.starts_with("vivid") && name.trim_end().ends_with("vid-cap") {
            still(&Path::new("/dev").join(node.file_name()));
        }
    }
}

/// What the CPU makes of the camera's picture, which does not move from here on.
pub(crate) fn expected(device: &Path) -> Picture {
    still(device);
    let file = std::env::temp_dir().join(format!("window-{}.png", std::process::id()));
    let output = camera(&["--frames", "1"])
        .arg("--device")
        .arg(device)
        .arg("--out")
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let picture = read_png(&std::fs::read(&file).unwrap());
    std::fs::remove_file(file).unwrap();
    assert_eq!((picture.width, picture.height), SIZE);
    assert!(
        picture.worst(&picture.mirrored().turned().turned()) > 100
            && picture.worst(&picture.mirrored()) > 100
    );
    picture
}

/// A running preview.
pub(crate) struct Preview(pub(crate) Child);

impl Preview {
    /// On the screen of this environment, without text over the picture.
    pub(crate) fn start(device: &Path, screen: impl FnOnce(&mut Command)) -> Self {
        let mut command = camera(&["preview", "--no-info", "--format", "NV12"]);
        screen(&mut command);
        Self::of(command, device)
    }

    pub(crate) fn of(mut command: Command, device: &Path) -> Self {
        command.arg("--device").arg(device).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Waits for its end, and gives what it said.
    pub(crate) fn report(mut self) -> String {
        let mut text = String::new();
        let mut out = self.0.stdout.take().unwrap();
        out.read_to_string(&mut text).unwrap();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}: {text}");
        text
    }
}

impl Drop for Preview {
    fn drop(&mut self) {
        screens::end(&mut self.0);
    }
}

/// The number behind these words.
pub(crate) fn number(report: &str, words: &str) -> u64 {
    let (_, rest) = report
        .split_once(words)
        .unwrap_or_else(|| panic!("no '{words}' in\n{report}"));
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

/// Looks until the screen shows this, within 2 code values everywhere.
pub(crate) fn comes(what: &str, expected: &Picture, look: impl Fn() -> Picture) {
    let start = Instant::now();
    loop {
        let seen = look();
        let worst = seen.worst(expected);
        if worst <= 2 {
            return;
        }
        if start.elapsed() > PATIENCE {
            panic!(
                "{what}: {worst} from the expected picture; {}",
                seen.sketch(expected)
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
