//! The lab's devices, moved away and put back, and the doctor run among them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Devices are the machine's: one test at a time moves them.
static ALONE: Mutex<()> = Mutex::new(());

/// Holds the devices; puts everything back when dropped, also when the test failed.
pub(crate) struct Devices {
    _alone: MutexGuard<'static, ()>,
    moved: Vec<(PathBuf, PathBuf)>,
    modes: Vec<(PathBuf, u32, u32)>,
    names: Vec<(String, String)>,
}

/// Only root in the lab may move devices: elsewhere they are somebody's.
pub(crate) fn devices() -> Option<Devices> {
    if !dmaframe_testkit::in_lab() {
        dmaframe_testkit::skip("it moves device nodes about, which only the lab's may be");
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut devices = Devices {
        _alone: alone,
        moved: Vec::new(),
        modes: Vec::new(),
        names: names(),
    };
    // Of a root folder that is a container's: remedies would be others. Nothing that is done here reaches it.
    let _ = fs::remove_file("/.dockerenv");
    // One camera is enough, and vimc's need libcamera: runs are shorter without.
    let keep = camera();
    for node in entries("/dev", "video").into_iter().filter(|node| *node != keep) {
        devices.away(&node);
    }
    Some(devices)
}

/// The single-planar vivid.
pub(crate) fn camera() -> PathBuf {
    let away = entries("/dev", "video");
    let named = |node: &&PathBuf| sysfs_name(node).is_some_and(|name| name == "vivid-000-vid-cap");
    away.iter().find(named).expect("vivid's capture node").clone()
}

fn sysfs_name(node: &Path) -> Option<String> {
    let name = node.file_name()?.to_str()?;
    let text = fs::read_to_string(format!("/sys/class/video4linux/{name}/name")).ok()?;
    Some(text.trim().to_owned())
}

/// Node numbers shift: what stands for them in a snapshot.
fn names() -> Vec<(String, String)> {
    let mut names: Vec<_> = entries("/dev", "video")
        .iter()
        .filter_map(|node| {
            Some((
                node.display().to_string(),
                format!("/dev/<{}>", sysfs_name(node)?),
            ))
        })
        .collect();
    use dmaframe_testkit::{Device, find};
    for (device, name) in [
        (Device::VgemCard, "/dev/dri/<vgem card>"),
        (Device::VgemRender, "/dev/dri/<vgem render>"),
        (Device::Vkms, "/dev/dri/<vkms card>"),
    ] {
        if let Ok(path) = find(device) {
            names.push((path.display().to_string(), name.to_owned()));
        }
    }
    // The longer first: /dev/video1 is the beginning of /dev/video10.
    names.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    names
}

fn entries(dir: &str, prefix: &str) -> Vec<PathBuf> {
    let list = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    list.filter(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    })
    .collect()
}

/// All nodes the doctor looks at.
fn nodes() -> Vec<PathBuf> {
    let mut list = vec![PathBuf::from("/dev/udmabuf"), "/dev/dma_heap/system".into()];
    list.extend(entries("/dev", "video"));
    list.extend(entries("/dev/dri", "card"));
    list.extend(entries("/dev/dri", "renderD"));
    list
}

impl Devices {
    /// Moves a node or a folder of nodes out of sight.
    pub(crate) fn away(&mut self, path: &Path) {
        let name = path.file_name().unwrap().to_string_lossy();
        let hidden = Path::new("/dev").join(format!(".away-{name}"));
        fs::rename(path, &hidden).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.moved.push((path.to_owned(), hidden));
    }

    /// Everybody may open everything but these, which belong to the group `video` (44).
    pub(crate) fn deny(&mut self, denied: &[&Path]) {
        for node in nodes() {
            let meta = fs::metadata(&node).unwrap();
            self.modes.push((node.clone(), meta.mode() & 0o7777, meta.gid()));
            let mode = match denied.iter().any(|path| node.starts_with(path)) {
                true => 0o660,
                false => 0o666,
            };
            chown(&node, None, Some(44)).unwrap();
            fs::set_permissions(&node, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// Runs the doctor as root, or as a user without groups.
    pub(crate) fn doctor(&self, user: Option<u32>) -> Value {
        self.doctor_with(user, &[])
    }

    /// The same with something in its environment.
    pub(crate) fn doctor_with(&self, user: Option<u32>, variables: &[(&str, &str)]) -> Value {
        // The other user may not reach the build folder.
        let program = std::env::temp_dir().join(format!("dmaframe-{}", std::process::id()));
        fs::copy(env!("CARGO_BIN_EXE_dmaframe"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(&program);
        command
            .args(["doctor", "--json"])
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/tmp")
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let output = command.output().unwrap();
        fs::remove_file(program).unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Compares a report with a snapshot, without what differs from one kernel, Mesa or run to the next.
    pub(crate) fn snapshot(&self, name: &str, report: &Value, expected: &str) {
        let mut report = report.clone();
        for key in ["version", "system", "sandbox"] {
            report.as_object_mut().unwrap().remove(key);
        }
        let without = |list: &mut Value, keys: &[&str]| {
            for entry in list.as_array_mut().into_iter().flatten() {
                keys.iter().for_each(|key| {
                    entry.as_object_mut().unwrap().remove(*key);
                });
            }
        };
        without(&mut report["allocators"], &["max_object_len"]);
        without(&mut report["cameras"], &["formats", "bus"]);
        without(&mut report["daemons"], &["version", "detail"]);
        without(
            &mut report["gpus"],
            &["driver", "api", "extensions", "missing_extensions", "formats"],
        );
        // Allocators of features that link the system's libraries: not in every build.
        let optional = |entry: &Value, key: &str| {
            let name = entry[key].as_str().unwrap_or_default();
            name.contains("gbm /dev") || name.contains("dumb /dev")
        };
        let drop_optional = |list: &mut Value, key: &str| {
            list.as_array_mut()
                .into_iter()
                .for_each(|list| list.retain(|entry| !optional(entry, key)));
        };
        drop_optional(&mut report["allocators"], "name");
        drop_optional(&mut report["problems"], "object");
        for (list, imports, key) in [("cameras", "imports", "what"), ("gpus", "imports", "memory")] {
            for entry in report[list].as_array_mut().into_iter().flatten() {
                drop_optional(&mut entry[imports], key);
            }
        }
        if let Some(problems) = report["problems"].as_array_mut() {
            problems.sort_by_key(Value::to_string);
        }
        let mut text = serde_json::to_string_pretty(&report).unwrap();
        for (path, stands) in &self.names {
            text = text.replace(path, stands);
        }
        let text = addresses(&llvmpipe(&text));
        let (text, expected) = (text.trim(), expected.trim());
        if text == expected {
            return;
        }
        // Whole, so that it can be looked at and taken over.
        println!("SNAPSHOT {name}\n{text}\nEND {name}");
        let differs = text.lines().zip(expected.lines()).find(|(a, b)| a != b);
        panic!("the report is not tests/snapshots/{name}.json; the first line that differs: {differs:?}");
    }
}

/// `llvmpipe (LLVM 19.1.7, 256 bits)` as `llvmpipe`.
fn llvmpipe(text: &str) -> String {
    let mut parts = text.split("llvmpipe (LLVM ");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("llvmpipe");
        plain.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    plain
}

/// Addresses as `0x...`.
fn addresses(text: &str) -> String {
    let mut parts = text.split("address 0x");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("address 0x...");
        plain.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    plain
}

impl Drop for Devices {
    fn drop(&mut self) {
        for (path, mode, gid) in self.modes.drain(..) {
            let _ = chown(&path, None, Some(gid));
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(mode));
        }
        for (path, hidden) in self.moved.drain(..).rev() {
            let _ = fs::rename(hidden, path);
        }
    }
}

/// The one verdict of these ends; `to` may be a beginning.
pub(crate) fn verdict<'a>(report: &'a Value, from: &str, to: &str) -> &'a Value {
    let list = report["verdicts"].as_array().unwrap();
    let is = |value: &Value, start: &str| value.as_str().unwrap().starts_with(start);
    let found = list.iter().find(|v| is(&v["from"], from) && is(&v["to"], to));
    found.unwrap_or_else(|| panic!("no verdict {from} -> {to} in {list:#?}"))
}

/// Whether some problem of this object has this remedy.
pub(crate) fn has_problem(report: &Value, object: &str, reason: &str, remedy: &str) -> bool {
    let list = report["problems"].as_array().unwrap();
    list.iter().any(|problem| {
        problem["object"].as_str().unwrap().starts_with(object)
            && problem["reason"].as_str().unwrap().contains(reason)
            && problem["remedy"].as_str().unwrap().contains(remedy)
    })
}
