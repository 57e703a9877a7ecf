//! The user's cache folder: finished things only, each made once and by one process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The cache folder: `$DMAFRAME_CACHE`, `$XDG_CACHE_HOME/dmaframe` or `~/.cache/dmaframe`.
pub(crate) fn dir() -> Result<PathBuf> {
    let var = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let dir = var("DMAFRAME_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|d| d.join("dmaframe")))
        .or_else(|| var("HOME").map(|d| d.join(".cache/dmaframe")))
        .context("no place for the cache: set DMAFRAME_CACHE, XDG_CACHE_HOME or HOME")?;
    let dir = std::path::absolute(dir)?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot make the cache folder {}", dir.display()))?;
    Ok(dir)
}

/// A short stable name for everything that went into something.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize()
        .iter()
        .take(6)
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Only one process at a time makes things of one kind; the lock goes with the process.
#[derive(Debug)]
pub(crate) struct Shelf {
    dir: PathBuf,
    _lock: File,
}

impl Shelf {
    /// Locks `cache/kind`, waiting for another process if need be, and clears what a killed one left.
    pub(crate) fn lock(kind: &str) -> Result<Self> {
        let dir = dir()?.join(kind);
        fs::create_dir_all(&dir)?;
        let path = dir.join(".lock");
        let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        if lock.try_lock().is_err() {
            eprintln!("another process is at work in {}: waiting for it", dir.display());
            lock.lock()
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        let shelf = Self { dir, _lock: lock };
        for entry in fs::read_dir(&shelf.dir)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("making-") {
                match entry.file_type()?.is_dir() {
                    true => remove(&entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
            }
        }
        Ok(shelf)
    }

    /// The finished thing of this name, if it is there.
    pub(crate) fn get(&self, name: &str) -> Option<PathBuf> {
        Some(self.dir.join(name)).filter(|p| p.exists())
    }

    /// All other finished things.
    pub(crate) fn others(&self, name: &str) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.dir)?.flatten();
        let things = entries.filter(|e| e.file_name() != name && e.path().is_dir());
        Ok(things.map(|e| e.path()).collect())
    }

    /// Makes a thing in a temporary folder and puts it in its place in one step.
    pub(crate) fn make(&self, name: &str, work: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let (temp, done) = (self.dir.join(format!("making-{name}")), self.dir.join(name));
        fs::create_dir_all(&temp).with_context(|| format!("cannot make {}", temp.display()))?;
        let result = work(&temp);
        if result.is_ok() {
            if done.exists() {
                remove(&done)?;
            }
            fs::rename(&temp, &done)?;
        } else {
            remove(&temp).ok();
        }
        result.map(|()| done)
    }
}

/// Removes a folder; one that holds files of other user ids (mmdebstrap's) through a user namespace.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let Err(error) = fs::remove_dir_all(path) else {
        return Ok(());
    };
    let again = std::process::Command::new("unshare")
        .args(["--map-auto", "--map-root-user", "--user", "rm", "-rf", "--"])
        .arg(path)
        .output();
    if again.is_ok_and(|o| o.status.success()) {
        return Ok(());
    }
    Err(error).with_context(|| format!("cannot remove {}", path.display()))
}
