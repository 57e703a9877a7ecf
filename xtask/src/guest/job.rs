//! What the host tells the guest's first process to do: a JSON file in the job's folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Variables that go into the guest: those that begin so.
const ENVIRONMENT: &[&str] = &[
    "RUST_",
    "CARGO",
    "DMAFRAME_",
    "PROPTEST_",
    "QUICKCHECK_",
    "MIRI",
    "LOOM_",
    "NEXTEST",
    "INSTA_",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "GST_",
    "PIPEWIRE_",
    "LIBCAMERA_",
    "MESA_",
    "VK_",
    "CI",
    "LD_LIBRARY_PATH",
];
/// ... but not these: what they name is not in the guest, or is the lab's own.
const NOT: &[&str] = &[
    "CARGO_HOME",
    "RUSTUP_HOME",
    "CARGO_REGISTRIES",
    "CARGO_REGISTRY",
    "CARGO_TARGET_X86",
    "DMAFRAME_CACHE",
    "DMAFRAME_LAB",
];

/// A folder of the host that the guest sees at the same path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub(crate) path: PathBuf,
    pub(crate) writable: bool,
}

/// Everything the guest's first process needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) command: Vec<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) binds: Vec<Bind>,
    pub(crate) udev: bool,
    /// Rows and columns, when the command is to have a terminal.
    pub(crate) terminal: Option<(u16, u16)>,
    /// Seconds after which the command counts as hung.
    pub(crate) limit: Option<u64>,
}

/// How it ended, written by the guest's first process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Exit status as a shell shows it: 128+n for signal n.
    pub(crate) code: i32,
    /// Bytes written to standard output and standard error, so that a loss is seen.
    pub(crate) written: [u64; 2],
}

impl Job {
    /// A job for a command, with the workspace (read-only) and its target folder (writable) in the guest.
    pub(crate) fn new(command: Vec<String>, extra: &[PathBuf], udev: bool) -> Result<Self> {
        let cwd = std::env::current_dir().context("the current folder is gone")?;
        let mut binds = Vec::new();
        let mut add = |path: &Path, writable: bool| {
            if let Ok(path) = path.canonicalize()
                && path.is_dir()
                && path != Path::new("/")
            {
                binds.push(Bind { path, writable });
            }
        };
        match workspace(&cwd) {
            Some(workspace) => {
                add(&workspace, false);
                add(&workspace.join("target"), true);
            }
            None => add(&cwd, false),
        }
        if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
            add(Path::new(&target), true);
        }
        if let Some(program) = command
            .first()
            .map(Path::new)
            .filter(|p| p.is_absolute() || p.starts_with("."))
        {
            match target_dir_of(program) {
                Some(target) => add(&target, true),
                // Programs of the system are the guest's own.
                None if program.starts_with("/usr")
                    || program.starts_with("/bin")
                    || program.starts_with("/sbin") => {}
                None => program.parent().into_iter().for_each(|dir| add(dir, false)),
            }
        }
        for dir in std::env::split_paths(&std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default()) {
            add(&dir, false);
        }
        extra.iter().for_each(|path| add(path, true));
        tidy(&mut binds);
        Ok(Self {
            command,
            cwd,
            env: environment(std::env::vars_os()),
            binds,
            udev,
            terminal: None,
            limit: None,
        })
    }
}

/// Shorter paths first, each once; the writable one wins.
fn tidy(binds: &mut Vec<Bind>) {
    binds.sort_by(|a, b| a.path.cmp(&b.path).then(b.writable.cmp(&a.writable)));
    binds.dedup_by(|b, a| a.path == b.path);
    let all = binds.clone();
    let covered = |bind: &Bind| {
        let above = all
            .iter()
            .filter(|o| o.path != bind.path && bind.path.starts_with(&o.path));
        above
            .max_by_key(|o| o.path.as_os_str().len())
            .is_some_and(|o| o.writable || !bind.writable)
    };
    binds.retain(|b| !covered(b));
}

/// The variables that go into the guest.
fn environment(vars: impl Iterator<Item = (OsString, OsString)>) -> Vec<(String, String)> {
    let text = vars.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let begins = |list: &[&str], name: &str| list.iter().any(|p| name.starts_with(p));
    let mut env: Vec<_> = text
        .filter(|(k, _)| begins(ENVIRONMENT, k) && !begins(NOT, k))
        .collect();
    env.push(("DMAFRAME_LAB".into(), "1".into()));
    env
}

/// The workspace that `dir` lies in.
pub(crate) fn workspace(dir: &Path) -> Option<PathBuf> {
    let is_root =
        |d: &&Path| std::fs::read_to_string(d.join("Cargo.toml")).is_ok_and(|t| t.contains("[workspace]"));
    dir.ancestors().find(is_root).map(Path::to_owned)
}

/// The cargo target folder that a program lies in: cargo marks it.
fn target_dir_of(program: &Path) -> Option<PathBuf> {
    let program = program.canonicalize().ok()?;
    program
        .ancestors()
        .skip(1)
        .find(|d| d.join("CACHEDIR.TAG").exists())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &str, writable: bool) -> Bind {
        Bind {
            path: path.into(),
            writable,
        }
    }

    #[test]
    fn binds_are_ordered_and_single() {
        let mut binds = vec![
            bind("/w/target", true),
            bind("/w", false),
            bind("/w/crates", false),
            bind("/w/target/debug", false),
            bind("/t", true),
            bind("/t", false),
        ];
        tidy(&mut binds);
        assert_eq!(
            binds,
            [bind("/t", true), bind("/w", false), bind("/w/target", true)]
        );
    }

    #[test]
    fn environment_is_chosen() {
        let vars = [
            "RUST_LOG",
            "HOME",
            "CARGO_HOME",
            "CARGO_PKG_NAME",
            "DMAFRAME_LAB_ROOT",
            "PROPTEST_CASES",
        ];
        let names: Vec<_> = environment(vars.into_iter().map(|n| (n.into(), "x".into())))
            .into_iter()
            .map(|(k, _)| k)
            .collect();
        assert_eq!(
            names,
            ["RUST_LOG", "CARGO_PKG_NAME", "PROPTEST_CASES", "DMAFRAME_LAB"]
        );
    }
}
