//! Device nodes: which there are, and why one cannot be opened.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::report::{DrmNode, Problem, Sandbox};
use super::sandbox::group_name;
use super::sys;

/// The entries of a folder whose names begin with `prefix`, by the number after it.
pub(super) fn list(dir: &str, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number: u32 = name.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// Opens a device node, or says why not.
pub(super) fn open(path: &Path, sandbox: &Sandbox, missing: &str) -> Result<File, Problem> {
    // A bit in the middle: the same in every integer type.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| refused(path, &error, sandbox, missing))
}

/// Why a node was not opened, and what would help.
pub(super) fn refused(path: &Path, error: &io::Error, sandbox: &Sandbox, missing: &str) -> Problem {
    let object = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Problem {
            reason: "does not exist".to_owned(),
            remedy: sandbox.appearance(&object, missing),
            object,
        },
        io::ErrorKind::PermissionDenied
            if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) =>
        {
            Problem {
                reason: "may not be opened, whatever its mode and group (EPERM)".to_owned(),
                remedy: sandbox.allowance(&object),
                object,
            }
        }
        io::ErrorKind::PermissionDenied => {
            let meta = fs::metadata(path);
            let (reason, gid) = match &meta {
                Ok(meta) => {
                    let group = group_name(meta.gid()).unwrap_or_else(|| meta.gid().to_string());
                    let mode = meta.mode() & 0o7777;
                    (
                        format!("may not be opened: mode {mode:04o}, group {group}"),
                        meta.gid(),
                    )
                }
                Err(_) => ("may not be opened, nor may its folder be read".to_owned(), 0),
            };
            Problem {
                reason,
                remedy: sandbox.access(&object, gid),
                object,
            }
        }
        io::ErrorKind::ResourceBusy => Problem {
            reason: "somebody else has it open exclusively".to_owned(),
            remedy: format!("`fuser -v {object}` says who"),
            object,
        },
        _ => Problem {
            reason: format!("cannot be opened: {error}"),
            remedy: "the kernel's log (dmesg) may say more".to_owned(),
            object,
        },
    }
}

/// The DRM nodes, with their drivers.
pub(super) fn drm(sandbox: &Sandbox, problems: &mut Vec<Problem>) -> Vec<DrmNode> {
    const MISSING: &str = "the driver of the GPU or display is not loaded, or this machine has neither";
    let mut found = Vec::new();
    for path in list("/dev/dri", "card")
        .into_iter()
        .chain(list("/dev/dri", "renderD"))
    {
        if !fs::metadata(&path).is_ok_and(|meta| meta.file_type().is_char_device()) {
            continue;
        }
        let driver = match open(&path, sandbox, MISSING) {
            Ok(file) => sys::drm_driver(&file).ok(),
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        found.push(DrmNode {
            node: path.display().to_string(),
            driver,
        });
    }
    if found.is_empty() {
        problems.push(Problem {
            object: "/dev/dri".to_owned(),
            reason: "there is no DRM node".to_owned(),
            remedy: sandbox.appearance("/dev/dri", MISSING),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_of_devices_forbids_is_no_matter_of_groups() {
        let sandbox = Sandbox {
            kind: "none".into(),
            ..Sandbox::default()
        };
        let problem = |errno: rustix::io::Errno| {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            refused(Path::new("/dev/null"), &error, &sandbox, "")
        };
        let forbidden = problem(rustix::io::Errno::PERM);
        assert!(forbidden.reason.contains("EPERM"), "{}", forbidden.reason);
        assert!(!forbidden.remedy.contains("usermod"), "{}", forbidden.remedy);
        let denied = problem(rustix::io::Errno::ACCESS);
        assert!(denied.reason.contains("mode 0666"), "{}", denied.reason);
        assert!(denied.remedy.contains("70-dmaframe.rules"), "{}", denied.remedy);
    }
}
