//! A camera that gives nothing: no picture is no success, and nobody waits for it longer than he wants.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;

use dmaframe_testkit::{Daemon, Device, need};

use crate::app::{SIZE, app, fails, scratch};
use crate::common::{changes, interrupt, signal};

/// A camera in PipeWire's graph whose program stands still.
struct Quiet(Child);

impl Quiet {
    fn start(daemon: &Daemon) -> Self {
        let arguments = [
            "virtual-camera",
            "--name",
            "quiet",
            "--device",
            "test",
            "--size",
            SIZE,
        ];
        let app = app(daemon, &arguments).spawn().unwrap();
        changes("camera", || daemon.output("pw-link", &["-o"]).contains("quiet:"));
        signal(&app, "-STOP");
        Self(app)
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks it for a photo; once the app has opened it, `then` happens. It fails, and gives what it said.
fn no_photo(daemon: &Daemon, file: &Path, then: impl FnOnce(&Child)) -> String {
    let arguments = [
        "photo",
        file.to_str().unwrap(),
        "--device",
        "pipewire:quiet",
        "--size",
        SIZE,
    ];
    let mut app = app(daemon, &arguments).spawn().unwrap();
    let mut lines = BufReader::new(app.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("source: ")));
    then(&app);
    let said = lines.collect::<Vec<_>>().join("\n");
    println!("{said}");
    fails(&app.wait_with_output().unwrap(), &["no picture came"]);
    assert!(!file.exists());
    said
}

#[test]
fn a_photo_that_is_given_up_before_a_picture_came_is_an_error_and_no_file() {
    need!(Device::Program("pipewire"));
    let daemon = Daemon::bare();
    let _quiet = Quiet::start(&daemon);
    let said = no_photo(&daemon, &scratch("none.png"), interrupt);
    assert!(said.contains("0 frames in "), "{said}");
}

#[test]
fn a_placeholder_is_no_photo() {
    need!(Device::Program("pipewire"));
    let daemon = Daemon::bare();
    let mut quiet = Quiet::start(&daemon);
    let said = no_photo(&daemon, &scratch("placeholder.png"), |_| {
        daemon.link("quiet", "dmaframe source");
        quiet.end();
    });
    assert!(said.contains("plug it in again"), "{said}");
}

#[cfg(feature = "window")]
#[test]
fn closing_the_window_ends_a_preview_whose_camera_gives_nothing() {
    use crate::common::screens::Xvfb;

    need!(Device::Program("pipewire"));
    let daemon = Daemon::bare();
    let _quiet = Quiet::start(&daemon);
    let Some(screen) = Xvfb::start((400, 400)) else {
        return;
    };
    // A slow machine may find the camera stuck before its window can be closed; then it is no test of that.
    for _ in 0..3 {
        let mut command = app(
            &daemon,
            &["preview", "--device", "pipewire:quiet", "--size", SIZE],
        );
        screen.environment(&mut command);
        let app = command.spawn().unwrap();
        screen.window();
        screen.key('q');
        let output = app.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{said}{}", String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            assert!(said.contains(" frames in "), "{said}");
            return;
        }
    }
    panic!("it waited for the camera");
}
