//! The guest's file systems: a root that forgets its writes, and the host's folders that a job may see.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount, mount_move};

use super::job::Bind;

const NONE: MountFlags = MountFlags::empty();

/// Mounts a kernel file system, making the folder first.
fn put(kind: &str, at: &Path, flags: MountFlags, data: &str) -> Result<()> {
    fs::create_dir_all(at).with_context(|| format!("cannot make {}", at.display()))?;
    let data = std::ffi::CString::new(data)?;
    mount(kind, at, kind, flags, data.as_c_str())
        .with_context(|| format!("cannot mount {kind} on {}", at.display()))
}

/// Builds the new root below `/run` (a tmpfs by now) and changes into it.
pub(crate) fn enter(binds: &[Bind]) -> Result<()> {
    for dir in ["/run/upper", "/run/work", "/run/root"] {
        fs::create_dir_all(dir)?;
    }
    let root = Path::new("/run/root");
    // Writes go to the tmpfs: the folder on the host is never changed.
    put(
        "overlay",
        root,
        NONE,
        "lowerdir=/,upperdir=/run/upper,workdir=/run/work",
    )?;
    put("proc", &root.join("proc"), NONE, "")?;
    put("sysfs", &root.join("sys"), NONE, "")?;
    put("devtmpfs", &root.join("dev"), NONE, "")?;
    put(
        "devpts",
        &root.join("dev/pts"),
        NONE,
        "gid=5,mode=620,ptmxmode=666",
    )?;
    put("tmpfs", &root.join("dev/shm"), NONE, "mode=1777")?;
    put("tmpfs", &root.join("run"), NONE, "mode=0755")?;
    put("tmpfs", &root.join("tmp"), NONE, "mode=1777")?;
    // Absent in a kernel without them; whoever needs them will say so.
    put("debugfs", &root.join("sys/kernel/debug"), NONE, "").ok();
    put("configfs", &root.join("sys/kernel/config"), NONE, "").ok();
    for bind in binds {
        let at = root.join(bind.path.strip_prefix("/").unwrap_or(&bind.path));
        let flags = if bind.writable { NONE } else { MountFlags::RDONLY };
        let data = bind.path.to_str().context("a folder's name is not UTF-8")?;
        put("hostfs", &at, flags, data)?;
    }
    std::env::set_current_dir(root)?;
    mount_move(".", "/").context("cannot move the new root into place")?;
    rustix::process::chroot(".").context("cannot change to the new root")?;
    std::env::set_current_dir("/")?;
    for (name, to) in [
        ("fd", "fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ] {
        symlink(format!("/proc/self/{to}"), format!("/dev/{name}")).ok();
    }
    Ok(())
}
