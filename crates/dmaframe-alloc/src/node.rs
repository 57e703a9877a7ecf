//! Device nodes: opening them, and saying precisely why not.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;

/// A device node that is opened at the first use and kept.
#[derive(Debug)]
pub(crate) struct Node {
    path: PathBuf,
    flags: OFlags,
    drm: bool,
    fd: OnceLock<OwnedFd>,
}

impl Node {
    pub(crate) fn new(path: impl Into<PathBuf>, flags: OFlags) -> Self {
        Self {
            path: path.into(),
            flags: flags | OFlags::CLOEXEC,
            drm: false,
            fd: OnceLock::new(),
        }
    }

    /// A DRM node, which is not to become its card's master.
    #[cfg(any(feature = "drm", feature = "gbm"))]
    pub(crate) fn drm(path: impl Into<PathBuf>) -> Self {
        Self {
            drm: true,
            ..Self::new(path, OFlags::RDWR)
        }
    }

    /// A device that somebody else has opened, a session manager for one.
    #[cfg(any(feature = "drm", feature = "gbm"))]
    pub(crate) fn opened(fd: OwnedFd) -> Self {
        use std::os::fd::AsRawFd;
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let path = fs::read_link(&link).unwrap_or_else(|_| link.into());
        Self {
            fd: fd.into(),
            ..Self::new(path, OFlags::RDWR)
        }
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Opens it, or says why not; `remedy` is what would make a missing node exist.
    pub(crate) fn open(&self, remedy: impl FnOnce() -> String) -> Result<BorrowedFd<'_>, Error> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd.as_fd());
        }
        let fd = rustix::fs::open(&self.path, self.flags, Mode::empty())
            .map_err(|errno| self.refused(errno, remedy))?;
        if self.drm {
            not_master(fd.as_fd());
        }
        Ok(self.fd.get_or_init(|| fd).as_fd())
    }

    fn refused(&self, errno: Errno, remedy: impl FnOnce() -> String) -> Error {
        let device = self.name();
        match errno {
            Errno::NOENT | Errno::NOTDIR => Error::Missing {
                device,
                remedy: remedy(),
            },
            Errno::ACCESS | Errno::PERM => denied(&self.path).unwrap_or(Error::Os {
                call: "open",
                device,
                errno,
            }),
            Errno::NODEV | Errno::NXIO => Error::NoDriver {
                device,
                call: "open",
                errno,
                remedy: remedy(),
            },
            errno => Error::Os {
                call: "open",
                device,
                errno,
            },
        }
    }
}

/// Whoever opens a card node first becomes its master, and a display server that starts later could not.
fn not_master(fd: BorrowedFd<'_>) {
    #[cfg(any(feature = "drm", feature = "gbm"))]
    // Most often another process is the master, and that is the refusal.
    let _ = crate::sys::drm::drop_master(fd);
    #[cfg(not(any(feature = "drm", feature = "gbm")))]
    let _ = fd;
}

/// The permissions that kept us out; `None` when even those may not be read.
fn denied(path: &Path) -> Option<Error> {
    let meta = fs::metadata(path).ok()?;
    Some(Error::Denied {
        device: path.display().to_string(),
        mode: meta.permissions().mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        group: group_name(meta.gid()).unwrap_or_else(|| "?".to_owned()),
    })
}

/// From `/etc/group`: enough for a message.
fn group_name(gid: u32) -> Option<String> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1)?;
        (id.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

/// The entries of a folder whose names begin with `prefix`, by the number after it. Empty when there is no folder.
pub(crate) fn entries(dir: impl AsRef<Path>, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix(prefix)?.parse::<u32>().unwrap_or(u32::MAX);
            Some((number, name, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(.., path)| path).collect()
}
