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
    if before >= BUILD || !build.exists() {
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

fn folders(of: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(of)?.flatten();
    Ok(entries.map(|e| e.path()).filter(|p| p.is_dir()).collect())
}
