//! `cargo xtask ci`: everything that must hold, one step after the other, with a table at the end.

mod beside;
mod deep;
mod features;
mod shown;
mod tools;
mod unpacked;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::test::build;
use crate::test::inside::Inside;
use crate::{cache, host};
use beside::Beside;
use shown::{some_tests, status};
use unpacked::Unpacked;

/// One check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting
    Fmt,
    /// Lints, warnings are errors
    Clippy,
    /// The facade with each of its features alone, and without each
    Features,
    /// Documentation without warnings
    Doc,
    /// Licences, advisories, duplicate and banned crates
    Deny,
    /// Every publishable crate packs and builds from its package
    Package,
    /// The oldest compiler, 64 and 32 bits
    Msrv,
    /// Model checking of the lock-free parts
    Loom,
    /// Undefined behaviour in pure code (needs a nightly toolchain with Miri)
    Miri,
    /// Each fuzz target for a while (needs a nightly toolchain)
    Fuzz,
    /// All tests, in the lab
    Test,
}

/// Options of `cargo xtask ci`.
#[derive(Debug, Args)]
pub(crate) struct CiArgs {
    /// Only these steps
    steps: Vec<Step>,
    /// Seconds for each fuzz target
    #[arg(long, default_value_t = 20)]
    fuzz_seconds: u32,
    /// Features taken together in the step `features`: 2 tries every pair, which takes minutes
    #[arg(long, default_value_t = 1)]
    feature_depth: u32,
    /// The step `features` also runs the facade's tests without each feature, on this machine, which takes minutes
    #[arg(long)]
    feature_tests: bool,
    /// Stop at the first step that fails
    #[arg(long)]
    fail_fast: bool,
    /// For this program's own use: the steps run beside others, and how they ended is written here
    #[arg(long, hide = true)]
    beside: Option<PathBuf>,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// Part of it was not done: why.
    Partly(String),
    /// Not done at all: why.
    Skipped(String),
    /// Why, in the first line; below it what the step said last.
    Failed(String),
}

/// What the steps share.
struct Ci {
    workspace: PathBuf,
    /// One target folder for every clone on this machine, so that a later run is short.
    target: PathBuf,
    args: CiArgs,
}

/// Runs the steps; gives the exit status.
pub(crate) fn main(args: CiArgs) -> Result<i32> {
    let cache = cache::dir()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cache.join("ci-target"), PathBuf::from);
    let ci = Ci {
        workspace: build::workspace()?,
        target,
        args,
    };
    if let Some(file) = &ci.args.beside {
        return beside::child(&ci, file);
    }
    let steps: Vec<Step> = if ci.args.steps.is_empty() {
        Step::value_variants().to_vec()
    } else {
        ci.args.steps.clone()
    };
    // Another run would take away what this one has just built, and both would compile everything twice.
    let _alone = ci.alone()?;
    if ci.target.starts_with(&cache) {
        host::disk::make_room(&ci.target)?;
    }
    // Asked for once, before the first compilation needs it.
    if host::is_root() {
        use host::packages::{CXX, GBM, GSTREAMER, PIPEWIRE, XKBCOMMON};
        let needs = [&[GBM, XKBCOMMON, CXX], GSTREAMER, PIPEWIRE].concat();
        host::packages::require(&needs, false).ok();
    }
    let begun = Instant::now();
    let mut beside = Beside::start(&ci, &steps)?;
    let mut table = Vec::new();
    for step in steps {
        println!("\n#### {}", step.name());
        let start = Instant::now();
        // Nothing else runs beside the tests, whose waits are bounded.
        let ended = match step {
            Step::Loom | Step::Miri | Step::Test | Step::Fuzz => beside.ended(step)?,
            _ => None,
        };
        let (verdict, seconds) = match ended {
            Some(ended) => ended,
            None => {
                let verdict = ci.run(step);
                let verdict = verdict.unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
                (verdict, start.elapsed().as_secs_f32())
            }
        };
        let failed = matches!(verdict, Verdict::Failed(_));
        table.push((step, verdict, seconds));
        if failed && ci.args.fail_fast {
            break;
        }
    }
    for (step, verdict, _) in &table {
        if let Some(last) = verdict.last_words().filter(|last| !last.is_empty()) {
            println!(
                "\n#### {} FAILED; its last lines again:\n{}",
                step.name(),
                last.trim_end()
            );
        }
    }
    println!("\n#### summary");
    let mut bad = 0;
    for (step, verdict, seconds) in &table {
        let (word, why) = verdict.words();
        bad += u32::from(matches!(verdict, Verdict::Failed(_)));
        println!("{:<8} {word:<8} {seconds:>7.1} s  {why}", step.name());
    }
    println!(
        "{} steps, {bad} failed, {:.0} s{}",
        table.len(),
        begun.elapsed().as_secs_f32(),
        beside.note()
    );
    Ok(i32::from(bad > 0))
}

impl Verdict {
    /// As the table has it: a word, and why.
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Ok => ("ok", ""),
            Self::Partly(why) => ("PARTLY", why),
            Self::Skipped(why) => ("NOT RUN", why),
            Self::Failed(why) => ("FAILED", why.lines().next().unwrap_or_default()),
        }
    }

    /// What a step that failed said last.
    fn last_words(&self) -> Option<&str> {
        match self {
            Self::Failed(why) => why.split_once('\n').map(|(_, last)| last),
            _ => None,
        }
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value()
            .map(|v| v.get_name().to_owned())
            .unwrap_or_default()
    }
}

impl Ci {
    fn run(&self, step: Step) -> Result<Verdict> {
        let selection = build::selection(false)?;
        let all = selection.workspace();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let all = all.as_slice();
        match step {
            Step::Fmt => self.cargo(&[&["fmt", "--all", "--check"]]),
            Step::Clippy => {
                let here = self.cargo(&[&["clippy", "--all-targets"], all, &["--", "-D", "warnings"]])?;
                let (words, last) = (
                    ["clippy", "--all-targets", "--all-features"],
                    ["--", "-D", "warnings"],
                );
                self.and_inside(here, &selection, &[], &words, &last)
            }
            Step::Features => self.features(&selection),
            Step::Doc => {
                let mut doc = self.command(&build::cargo());
                doc.args(["doc", "--no-deps"])
                    .args(all)
                    .env("RUSTDOCFLAGS", "-D warnings");
                let here = status(&mut doc)?;
                let flags = [("RUSTDOCFLAGS", "-D warnings")];
                self.and_inside(
                    here,
                    &selection,
                    &flags,
                    &["doc", "--no-deps", "--all-features"],
                    &[],
                )
            }
            Step::Deny => self.deny(),
            Step::Package => self.package(&selection),
            Step::Msrv if host::Host::read()?.distro != host::Distro::Debian => Ok(Verdict::Skipped(
                "the compiler is Debian's; here: cargo +1.85 check -p dmaframe-core -p dmaframe-alloc -p dmaframe-v4l2"
                    .into(),
            )),
            Step::Msrv => self.itself(&["msrv"]),
            Step::Loom => {
                let mut loom = self.command(&build::cargo());
                loom.args(["test", "-p", "dmaframe-core", "--release", "--lib", "loom"]);
                // Its own folder: other flags would make every other step compile anew.
                loom.env("RUSTFLAGS", "--cfg loom")
                    .env("CARGO_TARGET_DIR", self.target.join("loom"));
                loom.env("LOOM_MAX_PREEMPTIONS", "3");
                some_tests(&mut loom)
            }
            Step::Miri => self.miri(),
            Step::Test => self.test(&selection),
            Step::Fuzz => self.fuzz(),
        }
    }

    fn command(&self, program: &OsString) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.workspace)
            .env("CARGO_TARGET_DIR", &self.target)
            // For the next edit of the same file, which is never made here; a quarter of the folder otherwise.
            .env("CARGO_INCREMENTAL", "0")
            .stdin(Stdio::null());
        command
    }

    fn cargo(&self, words: &[&[&str]]) -> Result<Verdict> {
        status(self.command(&build::cargo()).args(words.concat()))
    }

    /// The same step for the packages that only the lab's root folder can build, after it went well on the host.
    fn and_inside(
        &self,
        here: Verdict,
        selection: &build::Selection,
        set: &[(&str, &str)],
        words: &[&str],
        last: &[&str],
    ) -> Result<Verdict> {
        let packages = selection.inside();
        if packages.is_empty() || !matches!(here, Verdict::Ok) {
            return Ok(here);
        }
        let root = crate::root::ensure(true)?;
        if root == Path::new("/") {
            let lost = packages.join(", ");
            return Ok(Verdict::Partly(format!(
                "{lost}: this machine has not got what it links"
            )));
        }
        let inside = Inside::new(&root, packages.to_vec(), Vec::new())?;
        let packages: Vec<_> = inside.packages().collect();
        let words = [words, &packages, last].concat();
        let line = format!("cargo {} (in the lab's root folder)", words.join(" "));
        shown::named(&mut inside.cargo(set, &words), &line)
    }

    fn itself(&self, words: &[&str]) -> Result<Verdict> {
        status(self.command(&crate::own_path().into()).args(words).arg("--yes"))
    }

    /// Packs every publishable crate and builds it from its package, as crates.io's users will.
    fn package(&self, selection: &build::Selection) -> Result<Verdict> {
        let metadata = build::metadata()?;
        let packages = metadata["packages"].as_array().into_iter().flatten();
        // `publish = false` is an empty list of registries.
        let names: Vec<_> = packages
            .filter(|p| p["publish"].is_null())
            .filter_map(|p| p["name"].as_str())
            .collect();
        let unpacked = Unpacked::begin(self, &names)?;
        let chosen = |names: &[&str]| -> Vec<String> {
            let words = names.iter().flat_map(|name| ["--package", name]);
            words.map(str::to_owned).collect()
        };
        let run = |words: &[&str], names: &[&str]| {
            let mut command = self.command(&build::cargo());
            command.args(["package", "--allow-dirty"]).args(words);
            status(command.args(chosen(names)))
        };
        // cargo resolves optional dependencies too, and none of these is in a registry yet: whoever may depend on a
        // package that is not built here is packed together with it, but not built from its package.
        let waits = |name: &&&str| {
            let needed = build::dependencies(&metadata, &[(**name).to_owned()]);
            !selection.has(name) || needed.iter().any(|name| !selection.has(name))
        };
        let unbuilt: Vec<_> = names.iter().filter(waits).copied().collect();
        let built: Vec<_> = names.iter().filter(|name| !waits(name)).copied().collect();
        // Each is built alone, and cargo refuses the name of a feature that one of them has not got: all, or the usual.
        let every: &[&str] = match selection.is_whole(&metadata, &built) {
            true => &["--all-features"],
            false => &[],
        };
        let mut here = run(every, &built)?;
        if !unbuilt.is_empty() && matches!(here, Verdict::Ok) {
            here = run(&["--no-verify"], &names)?;
        }
        // With what they depend on in this workspace; without its features, which the host's turn had.
        let local = build::dependencies(&metadata, selection.inside());
        let local: Vec<_> = local.iter().flat_map(|name| ["--package", name]).collect();
        let there = self.and_inside(here, selection, &[], &["package", "--allow-dirty"], &local)?;
        unpacked.end()?;
        let lost: Vec<_> = unbuilt.into_iter().filter(|name| selection.has(name)).collect();
        Ok(match there {
            Verdict::Ok if !lost.is_empty() => Verdict::Partly(format!(
                "{} packed, but not built from its package: an optional dependency is not built on this machine",
                lost.join(", ")
            )),
            other => other,
        })
    }

    fn test(&self, selection: &build::Selection) -> Result<Verdict> {
        let verdict = self.itself(&["test"])?;
        let lost = selection.left_out();
        Ok(match verdict {
            Verdict::Ok if !lost.is_empty() => Verdict::Partly(format!(
                "not tested, since this machine has not got what they link: {}",
                lost.join(", ")
            )),
            other => other,
        })
    }

    /// The target folder for this run alone; the lock goes with the process.
    fn alone(&self) -> Result<std::fs::File> {
        std::fs::create_dir_all(&self.target)?;
        let path = self.target.join(".ci-lock");
        let lock =
            std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        if lock.try_lock().is_err() {
            println!("another run has {}: waiting for it", self.target.display());
            lock.lock()
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(lock)
    }
}
