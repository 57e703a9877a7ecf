//! A recording plays, whatever ended it.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use dmaframe_testkit::{Daemon, Device, need};

use crate::app::{SIZE, app, pictures, recorded_of, scratch};
use crate::common::interrupt;

#[test]
fn ctrl_c_ends_a_recording_with_a_file_that_plays() {
    need!(Device::Program("pipewire"));
    let daemon = Daemon::bare();
    let file = scratch("stopped.mp4");
    let name = file.to_str().unwrap();
    let mut command = app(&daemon, &["record", name, "--device", "test", "--size", SIZE]);
    let mut app = command.spawn().unwrap();
    let mut lines = BufReader::new(app.stdout.take().unwrap()).lines();
    let mut said: Vec<_> = lines
        .by_ref()
        .map(Result::unwrap)
        .take_while(|line| !line.contains("recording"))
        .collect();
    // The first picture is in it, and those of a second.
    std::thread::sleep(Duration::from_secs(1));
    interrupt(&app);
    said.extend(lines.map(Result::unwrap));
    assert!(app.wait().unwrap().success(), "{said:?}");
    let recorded = recorded_of(&said.join("\n"));
    assert_eq!(pictures(&daemon, &file), recorded);
}

/// A compositor, and an X server, whose library ends the process by itself.
#[cfg(feature = "window")]
#[test]
fn a_display_that_dies_leaves_a_recording_that_plays() {
    use std::cell::RefCell;
    use std::process::Command;

    use crate::common::screens::{Sway, Xvfb};

    need!(Device::Program("pipewire"));
    let daemon = Daemon::bare();
    let record = |environment: &dyn Fn(&mut Command), die: &dyn Fn()| -> String {
        let file = scratch("display.mp4");
        let name = file.to_str().unwrap();
        let arguments = ["preview", "--record", name, "--device", "test", "--size", SIZE];
        let mut command = app(&daemon, &arguments);
        environment(&mut command);
        let mut app = command.spawn().unwrap();
        let mut lines = BufReader::new(app.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        assert!(lines.any(|line| line.contains("recording")));
        std::thread::sleep(Duration::from_secs(2));
        die();
        let said = lines.collect::<Vec<_>>().join("\n");
        println!("{said}");
        let output = app.wait_with_output().unwrap();
        println!("{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1));
        assert!(pictures(&daemon, &file) > 0);
        std::fs::remove_file(file).unwrap();
        said
    };
    if let Some(sway) = Sway::start((320, 180), 30).map(RefCell::new) {
        let said = record(&|command| sway.borrow().environment(command), &|| {
            sway.borrow_mut().kill()
        });
        assert!(recorded_of(&said) > 0, "the report is given all the same");
    }
    if let Some(xvfb) = Xvfb::start((400, 400)).map(RefCell::new) {
        record(&|command| xvfb.borrow().environment(command), &|| {
            xvfb.borrow_mut().kill()
        });
    }
}
