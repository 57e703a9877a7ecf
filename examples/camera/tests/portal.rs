//! `--device portal`, with xdg-desktop-portal, WirePlumber and PipeWire as they are on a desktop.
#![cfg(feature = "portal")]

use std::process::Command;

use dmaframe_testkit::{Daemon, Device, PORTAL, Portal, need};

/// What the app says of the portal's camera, and whether it ended well.
fn app(daemon: &Daemon, arguments: &[&str]) -> (bool, String) {
    let mut command: Command = daemon.command(env!("CARGO_BIN_EXE_camera"));
    command.args([
        "--device", "portal", "--size", "320x180", "--frames", "5", "--out",
    ]);
    command.arg(daemon.dir().join("portal.png"));
    let output = command.args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(!said.contains("panicked"), "{said}");
    (output.status.success(), said)
}

#[test]
fn the_portals_camera_is_photographed_and_a_refusal_is_told() {
    need!(Device::Program("pipewire"));
    need!(Device::Program(PORTAL));
    need!(Device::Program("gdbus"));
    need!(Device::Capture("vivid"));
    let daemon = Daemon::with_session_manager();
    let portal = Portal::start(&daemon);

    portal.remember(Some(false));
    let (well, said) = app(&daemon, &[]);
    assert!(!well && said.contains("camera: the user refused"), "{said}");

    portal.remember(Some(true));
    let (well, said) = app(&daemon, &[]);
    let logs = || ["pw.log", "wp.log"].map(|name| daemon.log(name)).join("\n");
    assert!(
        well && said.contains("source: the portal's camera"),
        "{said}\n{}",
        logs()
    );
    // PipeWire's node for the camera does not wait for who holds a picture: a photo is of a copy.
    assert!(said.contains("frame: Cpu"), "{said}");
    assert!(daemon.dir().join("portal.png").exists());
}
