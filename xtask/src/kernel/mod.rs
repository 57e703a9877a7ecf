//! The lab's kernel: User Mode Linux, built once from the distribution's kernel source package.

mod build;
mod patch;
mod source;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cache::{self, Shelf};
use crate::steps::Steps;

/// Raised when the way of building changes, so that old kernels are not taken for new ones.
const BUILDER: &str = "1";
const CONFIG: &str = include_str!("../../../lab/uml.config");
const FAULTS: &str = include_str!("../../../lab/uml-faults.config");

/// Which kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub(crate) enum Variant {
    /// For every day: up to four CPUs.
    Default,
    /// One CPU, fault injection, time travel, lock checking.
    Faults,
}

impl Variant {
    fn name(self) -> &'static str {
        if self == Self::Default {
            "default"
        } else {
            "faults"
        }
    }

    /// The configuration fragment; options named twice count as the second says.
    fn config(self) -> String {
        match self {
            Self::Default => CONFIG.to_owned(),
            Self::Faults => {
                let base: Vec<_> = CONFIG
                    .lines()
                    .filter(|l| !l.starts_with("CONFIG_SMP=") && !l.starts_with("CONFIG_NR_CPUS="))
                    .collect();
                format!("{}\n{FAULTS}", base.join("\n"))
            }
        }
    }

    fn key(self) -> String {
        let config = self.config();
        let mut parts = vec![BUILDER.to_owned(), config];
        parts.extend(patch::texts().map(str::to_owned));
        cache::key(parts.iter().map(String::as_str))
    }
}

/// What lies beside a built kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The source package, as `linux-source-7.3`.
    pub(crate) package: String,
    /// Its version.
    pub(crate) version: String,
    /// Hash of configuration, patches and builder.
    pub(crate) key: String,
    /// What `uname -r` says in the guest.
    pub(crate) release: String,
    /// Whether the kernel knows `ncpus=`.
    pub(crate) smp: bool,
    /// Whether the kernel knows `seccomp=` (faster system calls than ptrace).
    pub(crate) seccomp: bool,
}

/// A kernel ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub(crate) path: PathBuf,
    pub(crate) manifest: Manifest,
}

impl Kernel {
    /// The newest built kernel of this variant and today's configuration, without building or asking the archive.
    pub(crate) fn find(variant: Variant) -> Result<Option<Self>> {
        let shelf = cache::dir()?.join("kernel");
        let prefix = format!("{}-{}-", variant.name(), variant.key());
        let mut found: Vec<_> = std::fs::read_dir(&shelf)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with(&prefix))
            .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
            .collect();
        found.sort();
        found.pop().map(|(_, dir)| Self::open(&dir)).transpose()
    }

    fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("manifest.json");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        Ok(Self {
            path: dir.join("linux"),
            manifest,
        })
    }

    /// A kernel that was built before, or a new one.
    pub(crate) fn ensure(variant: Variant, yes: bool) -> Result<Self> {
        match Self::find(variant)? {
            Some(kernel) => Ok(kernel),
            None => Self::build(variant, None, yes),
        }
    }

    /// Builds the kernel from the newest source, or says that it is there already.
    pub(crate) fn build(variant: Variant, package: Option<&str>, yes: bool) -> Result<Self> {
        crate::host::packages::require(crate::host::packages::KERNEL, yes)?;
        let shelf = Shelf::lock("kernel")?;
        if package.is_none()
            && let Some(kernel) = Self::find(variant)?
        {
            // Another process built it while we waited for the lock.
            return Ok(kernel);
        }
        let title = format!(
            "The lab's kernel ({}), about 6 minutes on two cores, once",
            variant.name()
        );
        let steps = Steps::new(&format!("kernel-{}", variant.name()), &title)?;
        let mut name = String::new();
        let work = shelf.make(&format!("{}-work", variant.name()), |temp| {
            let source = source::open(&steps, temp, package)?;
            name = format!(
                "{}-{}-{}",
                variant.name(),
                variant.key(),
                source.version.replace(['/', ':'], "_")
            );
            if shelf.get(&name).is_none() {
                build::build(&steps, temp, &source, variant)?;
            }
            build::keep_results(temp)
        })?;
        // Named only now: the version is known once the archive has been asked.
        let done = work.with_file_name(&name);
        if done.exists() {
            cache::remove(&work)?;
            eprintln!("Nothing newer in the archive: {name}");
        } else {
            std::fs::rename(&work, &done)?;
        }
        let kernel = Self::open(&done)?;
        let size = std::fs::metadata(&kernel.path)?.len() as f64 / 1e6;
        eprintln!(
            "Kernel {}: {:.1} s, {size:.1} MB",
            kernel.manifest.release,
            steps.seconds()
        );
        Ok(kernel)
    }
}
