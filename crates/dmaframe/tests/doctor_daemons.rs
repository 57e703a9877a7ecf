//! Media daemons are asked themselves.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dmaframe_testkit::{Device, need};
use serde_json::Value;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(folder: &Path, name: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_dmaframe"))
        .args(["doctor", "--json"])
        .env("XDG_RUNTIME_DIR", folder)
        .env_remove("PIPEWIRE_REMOTE")
        .env_remove("PIPEWIRE_RUNTIME_DIR")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let daemons = report["daemons"].as_array().unwrap();
    daemons
        .iter()
        .find(|daemon| daemon["name"] == name)
        .unwrap()
        .clone()
}

#[test]
fn a_running_pipewire_tells_its_version() {
    let pipewire = need!(Device::Program("pipewire"));
    let folder = std::env::temp_dir().join(format!("dmaframe-daemons-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();

    let before = daemon(&folder, "PipeWire");
    assert_eq!(before["found"], false);
    assert!(
        before["detail"]
            .as_str()
            .unwrap()
            .contains("does not run for this user"),
        "{before}"
    );

    let said = Command::new(&pipewire).arg("--version").output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let running = Command::new(&pipewire)
        .env("XDG_RUNTIME_DIR", &folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(running);
    let patience = Instant::now() + Duration::from_secs(40);
    // The file is there before somebody listens.
    while UnixStream::connect(folder.join("pipewire-0")).is_err() {
        assert!(Instant::now() < patience, "nobody listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    let found = daemon(&folder, "PipeWire");
    assert_eq!(found["found"], true, "{found}");
    let version = found["version"].as_str().expect("a version");
    assert!(
        said.contains(&format!("libpipewire {version}")),
        "{version} is not in {said}"
    );
    drop(running);

    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn a_session_manager_and_the_portal_are_found_where_they_run() {
    for program in ["pipewire", "wireplumber", "dbus-daemon"] {
        need!(Device::Program(program));
    }
    need!(Device::Program(dmaframe_testkit::PORTAL));
    let folder = std::env::temp_dir();
    if dmaframe_testkit::in_lab() {
        for name in ["WirePlumber", "xdg-desktop-portal"] {
            let before = daemon(&folder, name);
            assert_eq!(before["found"], false, "{before}");
            assert!(before["detail"].as_str().unwrap().contains("not run"), "{before}");
        }
    }
    let running = dmaframe_testkit::Daemon::with_session_manager();
    let portal = dmaframe_testkit::Portal::start(&running);
    let manager = daemon(&folder, "WirePlumber");
    assert_eq!(manager["found"], true, "{manager}");
    assert!(
        manager["version"].as_str().unwrap().starts_with("0."),
        "{manager}"
    );
    let detail = manager["detail"].as_str().unwrap();
    assert!(detail.contains("copies their pictures"), "{manager}");
    let found = daemon(&folder, "xdg-desktop-portal");
    assert_eq!(found["found"], true, "{found}");
    drop(portal);
}
