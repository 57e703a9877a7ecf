//! Packages whose system library is newer than many hosts': compiled in the lab's root folder, by the host's own
//! toolchain, against the folder's libraries. What comes out runs where those libraries are: in the lab.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::build::{self, TestBinary};
use crate::root;
use crate::steps::output;

/// What of a package that is otherwise built on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// The test of this name.
    Test(String),
    /// The examples in its documentation.
    Documentation,
}

/// A part of a package's tests that has to be built in the root folder: `[[package.metadata.lab.inside]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Single {
    pub(crate) package: String,
    pub(crate) what: What,
    /// What it is built with, and nothing else.
    pub(crate) features: Vec<String>,
}

impl Single {
    fn words(&self) -> Vec<&str> {
        let mut words = vec!["--package", &self.package, "--no-default-features"];
        words.extend(self.features.iter().flat_map(|feature| ["--features", feature]));
        words
    }
}

/// Packages and the root folder to build them in.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    packages: Vec<String>,
    singles: Vec<Single>,
    root: PathBuf,
    workspace: PathBuf,
    /// The toolchain's own folder: rustup's programs choose one by what is not in the folder.
    sysroot: PathBuf,
    home: PathBuf,
    /// Its own: what the host compiled links the host's C library.
    target: PathBuf,
}

impl Inside {
    /// For building `packages` in `root`, and single tests of others.
    pub(crate) fn new(root: &Path, packages: Vec<String>, singles: Vec<Single>) -> Result<Self> {
        let workspace = build::workspace()?;
        let rustc = output(
            Command::new("rustc")
                .args(["--print", "sysroot"])
                .current_dir(&workspace),
        )?;
        let sysroot = PathBuf::from(rustc.trim());
        if sysroot.starts_with("/usr") && !sysroot.starts_with("/usr/local") {
            bail!(
                "the compiler in {} is the system's own and cannot be taken into the lab's root folder: use rustup's",
                sysroot.display()
            );
        }
        let target = build::target()?.join("inside");
        std::fs::create_dir_all(&target)?;
        // Everything is downloaded by the host's cargo, which knows the machine's registry; inside there is no network.
        output(Command::new(build::cargo()).arg("fetch").current_dir(&workspace))
            .context("cannot fetch the dependencies")?;
        Ok(Self {
            packages,
            singles,
            root: root.to_owned(),
            workspace,
            sysroot,
            home: root::cargo_home()?,
            target,
        })
    }

    /// A cargo command inside; `set` are variables for it.
    pub(crate) fn cargo(&self, set: &[(&str, &str)], words: &[impl AsRef<str>]) -> Command {
        let quoted = |path: &Path| root::quote(path);
        let mut script = vec![
            format!(
                "export PATH={}/bin:/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8",
                quoted(&self.sysroot)
            ),
            format!(
                "export CARGO_HOME={} CARGO_TARGET_DIR={}",
                quoted(&self.home),
                quoted(&self.target)
            ),
            "unset CARGO RUSTC RUSTC_WRAPPER RUSTFLAGS RUSTDOCFLAGS RUSTUP_TOOLCHAIN CARGO_BUILD_TARGET LD_LIBRARY_PATH".into(),
        ];
        for (name, value) in set {
            script.push(format!("export {name}={}", quoted(Path::new(value))));
        }
        let words: Vec<_> = words
            .iter()
            .map(|word| quoted(Path::new(word.as_ref())))
            .collect();
        // cargo looks for its subcommands in its home first, where rustup's are.
        let clippy = words.first().is_some_and(|word| word.contains("clippy"));
        let program = if clippy { "cargo-clippy" } else { "cargo --offline" };
        script.push(format!(
            "export CARGO_NET_OFFLINE=true && exec {program} {}",
            words.join(" ")
        ));
        let binds = [&self.workspace, &self.home, &self.target, &self.sysroot].map(PathBuf::clone);
        root::entering(&self.root, &binds, &self.workspace, &script.join(" && "))
    }

    /// The packages, for cargo's command line.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().flat_map(|name| ["--package", name])
    }

    /// Those of which the documentation's examples have to be built here, with the words for cargo's command line: the
    /// packages with every feature, and single ones.
    pub(crate) fn documented(&self) -> Vec<(String, Vec<&str>)> {
        let mut found = Vec::new();
        if !self.packages.is_empty() {
            let words = ["--all-features"].into_iter().chain(self.packages()).collect();
            found.push((self.packages.join(", "), words));
        }
        let singles = self.singles.iter().filter(|s| s.what == What::Documentation);
        found.extend(singles.map(|s| (format!("{} with {}", s.package, s.features.join(", ")), s.words())));
        found
    }

    /// Compiles the tests: the packages' with every feature, and the single ones.
    pub(crate) fn test_binaries(&self, release: bool) -> Result<Vec<TestBinary>> {
        let mut builds: Vec<Vec<&str>> = Vec::new();
        if !self.packages.is_empty() {
            eprintln!("Compiling {} in the lab's root folder", self.packages.join(", "));
            builds.push(["--all-features"].into_iter().chain(self.packages()).collect());
        }
        for single in &self.singles {
            let (package, What::Test(test)) = (&single.package, &single.what) else {
                continue;
            };
            eprintln!("Compiling {package}'s {test} in the lab's root folder");
            let mut words = vec!["--test", test.as_str()];
            words.extend(single.words());
            builds.push(words);
        }
        let mut binaries = Vec::new();
        for words in builds {
            let mut all = vec!["test", "--no-run", "--message-format=json-render-diagnostics"];
            all.extend(words);
            if release {
                all.push("--release");
            }
            let out = self.cargo(&[], &all).stderr(Stdio::inherit()).output()?;
            if !out.status.success() {
                bail!("the tests do not compile in the lab's root folder (above)");
            }
            binaries.extend(build::binaries_of(&String::from_utf8_lossy(&out.stdout))?);
        }
        Ok(binaries)
    }
}
