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
    } else if let Some(name) = snap() {
        sandbox.kind = "snap".to_owned();
        sandbox.app = Some(name);
    } else if CONTAINERS.iter().any(|file| Path::new(file).exists()) {
        sandbox.kind = "container".to_owned();
    }
    sandbox
}

/// What podman, docker, and systemd's and others' containers have in them.
const CONTAINERS: [&str; 3] = ["/run/.containerenv", "/.dockerenv", "/run/systemd/container"];

/// The snap that this program is of. Its variables alone say nothing: a terminal that is a snap leaves them to whatever is
/// started in it.
fn snap() -> Option<String> {
    let (name, folder) = (std::env::var("SNAP_NAME").ok()?, std::env::var_os("SNAP")?);
    let program = std::env::current_exe().ok()?;
    program.starts_with(folder).then_some(name)
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
    /// Whether a flatpak's permissions show it the node.
    fn shows(&self, node: &str) -> bool {
        let devices = self.devices.as_deref().unwrap_or_default();
        devices
            .split(';')
            .any(|shown| shown == "all" || (shown == "dri" && node.starts_with("/dev/dri")))
    }

    /// What makes a flatpak see the node.
    fn flatpak(&self, node: &str) -> String {
        let app = self.app.as_deref().unwrap_or("APP");
        let portal = match node.starts_with("/dev/video") {
            true => "a sandbox gets cameras from the desktop's portal (source `portal`); or ",
            false => "",
        };
        format!("{portal}flatpak override --user --device=all {app}")
    }

    /// What gives access to a node of this group, whose mode keeps us out.
    pub(super) fn access(&self, node: &str, gid: u32) -> String {
        match self.kind.as_str() {
            "flatpak" if self.shows(node) => format!("outside of the sandbox, {}", on_host(node, gid)),
            "flatpak" => format!(
                "{}, and outside of the sandbox {}",
                self.flatpak(node),
                on_host(node, gid)
            ),
            "snap" => SNAP.to_owned(),
            "container" => format!(
                "start the container with --device {node} and the node's group: --group-add {gid} (docker), \
                 --group-add keep-groups (podman); if the host lets this user not open it either: {}",
                on_host(node, gid)
            ),
            _ => on_host(node, gid),
        }
    }

    /// What gives access to a node that something other than its mode keeps us from.
    pub(super) fn allowance(&self, node: &str) -> String {
        match self.kind.as_str() {
            "flatpak" => self.flatpak(node),
            "snap" => SNAP.to_owned(),
            "container" => format!("start the container with --device {node}: its list of devices has not got it"),
            _ => "a list of devices (systemd's DevicePolicy= and DeviceAllow=: systemctl show UNIT) or a security module \
                  (journalctl -k | grep -i denied) forbids it; groups and modes change nothing"
                .to_owned(),
        }
    }

    /// What makes a node appear that is not there; `host` is what helps outside of a sandbox.
    pub(super) fn appearance(&self, node: &str, host: &str) -> String {
        match self.kind.as_str() {
            "flatpak" if self.shows(node) => {
                format!("the sandbox would show it, but the host has none: {host}")
            }
            "flatpak" => format!("{}; if the host has none either: {host}", self.flatpak(node)),
            "container" => format!("pass it in (--device {node}); if the host has none either: {host}"),
            _ => host.to_owned(),
        }
    }
}

const SNAP: &str = "snap connect the camera, opengl and raw-usb interfaces, as far as the snap has them";

/// What gives access outside of any sandbox.
fn on_host(node: &str, gid: u32) -> String {
    let name = Path::new(node)
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    // systemd gives access to whoever sits at the machine in its 73-seat-late.rules: a tag that comes after them is too late.
    let rule = |words: &str| {
        format!(
            "echo 'KERNEL==\"{name}\", {words}TAG+=\"uaccess\"' | sudo tee -a /etc/udev/rules.d/70-dmaframe.rules; \
             sudo udevadm control --reload && sudo udevadm trigger"
        )
    };
    if gid == 0 {
        return format!(
            "its group is root: give it one with a udev rule, {}",
            rule("GROUP=\"video\", MODE=\"0660\", ")
        );
    }
    let group = group_name(gid).unwrap_or_else(|| gid.to_string());
    format!(
        "sudo usermod -aG {group} USER and log in again, or a udev rule for whoever sits at the machine: {}",
        rule("")
    )
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

    fn inside(kind: &str) -> Sandbox {
        Sandbox {
            kind: kind.into(),
            ..Sandbox::default()
        }
    }

    #[track_caller]
    fn has(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }

    #[test]
    fn on_a_host_the_group_or_a_udev_rule_that_comes_in_time_helps() {
        let host = inside("none");
        let rule = [
            "KERNEL==\"udmabuf\"",
            "TAG+=\"uaccess\"",
            "/etc/udev/rules.d/70-dmaframe.rules",
            "udevadm control --reload && sudo udevadm trigger",
        ];
        has(&host.access("/dev/udmabuf", 0), &rule);
        has(
            &host.access("/dev/udmabuf", 0),
            &["GROUP=\"video\"", "its group is root"],
        );
        has(&host.access("/dev/udmabuf", 4_000_000), &rule);
        has(&host.access("/dev/video0", 4_000_000), &["usermod -aG 4000000"]);
        has(
            &host.allowance("/dev/video0"),
            &["DeviceAllow=", "groups and modes change nothing"],
        );
    }

    #[test]
    fn a_container_is_given_the_node_and_its_group() {
        let container = inside("container");
        has(
            &container.appearance("/dev/dri", "load the driver"),
            &["--device /dev/dri"],
        );
        let words = [
            "--device /dev/udmabuf",
            "--group-add 4000000",
            "--group-add keep-groups",
        ];
        has(&container.access("/dev/udmabuf", 4_000_000), &words);
        has(&container.allowance("/dev/udmabuf"), &["--device /dev/udmabuf"]);
    }

    #[test]
    fn a_flatpak_that_has_the_devices_is_not_told_to_ask_for_them() {
        let mut flatpak = inside("flatpak");
        flatpak.app = Some("org.example.Camera".into());
        let asks = "--device=all org.example.Camera";
        has(
            &flatpak.access("/dev/video0", 4_000_000),
            &["portal", asks, "usermod"],
        );
        has(
            &flatpak.appearance("/dev/video0", "plug one in"),
            &["portal", asks, "plug one in"],
        );
        flatpak.devices = Some("dri;".into());
        has(&flatpak.appearance("/dev/udmabuf", "modprobe udmabuf"), &[asks]);
        let text = flatpak.access("/dev/dri/renderD128", 4_000_000);
        assert!(!text.contains("override"), "{text}");
        flatpak.devices = Some("shm;all;".into());
        for text in [
            flatpak.access("/dev/video0", 4_000_000),
            flatpak.appearance("/dev/video0", "plug one in"),
        ] {
            assert!(!text.contains("override"), "{text}");
        }
    }
}
