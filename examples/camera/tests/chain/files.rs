//! Files as cameras.

use std::path::Path;
use std::process::Output;

use dmaframe_testkit::{Daemon, Device, need, skip};

use crate::app::{PIXELS, SIZE, app, fails, report, scratch};

/// 30 pictures.
fn make(daemon: &Daemon, to: &[&str]) {
    let mut command = app(daemon, to);
    command.args(["--device", "test", "--size", SIZE, "--frames", "30"]);
    report(&command.output().unwrap());
}

fn play(daemon: &Daemon, file: &Path, out: &Path) -> Output {
    let mut command = app(daemon, &["--size", SIZE, "--frames", "100", "--device"]);
    command.arg(file).arg("--out").arg(out);
    command.output().unwrap()
}

#[test]
fn a_file_that_breaks_off_is_an_error_and_has_no_plug() {
    need!(Device::Program("pipewire"));
    let daemon = Daemon::bare();
    if !Path::new("/usr/lib/x86_64-linux-gnu/gstreamer-1.0/libgsty4mdec.so").exists() {
        skip("GStreamer here has no y4mdec");
        return;
    }
    let (file, out) = (scratch("broken.y4m"), scratch("broken.png"));
    let names = [&file, &out].map(|file| file.to_str().unwrap());
    make(&daemon, &["--stream", names[0], "--out", names[1]]);
    std::fs::remove_file(&out).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let picture = PIXELS as usize * 3 / 2 + b"FRAME\n".len();
    let at = bytes.len() - 15 * picture;
    bytes[at..at + 5].copy_from_slice(b"BREAK");
    std::fs::write(&file, bytes).unwrap();
    let output = play(&daemon, &file, &out);
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    fails(&output, &["YUV4MPEG"]);
    assert!(!said.contains("plug it in"), "{said}");
    assert!(said.contains(" frames in "), "{said}");
    assert!(out.exists(), "the last picture is written all the same");
    for file in [file, out] {
        std::fs::remove_file(file).unwrap();
    }
}

/// Rows of a decoder's memory could only be copied out: nobody says that they were looked at where they are.
#[test]
fn the_report_has_no_look_at_pictures_that_would_have_to_be_copied_for_it() {
    need!(Device::Program("pipewire"));
    let daemon = Daemon::bare();
    let (file, out) = (scratch("whole.mkv"), scratch("whole.png"));
    make(&daemon, &["record", file.to_str().unwrap()]);
    let said = report(&play(&daemon, &file, &out));
    assert!(said.contains("meter(CPU view): 0 frames"), "{said}");
    for file in [file, out] {
        std::fs::remove_file(file).unwrap();
    }
}
