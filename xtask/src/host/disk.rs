//! Room on the disk: asked for before a long build, since a linker that runs out of it says everything but that.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const GB: u64 = 1_000_000_000;

/// What the tests' build folder takes when everything in it is new.
const BUILD: u64 = 16 * GB;
/// Less than this is not worth beginning with.
const LEAST: u64 = 3 * GB;

/// Bytes that an ordinary user may still write where `path` is.
fn free(path: &Path) -> Result<u64> {
    // A folder that will be made is where its nearest ancestor is.
    let there = path
        .ancestors()
        .find(|p| p.exists())
        .unwrap_or_else(|| Path::new("/"));
    let stat = rustix::fs::statvfs(there).with_context(|| format!("cannot ask {}", there.display()))?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Refuses to begin on a disk that is as good as full.
pub(crate) fn require(path: &Path) -> Result<()> {
    let free = free(path)?;
    if free < LEAST {
        bail!(
            "{:.1} GB are free where {} is, and a build from nothing takes {} GB: delete old build folders, or set \
             CARGO_TARGET_DIR and DMAFRAME_CACHE to a disk with room",
            free as f64 / GB as f64,
            path.display(),
            BUILD / GB
        );
    }
    Ok(())
}

/// Empties a build folder that nobody but CI uses when it and the disk have grown together: nothing else ever takes out
/// what old commits left there.
pub(crate) fn make_room(build: &Path) -> Result<()> {
    let before = free(build)?;
    if !build.exists() || before >= wanted(size(build)) {
        return Ok(());
    }
    println!(
        "{:.1} GB are free: emptying {}",
        before as f64 / GB as f64,
        build.display()
    );
    // The programs stay, one level down from each profile's folder: we are one of them, and start ourselves again.
    for profile in folders(build)? {
        for folder in folders(&profile)? {
            crate::cache::remove(&folder)?;
        }
    }
    Ok(())
}

/// What a run may still need on the disk when the folder has grown to `built` bytes.
fn wanted(built: u64) -> u64 {
    BUILD.saturating_sub(built).max(2 * LEAST)
}

/// Bytes on the disk below a folder, each file once.
fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut seen = std::collections::HashSet::new();
    let mut sum = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                folders.push(entry.path());
            } else if found.nlink() == 1 || seen.insert(found.ino()) {
                sum += found.blocks() * 512;
            }
        }
    }
    sum
}

fn folders(of: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(of)?.flatten();
    Ok(entries.map(|e| e.path()).filter(|p| p.is_dir()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_built_needs_less_than_one_that_is_not() {
        assert_eq!(wanted(0), BUILD);
        assert_eq!(wanted(BUILD / 2), BUILD / 2);
        assert_eq!(wanted(10 * BUILD), 2 * LEAST);
    }

    #[test]
    fn a_file_of_two_names_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("in/a"), vec![1; 100_000]).unwrap();
        let one = size(folder.path());
        assert!(one >= 100_000);
        std::fs::hard_link(folder.path().join("in/a"), folder.path().join("b")).unwrap();
        assert_eq!(size(folder.path()), one);
    }
}
