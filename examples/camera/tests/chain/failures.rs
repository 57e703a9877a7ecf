//! An output that fails, or whose consumer hangs, is told and ends no other.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dmaframe::Starvation;
use dmaframe::pipewire::{CaptureStream, Event, Target};
use dmaframe_testkit::{Daemon, Device, need};

use crate::app::{LONG, PIXELS, SIZE, app, fails, number, report, scratch};
use crate::common::interrupt;

/// A file of this name on a disk that is full.
fn full(name: &str) -> PathBuf {
    let file = scratch(name);
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    file
}

#[test]
fn an_output_that_fails_is_the_exit_status_though_another_went_on() {
    need!(Device::Program("pipewire"));
    let daemon = Daemon::bare();
    let (recording, stream) = (full("full.mkv"), scratch("all.nv12"));
    let (record, to) = (recording.to_str().unwrap(), stream.to_str().unwrap());
    // Faster than pictures come, so that the encoder has something to write before the end.
    let arguments = [
        "--device", "test", "--size", SIZE, "--fps", "120", "--frames", "200",
    ];
    let out = scratch("failing.png");
    let run = |outputs: &[&str]| {
        let more = ["--out", out.to_str().unwrap()];
        let words: Vec<_> = arguments.iter().chain(outputs).chain(&more).copied().collect();
        app(&daemon, &words).output().unwrap()
    };
    let output = run(&["--record", record, "--stream", to]);
    fails(&output, &["to-", "(GStreamer) ended: "]);
    assert_eq!(std::fs::metadata(&stream).unwrap().len(), 200 * PIXELS * 3 / 2);
    assert!(out.exists(), "the last picture is written all the same");

    // Both are told where both fail.
    let stream = full("full.nv12");
    let output = run(&["--record", record, "--stream", stream.to_str().unwrap()]);
    fails(
        &output,
        &[
            "(GStreamer) ended: ",
            "; ",
            "full.nv12 cannot be written: No space left",
        ],
    );
    for file in [recording, stream, out] {
        std::fs::remove_file(file).unwrap();
    }
}

/// A consumer that keeps all pictures: nothing can be filtered until it is gone.
#[test]
fn a_consumer_that_hangs_costs_pictures_and_ends_nothing() {
    need!(Device::Program("pipewire"));
    need!(Device::Udmabuf);
    let daemon = Daemon::bare();
    let arguments = [
        "virtual-camera",
        "--name",
        "hung",
        "--filter",
        "noir",
        "--device",
        "test",
        "--size",
        SIZE,
    ];
    let app = app(&daemon, &arguments).spawn().unwrap();
    let consumer = |name: &str| {
        let builder = CaptureStream::builder().remote(daemon.remote()).name(name);
        let builder = builder.target(Target::Unlinked).budget(0, Starvation::Drop);
        let capture = builder.start().unwrap();
        daemon.link("hung", name);
        capture
    };
    let hanging = consumer("hanging");
    let mut held = Vec::new();
    // Longer than the app waits for memory: 2 s for each picture.
    let mut last = Instant::now();
    while held.is_empty() || last.elapsed() < Duration::from_secs(5) {
        match hanging.next(Duration::from_secs(5)).unwrap() {
            Some(Event::Frame(frame)) => {
                held.push(frame);
                last = Instant::now();
            }
            Some(Event::NodeRemoved { .. }) => panic!("{:?}", app.wait_with_output()),
            _ => {}
        }
    }
    drop((held, hanging));
    let watching = consumer("watching");
    let mut seen = 0;
    while seen < 10 {
        match watching.next(LONG).unwrap() {
            Some(Event::Frame(_)) => seen += 1,
            Some(Event::NodeRemoved { .. }) | None => break,
            Some(_) => {}
        }
    }
    interrupt(&app);
    let said = report(&app.wait_with_output().unwrap());
    assert_eq!(seen, 10, "{said}");
    let done = said.lines().find(|line| line.contains(" frames in ")).unwrap();
    assert!(number(done, " dropped") > 0, "{said}");
}

#[cfg(feature = "window")]
#[test]
fn a_recording_that_fails_is_said_over_the_preview_which_goes_on() {
    use crate::common::{changes, screens::Sway};

    need!(Device::Program("pipewire"));
    let daemon = Daemon::bare();
    let Some(sway) = Sway::start((320, 180), 30) else {
        return;
    };
    let file = full("preview.mkv");
    let name = file.to_str().unwrap();
    let mut command = app(&daemon, &["preview", "--no-info", "--record", name]);
    command.args(["--device", "test", "--size", SIZE, "--fps", "60"]);
    sway.environment(&mut command);
    let app = command.spawn().unwrap();
    // The first of the bars is light; text lies on black.
    let dark = || sway.shot().pixel(10, 10).iter().all(|value| *value < 120);
    let light = || sway.shot().pixel(3, 150).iter().all(|value| *value > 150);
    changes("picture", light);
    changes("text over it", dark);
    changes("picture still", light);
    interrupt(&app);
    fails(&app.wait_with_output().unwrap(), &["(GStreamer) ended: "]);
    std::fs::remove_file(file).unwrap();
}
