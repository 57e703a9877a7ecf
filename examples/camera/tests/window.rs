//! The window on real display servers: what is on the screen is the picture that the CPU converts, while the window is
//! resized, turned, scaled and hidden, and the CPU touches none of it.

#![cfg(feature = "window")]

#[path = "window/screens.rs"]
mod screens;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dmaframe::v4l2::Device as Camera;
use dmaframe_testkit::{Device, need};
use screens::{Picture, Sway, Xvfb, end, read_png};

const SIZE: (usize, usize) = (320, 180);

/// One camera, and one CPU: tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn camera(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera"));
    command.args(arguments).args(["--size", "320x180"]);
    command
}

/// Turns the moving text off, and leaves the last quarter empty: bars are the same upside down.
fn still(device: &Path) {
    let camera = Camera::open(device).unwrap();
    camera.set_control("Fill Percentage of Frame", 75).unwrap();
    camera.set_menu("OSD Text Mode", "None").unwrap();
}

/// What the CPU makes of the camera's picture, which does not move from here on.
fn expected(device: &Path) -> Picture {
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
struct Preview(Child);

impl Preview {
    fn start(mut command: Command, device: &Path) -> Self {
        command.arg("--device").arg(device).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Waits for its end, and gives what it said.
    fn report(mut self) -> String {
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
        end(&mut self.0);
    }
}

/// The number behind these words.
fn number(report: &str, words: &str) -> u64 {
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
fn comes(what: &str, expected: &Picture, look: impl Fn() -> Picture) {
    let start = Instant::now();
    loop {
        let seen = look();
        let worst = seen.worst(expected);
        if worst <= 2 {
            return;
        }
        if start.elapsed() > Duration::from_secs(15) {
            panic!(
                "{what}: {worst} from the expected picture; {}",
                seen.sketch(expected)
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Looks until this is so.
fn changes(what: &str, look: impl Fn() -> bool) {
    let start = Instant::now();
    while !look() {
        assert!(start.elapsed() < Duration::from_secs(10), "no {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn on_wayland_the_screen_shows_the_cpus_picture_at_every_size_and_scale() {
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    let picture = expected(&device);
    let Some(sway) = Sway::start(SIZE, 30) else { return };
    let mut command = camera(&["preview", "--no-info", "--format", "NV12"]);
    sway.environment(&mut command);
    let preview = Preview::start(command, &device);
    comes("whole screen", &picture, || sway.shot());

    // While it runs: bars above and below, bars beside, and turned by the desktop's idea of a scale.
    for size in [(320, 240), (400, 180)] {
        sway.command(&format!(
            "output HEADLESS-1 mode --custom {}x{}@30Hz",
            size.0, size.1
        ));
        comes(&format!("{size:?}"), &picture.within(size), || sway.shot());
    }
    sway.command("output HEADLESS-1 mode --custom 320x180@30Hz");
    sway.command("output HEADLESS-1 scale 1.25");
    comes("scale 1.25", &picture, || sway.shot());
    sway.command("output HEADLESS-1 scale 1");

    // Hidden, nobody asks for pictures: the camera's come and go all the same.
    sway.command("workspace 2");
    std::thread::sleep(Duration::from_secs(1));
    sway.command("workspace 1");
    comes("seen again", &picture, || sway.shot());
    sway.command("[app_id=\".*\"] kill");
    let report = preview.report();
    print!("{report}");
    assert!(number(&report, "replaced before shown") >= 10, "{report}");
    assert!(report.contains("wgpu:buffer"), "{report}");
    assert!(report.contains("CPU bytes/frame: 0\n"), "{report}");
}

#[test]
fn on_x11_keys_turn_mirror_and_freeze_what_is_seen() {
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    let picture = expected(&device);
    let Some(screen) = Xvfb::start((400, 400)) else {
        return;
    };
    let mut command = camera(&["preview", "--no-info", "--format", "NV12"]);
    screen.environment(&mut command);
    let folder = std::env::temp_dir().join(format!("window-photos-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    command.current_dir(&folder);
    let preview = Preview::start(command, &device);
    let window = screen.window();
    comes("as it is", &picture, || screen.shot(SIZE));
    let mirrored = picture.mirrored();
    screen.key('m');
    comes("mirrored", &mirrored, || screen.shot(SIZE));
    // A window of that shape, so that it is pixel for pixel again.
    screen.resize(window, (180, 320));
    screen.key('r');
    let turned = mirrored.turned();
    comes("turned", &turned, || screen.shot((180, 320)));
    // What is seen is mirrored left to right, also when it was turned before.
    screen.key('m');
    comes("mirrored again", &turned.mirrored(), || screen.shot((180, 320)));
    screen.key('m');
    comes("and back", &turned, || screen.shot((180, 320)));

    screen.key('i');
    changes("text over the picture", || {
        screen.shot((180, 320)).worst(&turned) > 100
    });
    screen.key('i');
    comes("without text", &turned, || screen.shot((180, 320)));

    // The next filter is grey, and so is the photo of it.
    screen.key('f');
    changes("grey picture", || screen.shot((180, 320)).is_grey());
    let grey = screen.shot((180, 320));
    screen.key('p');
    let photo = folder.join("photo-1.png");
    changes("photo", || {
        std::fs::read(&photo).is_ok_and(|file| file.ends_with(b"IEND\xaeB\x60\x82"))
    });
    let photo = read_png(&std::fs::read(&photo).unwrap());
    assert!(photo.worst(&grey) <= 2, "{}", photo.sketch(&grey));
    for _ in 0..8 {
        screen.key('f');
    }
    comes("colours again", &turned, || screen.shot((180, 320)));

    // Frozen, the picture stays, whatever the camera sees and the window's shape is.
    screen.key(' ');
    std::thread::sleep(Duration::from_millis(300));
    Camera::open(&device)
        .unwrap()
        .set_menu("Test Pattern", "100% Black")
        .ok();
    screen.resize(window, (180, 360));
    comes("frozen", &turned.within((180, 360)), || screen.shot((180, 360)));
    screen.key('q');
    let report = preview.report();
    std::fs::remove_dir_all(folder).unwrap();
    print!("{report}");
    assert!(report.contains("CPU bytes/frame: 0\n"), "{report}");
}

#[test]
fn refreshes_are_not_missed_because_of_the_window_while_600_pictures_are_shown() {
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    // Software draws here, on one CPU that sway and the camera's driver need too: a small window and 20 refreshes a second.
    let Some(sway) = Sway::start(SIZE, 20) else { return };
    let mut command = camera(&[
        "preview",
        "--no-info",
        "--format",
        "NV12",
        "--frames",
        "600",
        "--fps",
        "30",
    ]);
    sway.environment(&mut command);
    // Vulkan's validation layer alone takes half of the time.
    command.envs([("WGPU_VALIDATION", "0"), ("WGPU_DEBUG", "0")]);
    let report = Preview::start(command, &device).report();
    println!("{report}");
    assert_eq!(number(&report, "shown"), 600, "{report}");
    // None on a quiet machine. A busy one takes the lab's CPU away for longer than a refresh now and then; a window that
    // waits for its camera, or draws too much, misses hundreds.
    assert!(number(&report, "refreshes missed by us") <= 12, "{report}");
}

#[test]
fn without_a_display_it_says_what_to_do() {
    let _turn = turn();
    let output = camera(&["preview", "--device", "test"])
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("WAYLAND_SOCKET")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no display to open a window on"), "{said}");
    assert!(said.contains("`camera` without `preview` needs none"), "{said}");
}
