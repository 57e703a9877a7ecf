//! What `cargo package` leaves behind, and why it has to go.
//!
//! cargo takes a package of the same name and version for the same package, unpacked and compiled, although its registry is
//! the one that `cargo package` has just made: the next run would be given this one's. What was compiled of the workspace
//! itself stays.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;

use super::Ci;
use crate::cache;

/// From before packages are built until after.
pub(super) struct Unpacked<'a> {
    ci: &'a Ci,
    names: Vec<String>,
    begun: SystemTime,
    /// There when the last run took away what it had left: where one was killed, or was of another kind, nobody knows what is
    /// whose.
    clean: PathBuf,
}

impl<'a> Unpacked<'a> {
    pub(super) fn begin(ci: &'a Ci, names: &[&str]) -> Result<Self> {
        let this = Self {
            ci,
            names: names.iter().map(|&name| name.to_owned()).collect(),
            begun: SystemTime::now(),
            clean: ci.target.join(".packages-forgotten"),
        };
        let known = std::fs::remove_file(&this.clean).is_ok();
        this.forget(known.then_some(this.begun))?;
        Ok(this)
    }

    pub(super) fn end(&self) -> Result<()> {
        self.forget(Some(self.begun))?;
        std::fs::write(&self.clean, "")?;
        Ok(())
    }

    /// What was unpacked, and what was compiled since then: everything of these packages, if that is not known.
    fn forget(&self, since: Option<SystemTime>) -> Result<()> {
        let ours = |file: &std::ffi::OsStr| {
            let package = file.to_str().and_then(|f| f.rsplit_once('-')).map(|f| f.0);
            package.is_some_and(|package| self.names.iter().any(|name| name == package))
        };
        let registries = std::fs::read_dir(crate::root::cargo_home()?.join("registry/src"));
        for registry in registries.into_iter().flatten().flatten() {
            // A registry that is a folder has no host in its name.
            if !registry.file_name().to_string_lossy().starts_with('-') {
                continue;
            }
            for entry in std::fs::read_dir(registry.path())?.flatten() {
                if ours(&entry.file_name()) {
                    cache::remove(&entry.path())?;
                }
            }
        }
        for part in ["debug", "inside/debug"] {
            let compiled = self.ci.target.join(part).join(".fingerprint");
            for entry in std::fs::read_dir(compiled).into_iter().flatten().flatten() {
                let new = since.is_none_or(|since| {
                    entry
                        .metadata()
                        .and_then(|m| m.modified())
                        .is_ok_and(|m| m >= since)
                });
                if new && ours(&entry.file_name()) {
                    cache::remove(&entry.path())?;
                }
            }
        }
        Ok(())
    }
}
