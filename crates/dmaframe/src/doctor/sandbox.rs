//! Who is asking, and from inside what.

use std::fs;
use std::path::Path;

use super::report::{Sandbox, System};

pub(super) fn system() -> System {
    let name = rustix::system::uname();
    System {
        kernel: name.release().to_string_lossy().into_owned(),
        machine: name.machine().to_string_lossy().into_owned(),
    }
}

pub(super) fn examine() -> Sandbox {
    let mut sandbox = Sandbox {
        kind: "none".to_owned(),
        uid: rustix::process::geteuid().as_raw(),
        groups: groups(),
        ..Sandbox::default()
    };
    if let Ok(info) = fs::read_to_string("/.flatpak-info") {
        sandbox.kind = "flatpak".to_owned();
        sandbox.app = value(&info, "name");
        sandbox.devices = Some(value(&info, "devices").unwrap_or_default());
    } else if let Some(name) = std::env::var_os("SNAP_NAME") {
        sandbox.kind = "snap".to_owned();
        sandbox.app = Some(name.to_string_lossy().into_owned());
    } else if Path::new("/run/.containerenv").exists() || Path::new("/.dockerenv").exists() {
        sandbox.kind = "container".to_owned();
    }
    sandbox
}

/// The value of a key of flatpak's ini file; the keys looked for are in one section each.
fn value(ini: &str, key: &str) -> Option<String> {
    let mut lines = ini.lines().filter_map(|line| line.split_once('='));
    lines
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}

fn groups() -> Vec<String> {
    let mut numbers: Vec<_> = rustix::process::getgroups().unwrap_or_default();
    numbers.push(rustix::process::getegid());
    numbers.sort_by_key(|gid| gid.as_raw());
    numbers.dedup();
    numbers
        .iter()
        .map(|gid| group_name(gid.as_raw()).unwrap_or_else(|| gid.as_raw().to_string()))
        .collect()
}

/// From `/etc/group`: enough for a message.
pub(super) fn group_name(gid: u32) -> Option<String> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

impl Sandbox {
    /// What gives access to a node of this mode and group.
    pub(super) fn access(&self, node: &str, gid: u32) -> String {
        let name = Path::new(node)
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        match self.kind.as_str() {
            "flatpak" => {
                let app = self.app.as_deref().unwrap_or("APP");
                format!(
                    "flatpak override --user --device=all {app}, and the same permission outside the sandbox"
                )
            }
            "snap" => "snap connect the camera, opengl and raw-usb interfaces, as far as the snap has them"
                .to_owned(),
            _ if gid == 0 => format!(
                "its group is root: give it one with a udev rule, KERNEL==\"{name}\", GROUP=\"video\", MODE=\"0660\", \
                 TAG+=\"uaccess\""
            ),
            _ => {
                let group = group_name(gid).unwrap_or_else(|| gid.to_string());
                format!(
                    "sudo usermod -aG {group} USER and log in again, or a udev rule KERNEL==\"{name}\", \
                     TAG+=\"uaccess\" for whoever sits at the machine"
                )
            }
        }
    }

    /// What makes a node appear that is not there; `host` is what helps outside of a sandbox.
    pub(super) fn appearance(&self, node: &str, host: &str) -> String {
        match self.kind.as_str() {
            "flatpak" => format!(
                "flatpak override --user --device=all {}; if the host has none either: {host}",
                self.app.as_deref().unwrap_or("APP")
            ),
            "container" => format!("pass it in (--device {node}); if the host has none either: {host}"),
            _ => host.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flatpaks_file_is_read() {
        let ini = "[Application]\nname=org.example.Camera\n\n[Context]\nshared=network;\ndevices=dri;\n";
        assert_eq!(value(ini, "name").as_deref(), Some("org.example.Camera"));
        assert_eq!(value(ini, "devices").as_deref(), Some("dri;"));
        assert_eq!(value(ini, "sockets"), None);
    }

    #[test]
    fn remedies_fit_the_sandbox_and_the_group() {
        let mut sandbox = Sandbox {
            kind: "none".into(),
            ..Sandbox::default()
        };
        assert!(sandbox.access("/dev/udmabuf", 0).contains("KERNEL==\"udmabuf\""));
        assert!(
            sandbox
                .access("/dev/video0", 4_000_000)
                .contains("usermod -aG 4000000")
        );
        sandbox.kind = "container".into();
        assert!(
            sandbox
                .appearance("/dev/dri", "load the driver")
                .contains("--device /dev/dri")
        );
        sandbox.kind = "flatpak".into();
        sandbox.app = Some("org.example.Camera".into());
        assert!(
            sandbox
                .access("/dev/video0", 44)
                .contains("--device=all org.example.Camera")
        );
    }
}
