//! The app under way, what it says, and what others see of its outputs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dmaframe::pipewire::{CaptureStream, Target};
use dmaframe_testkit::Daemon;

/// How long the next picture may take.
pub(crate) const LONG: Duration = Duration::from_secs(30);
/// Of pictures that are small enough to be encoded by software.
pub(crate) const SIZE: &str = "320x180";
pub(crate) const PIXELS: u64 = 320 * 180;

pub(crate) fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("camera-chain-{}-{name}", std::process::id()))
}

/// A program that talks to the daemon, and finds those of GStreamer's plugins that are used here: a guest starts with an
/// empty list of them, and all take seconds to look through.
fn program(daemon: &Daemon, program: &str) -> Command {
    let command = daemon.gst(program);
    let folder = Path::new("/usr/lib/x86_64-linux-gnu/gstreamer-1.0");
    for name in [
        "x264",
        "openh264",
        "matroska",
        "isomp4",
        "playback",
        "typefindfunctions",
        "videoparsersbad",
        "y4mdec",
    ] {
        let (file, link) = (format!("libgst{name}.so"), daemon.dir().join("gst"));
        // There already, the second time.
        let _ = std::os::unix::fs::symlink(folder.join(&file), link.join(&file));
    }
    command
}

/// The app, which is to talk into pipes.
pub(crate) fn app(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = program(daemon, env!("CARGO_BIN_EXE_camera"));
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// What the app said; it must have ended well.
pub(crate) fn report(output: &Output) -> String {
    let (out, err) = said(output);
    assert!(output.status.success(), "{out}\n{err}");
    println!("{out}");
    out
}

/// Ends with an error, in which all of this is.
pub(crate) fn fails(output: &Output, parts: &[&str]) {
    let (out, err) = said(output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    for part in parts {
        assert!(err.contains(part), "{part:?} is not in\n{err}");
    }
}

/// Somebody else, who looks at the virtual camera of this name.
pub(crate) fn watcher(daemon: &Daemon, camera: &str) -> CaptureStream {
    let builder = CaptureStream::builder().remote(daemon.remote()).name("watcher");
    let capture = builder.target(Target::Unlinked).start().unwrap();
    daemon.link(camera, "watcher");
    capture
}

/// Pictures that GStreamer's own player elements find in the file. They are counted as they come: ten minutes of them are more
/// than a guest's memory.
pub(crate) fn pictures(daemon: &Daemon, file: &Path) -> u64 {
    let mut player = program(daemon, "gst-launch-1.0");
    player
        .args(["-q", "filesrc", &format!("location={}", file.display())])
        .args([
            "!",
            "decodebin",
            "!",
            "videoconvert",
            "!",
            "video/x-raw,format=GRAY8",
        ])
        .args(["!", "fdsink", "fd=1"])
        .stdout(Stdio::piped());
    let mut player = player.spawn().unwrap();
    let bytes = std::io::copy(&mut player.stdout.take().unwrap(), &mut std::io::sink()).unwrap();
    let status = player.wait().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(bytes % PIXELS, 0);
    bytes / PIXELS
}

/// A number out of the report: the one before these words.
pub(crate) fn number(report: &str, words: &str) -> u64 {
    let before = report.split(words).next().unwrap_or_default();
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next();
    let number = digits.and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("no number before {words:?} in {report}"))
}

/// Frames in the recording, as the app says; with those it dropped they are all.
pub(crate) fn recorded_of(report: &str) -> u64 {
    let line = report
        .lines()
        .find(|line| line.starts_with("recording: "))
        .unwrap();
    let recorded = number(line, " frames, ");
    let dropped = number(line, " dropped)");
    let done = report.lines().find(|line| line.contains(" frames in ")).unwrap();
    assert_eq!(recorded + dropped, number(done, " frames in "), "{report}");
    assert!(recorded > 0, "{report}");
    recorded
}
