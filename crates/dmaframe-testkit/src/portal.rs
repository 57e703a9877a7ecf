//! The desktop's real portal, on a daemon's session bus.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::daemon::PATIENCE;
use crate::{Daemon, end};

/// The portal's program, for [`Device::Program`](crate::Device::Program).
pub const PORTAL: &str = "/usr/libexec/xdg-desktop-portal";

const STORE: [&str; 4] = [
    "--dest=org.freedesktop.impl.portal.PermissionStore",
    "--object-path=/org/freedesktop/impl/portal/PermissionStore",
    "--timeout=10",
    "--method",
];

/// xdg-desktop-portal, with a backend of the bus name [`Portal::BACKEND`] that a test may play; killed when dropped.
///
/// Methods panic where it or its tools fail.
#[derive(Debug)]
pub struct Portal<'a> {
    daemon: &'a Daemon,
    child: Child,
}

impl<'a> Portal<'a> {
    /// Who is asked for dialogues. Nobody, unless the test takes the name.
    pub const BACKEND: &'static str = "org.freedesktop.impl.portal.desktop.lab";

    /// Starts it on the bus of a daemon with a session manager.
    #[must_use]
    pub fn start(daemon: &'a Daemon) -> Self {
        let dir = daemon.dir().join("portals");
        fs::create_dir_all(&dir).unwrap();
        let portal = format!(
            "[portal]\nDBusName={}\nInterfaces=org.freedesktop.impl.portal.Access;org.freedesktop.impl.portal.ScreenCast;\n",
            Self::BACKEND
        );
        fs::write(dir.join("lab.portal"), portal).unwrap();
        fs::write(dir.join("portals.conf"), "[preferred]\ndefault=lab\n").unwrap();
        let log = fs::File::create(daemon.dir().join("portal.log")).unwrap();
        let child = daemon
            .command(PORTAL)
            .arg("--verbose")
            .env("XDG_DESKTOP_PORTAL_DIR", &dir)
            .env("XDG_CURRENT_DESKTOP", "lab")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let this = Self { daemon, child };
        let start = Instant::now();
        while !this.is_there() {
            assert!(
                start.elapsed() < PATIENCE,
                "the portal has not started: {}",
                this.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        this
    }

    fn is_there(&self) -> bool {
        let call = [
            "call",
            "--session",
            "--dest=org.freedesktop.DBus",
            "--object-path=/org/freedesktop/DBus",
            "--method=org.freedesktop.DBus.NameHasOwner",
            "org.freedesktop.portal.Desktop",
        ];
        self.daemon.output("gdbus", &call).contains("true")
    }

    /// What it has written.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log("portal.log")
    }

    /// Puts an answer for the camera into the portal's memory, for programs that are in no sandbox; `None` forgets it.
    pub fn remember(&self, answer: Option<bool>) {
        let mut call = vec!["call", "--session"];
        call.extend(STORE);
        match answer {
            Some(yes) => {
                call.push("org.freedesktop.impl.portal.PermissionStore.SetPermission");
                call.extend(["devices", "true", "camera", "''"]);
                call.push(if yes { "['yes']" } else { "['no']" });
            }
            None => {
                call.push("org.freedesktop.impl.portal.PermissionStore.Delete");
                call.extend(["devices", "camera"]);
            }
        }
        let said = self.daemon.run("gdbus", &call);
        // What it never knew is forgotten.
        let never = answer.is_none() && String::from_utf8_lossy(&said.stderr).contains("Error.NotFound");
        assert!(said.status.success() || never, "{said:?}");
    }
}

impl Drop for Portal<'_> {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
