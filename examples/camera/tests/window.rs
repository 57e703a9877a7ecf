//! The window on real display servers: what is on the screen is the picture that the CPU converts, while the window is
//! resized, turned, scaled and hidden, and the CPU touches none of it.

#![cfg(feature = "window")]

#[path = "window/screens.rs"]
#[allow(dead_code, reason = "the test of outputs uses the rest")]
mod screens;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dmaframe::v4l2::Device as Camera;
use dmaframe_testkit::{Device, need};
use screens::{Picture, Sway, Weston, Xvfb, end, read_png};

const SIZE: (usize, usize) = (320, 180);
/// How long a screen may take to show something, on a machine that is at other work.
const PATIENCE: Duration = Duration::from_secs(40);

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

/// Bars without moving text, and the last quarter empty: they are the same upside down. Whatever another test has left.
fn still(device: &Path) {
    let camera = Camera::open(device).unwrap();
    camera.set_menu("Test Pattern", "75% Colorbar").unwrap();
    camera.set_control("Fill Percentage of Frame", 75).unwrap();
    camera.set_menu("OSD Text Mode", "None").unwrap();
}

/// The same for all of the driver's cameras, whose numbers change when they are plugged in while somebody has them open.
fn stills() {
    for node in std::fs::read_dir("/sys/class/video4linux").unwrap() {
        let node = node.unwrap();
        let name = std::fs::read_to_string(node.path().join("name")).unwrap_or_default();
        if name.starts_with("vivid") && name.trim_end().ends_with("vid-cap") {
            still(&Path::new("/dev").join(node.file_name()));
        }
    }
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
        if start.elapsed() > PATIENCE {
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
        assert!(start.elapsed() < PATIENCE, "no {what}");
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

    // Hidden, nobody asks for pictures: the camera's come and go all the same, and the one of now is shown afterwards.
    sway.command("workspace 2");
    std::thread::sleep(Duration::from_secs(2));
    let camera = Camera::open(&device).unwrap();
    camera.set_menu("Test Pattern", "100% Black").unwrap();
    sway.command("workspace 1");
    changes("black picture", || sway.shot().is_black());
    camera.set_menu("Test Pattern", "75% Colorbar").unwrap();
    comes("seen again", &picture, || sway.shot());
    sway.command("[app_id=\".*\"] kill");
    let report = preview.report();
    print!("{report}");
    assert!(number(&report, "replaced before shown") >= 1, "{report}");
    assert!(report.contains("wgpu:buffer"), "{report}");
    assert!(report.contains("CPU bytes/frame: 0\n"), "{report}");
}

/// Another compositor, whose renderer is OpenGL.
#[test]
fn on_westons_gl_renderer_the_screen_shows_the_cpus_picture() {
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    let picture = expected(&device);
    let Some(weston) = Weston::start(SIZE) else { return };
    let mut command = camera(&["preview", "--no-info", "--format", "NV12"]);
    weston.environment(&mut command);
    let preview = Preview::start(command, &device);
    comes("whole screen", &picture, || weston.shot());
    let camera = Camera::open(&device).unwrap();
    camera.set_menu("Test Pattern", "100% Black").unwrap();
    changes("black picture", || weston.shot().is_black());
    let id = preview.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let report = preview.report();
    print!("{report}");
    assert!(report.contains("CPU bytes/frame: 0\n"), "{report}");
}

#[test]
fn on_x11_keys_turn_mirror_and_freeze_what_is_seen_also_after_the_display_hung() {
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
    let camera = Camera::open(&device).unwrap();
    camera.set_menu("Test Pattern", "100% Black").unwrap();
    screen.resize(window, (180, 360));
    let frozen = turned.within((180, 360));
    comes("frozen", &frozen, || screen.shot((180, 360)));
    std::thread::sleep(Duration::from_secs(1));
    comes("still frozen", &frozen, || screen.shot((180, 360)));
    screen.key(' ');
    changes("black picture", || screen.shot((180, 360)).is_black());

    // A display that answers nobody for a while; pictures go on when it does.
    screen.hang(Duration::from_secs(3));
    camera.set_menu("Test Pattern", "75% Colorbar").unwrap();
    comes("pictures again", &frozen, || screen.shot((180, 360)));
    screen.key('q');
    let report = preview.report();
    std::fs::remove_dir_all(folder).unwrap();
    print!("{report}");
    assert!(report.contains("CPU bytes/frame: 0\n"), "{report}");
}

/// Whether all that differs is a dark box in the middle with white letters on it, of two lines or more, and everything else
/// is the picture; else what is wrong.
fn says_something_over(seen: &Picture, picture: &Picture) -> Result<(), String> {
    let (width, height) = SIZE;
    if (seen.width, seen.height) != SIZE {
        return Err(format!("{} x {}", seen.width, seen.height));
    }
    let all = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let far = |a: [u8; 3], b: [u8; 3]| (0..3).map(|i| a[i].abs_diff(b[i])).max().unwrap_or(0);
    let changed: Vec<_> = all
        .clone()
        .filter(|&(x, y)| far(seen.pixel(x, y), picture.pixel(x, y)) > 2)
        .collect();
    let range = |values: &mut dyn Iterator<Item = usize>| {
        values.fold((usize::MAX, 0), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let (left, right) = range(&mut changed.iter().map(|at| at.0));
    let (top, bottom) = range(&mut changed.iter().map(|at| at.1));
    if changed.len() < 2000 || bottom - top > height / 2 {
        return Err(format!(
            "{} pixels differ, {left}..{right} x {top}..{bottom}",
            changed.len()
        ));
    }
    let (across, down) = (
        (left + right).abs_diff(width - 1),
        (top + bottom).abs_diff(height - 1),
    );
    // egui puts it on whole points; black parts of the picture do not change.
    if across > 30 || down > 8 {
        return Err(format!("not in the middle: {left}..{right} x {top}..{bottom}"));
    }
    // Through black of 170 in 255 the picture shines.
    let dark = |(x, y): (usize, usize)| {
        picture
            .pixel(x, y)
            .map(|value| (u16::from(value) * 85 / 255) as u8)
    };
    let behind = changed
        .iter()
        .filter(|&&(x, y)| far(seen.pixel(x, y), dark((x, y))) <= 3)
        .count();
    let white = |&&(x, y): &&(usize, usize)| seen.pixel(x, y).iter().all(|value| *value >= 200);
    let letters: Vec<_> = changed.iter().filter(white).collect();
    if behind * 2 < changed.len() || letters.len() < 100 {
        return Err(format!(
            "{behind} dark and {} white of {}",
            letters.len(),
            changed.len()
        ));
    }
    let rows: std::collections::BTreeSet<_> = letters.iter().map(|at| at.1).collect();
    let lines = rows.iter().filter(|row| !rows.contains(&(**row + 1))).count();
    match lines >= 2 {
        true => Ok(()),
        false => Err(format!("{lines} lines of letters")),
    }
}

#[test]
fn the_preview_says_when_the_camera_is_gone_and_shows_it_when_it_is_back() {
    if !dmaframe_testkit::in_lab() {
        dmaframe_testkit::skip("unbinding a driver is for the lab alone");
        return;
    }
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    let picture = expected(&device);
    let Some(sway) = Sway::start(SIZE, 30) else { return };
    let mut command = camera(&["preview", "--no-info", "--format", "NV12"]);
    sway.environment(&mut command);
    let preview = Preview::start(command, &device);
    let driver = |action: &str| {
        std::fs::write(format!("/sys/bus/platform/drivers/vivid/{action}"), "vivid.0").unwrap();
    };
    comes("before", &picture, || sway.shot());
    driver("unbind");
    let start = Instant::now();
    while let Err(wrong) = says_something_over(&sway.shot(), &picture) {
        assert!(start.elapsed() < PATIENCE, "no message: {wrong}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // It stays until there is a camera.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(says_something_over(&sway.shot(), &picture), Ok(()));
    driver("bind");
    // A camera that is plugged in is set to what it begins with: so this is seen to be live, and not the last picture.
    changes("camera", || {
        let seen = sway.shot();
        seen.worst(&picture) > 100 && says_something_over(&seen, &picture).is_err()
    });
    stills();
    comes("back", &picture, || sway.shot());
    sway.command("[app_id=\".*\"] kill");
    let report = preview.report();
    print!("{report}");
    for line in ["was unplugged", "plug it in again", "note: back: vivid"] {
        assert!(report.contains(line), "{line:?} is not in\n{report}");
    }
}

#[test]
fn ctrl_c_and_the_end_of_its_time_end_a_preview_whose_camera_is_unplugged() {
    if !dmaframe_testkit::in_lab() {
        dmaframe_testkit::skip("unbinding a driver is for the lab alone");
        return;
    }
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    let picture = expected(&device);
    let Some(sway) = Sway::start(SIZE, 30) else { return };
    let driver = |action: &str| {
        std::fs::write(format!("/sys/bus/platform/drivers/vivid/{action}"), "vivid.0").unwrap();
    };
    for more in [&[][..], &["--seconds", "8"]] {
        stills();
        let mut command = camera(&["preview", "--no-info", "--format", "NV12"]);
        command.args(more);
        sway.environment(&mut command);
        // Its number is another one after it was plugged in.
        let preview = Preview::start(command, &need!(Device::Capture("vivid")));
        comes("before", &picture, || sway.shot());
        driver("unbind");
        changes("message", || says_something_over(&sway.shot(), &picture).is_ok());
        if more.is_empty() {
            let id = preview.0.id().to_string();
            assert!(
                Command::new("kill")
                    .args(["-INT", &id])
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let report = preview.report();
        print!("{report}");
        assert!(report.contains("was unplugged"), "{report}");
        driver("bind");
        changes("camera", || {
            dmaframe_testkit::find(Device::Capture("vivid")).is_ok()
        });
    }
}

#[test]
fn refreshes_are_not_missed_because_of_the_window_while_600_pictures_are_shown() {
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    // Software draws here, on one CPU that sway and the camera's driver need too: a small window and 20 refreshes a second.
    let Some(sway) = Sway::start(SIZE, 20) else { return };
    // Where a CPU's work takes no time there is no excuse.
    let ideal =
        std::fs::read_to_string("/proc/cmdline").is_ok_and(|words| words.contains("time-travel=inf-cpu"));
    // What the lab's own host takes of its CPU looks from inside like work of whoever ran: on a busy one it is tried again.
    // What the window does wrong it does wrong each time.
    let mut reports = Vec::new();
    loop {
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
        let ours = number(&report, "refreshes missed by us");
        let starved = number(&report, "for want of a CPU");
        println!("missed: {ours} because of us, {starved} because the machine had no CPU for them");
        if ideal {
            assert_eq!((ours, starved), (0, 0), "{report}");
            // A picture at each refresh: nothing else is waited for.
            let (_, rest) = report.split_once(" frames in ").unwrap();
            let seconds: f64 = rest.split(' ').next().unwrap().parse().unwrap();
            assert!(seconds < 600.0 / 20.0 + 0.5, "{report}");
        }
        // Sway, the camera and the GPU made of software have one CPU here. Who draws too much starves hundreds of times.
        if ours == 0 && starved <= 60 {
            return;
        }
        reports.push(report);
        assert!(reports.len() < 3, "{reports:#?}");
    }
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
