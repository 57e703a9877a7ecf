//! What the tests of an app that runs on share: a user's patience, Ctrl-C, the camera's plug, and display servers.
#![allow(dead_code, reason = "each test binary uses its part")]

#[cfg(feature = "window")]
pub(crate) mod picture;
#[cfg(feature = "window")]
pub(crate) mod screens;

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use dmaframe_testkit::{Device, find, skip};

/// How long something may take to be seen, on a machine that is at other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until something is there.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "no {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Looks until this is so.
pub(crate) fn changes(what: &str, look: impl Fn() -> bool) {
    until(what, || look().then_some(()));
}

/// Ctrl-C.
pub(crate) fn interrupt(app: &Child) {
    signal(app, "-INT");
}

pub(crate) fn signal(process: &Child, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &process.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// The first of vivid's cameras as something that can be pulled out; a visible skip outside of the lab.
pub(crate) struct Plug(PathBuf);

impl Plug {
    pub(crate) fn find() -> Option<Self> {
        let unbind = find(Device::Unbind("vivid"));
        unbind.map(Self).map_err(|reason| skip(&reason)).ok()
    }

    pub(crate) fn pull(&self) {
        std::fs::write(&self.0, "vivid.0").unwrap();
    }

    pub(crate) fn push(&self) {
        std::fs::write(self.0.with_file_name("bind"), "vivid.0").unwrap();
    }
}
