//! The steps that need more than cargo: cargo-deny, Miri, cargo-fuzz.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::process::Command;
use std::sync::Mutex;

use anyhow::Result;

use super::{Ci, Verdict, some_tests, status, tools};
use crate::host;

impl Ci {
    pub(super) fn deny(&self) -> Result<Verdict> {
        let deny = tools::cargo_tool("cargo-deny", "0.20")?;
        let check = |what: &[&str]| {
            let mut check = self.command(&deny.clone().into());
            check.args(["--all-features", "check"]).args(what);
            check
        };
        let verdict = status(&mut check(&["bans", "licenses", "sources"]))?;
        if matches!(verdict, Verdict::Failed(_)) {
            return Ok(verdict);
        }
        let advisories = check(&["advisories"]).output()?;
        let text = String::from_utf8_lossy(&advisories.stderr).into_owned();
        eprint!("{text}");
        if advisories.status.success() {
            return Ok(Verdict::Ok);
        }
        let unreachable = [
            "failed to fetch",
            "failed to clone",
            "unable to fetch",
            "failed to load advisory database",
            "failed to open",
        ];
        if unreachable.iter().any(|u| text.contains(u)) {
            let why = "the advisory database cannot be reached from here; with a network: cargo deny check advisories";
            return Ok(Verdict::Partly(why.into()));
        }
        Ok(Verdict::Failed("advisories".into()))
    }

    pub(super) fn miri(&self) -> Result<Verdict> {
        if !tools::nightly(&["miri", "--version"]) {
            return Ok(Verdict::Skipped(
                "no nightly toolchain with Miri: rustup +nightly component add miri rust-src".into(),
            ));
        }
        // Pure code only: Miri knows neither ioctl nor mmap of a dma-buf.
        for tests in [
            &["-p", "dmaframe-core", "--lib"][..],
            &["-p", "dmaframe-vulkan", "--lib", "--", "sys::crew"],
        ] {
            // Some hundred times slower than the machine: a few cases of each property, and an end to it.
            let mut miri = self.command(&"timeout".into());
            miri.args(["--kill-after=5", "600", "cargo", "+nightly", "miri", "test"])
                .args(tests)
                .env("CARGO_TARGET_DIR", self.target.join("miri"))
                .env("PROPTEST_CASES", "2")
                .env("MIRIFLAGS", "-Zmiri-disable-isolation");
            tools::without_our_toolchain(&mut miri);
            match some_tests(&mut miri)? {
                Verdict::Ok => {}
                other => return Ok(other),
            }
        }
        Ok(Verdict::Ok)
    }

    pub(super) fn fuzz(&self) -> Result<Verdict> {
        if !self.workspace.join("fuzz/Cargo.toml").exists() {
            return Ok(Verdict::Skipped("there is no fuzz crate".into()));
        }
        if !tools::nightly(&["--version"]) {
            return Ok(Verdict::Skipped(
                "no nightly toolchain: rustup toolchain install nightly".into(),
            ));
        }
        let list = crate::steps::output(&mut self.cargo_fuzz(&["list"])?)?;
        // Made beside other steps, as a rule.
        if let Verdict::Failed(why) = status(&mut self.cargo_fuzz(&["build"])?)? {
            return Ok(Verdict::Failed(why));
        }
        let seconds = format!("-max_total_time={}", self.args.fuzz_seconds);
        let queue = Mutex::new(list.split_whitespace().collect::<VecDeque<_>>());
        let failed = Mutex::new(Vec::new());
        let work = || -> Result<()> {
            loop {
                let next = queue.lock().expect("no panic holds it").pop_front();
                let Some(target) = next else { return Ok(()) };
                let mut run = self.cargo_fuzz(&["run", target, "--", &seconds, "-print_final_stats=1"])?;
                let out = run.output()?;
                let text = [&out.stdout, &out.stderr].map(|text| String::from_utf8_lossy(text));
                // A line for each input that was worth keeping is too many; of one that failed, all.
                let found = !out.status.success();
                let told = |line: &&str| found || line.starts_with("Done ") || line.starts_with("stat::");
                let told: Vec<_> = text.iter().flat_map(|text| text.lines()).filter(told).collect();
                println!("== fuzz {target}: {}\n{}", out.status, told.join("\n"));
                if found {
                    let last = &told[told.len().saturating_sub(40)..];
                    let last = format!("== fuzz {target}\n{}\n", last.join("\n"));
                    failed.lock().expect("no panic holds it").push((target, last));
                }
            }
        };
        // As many at once as there are CPUs: each is one thread.
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..host::cpus()).map(|_| scope.spawn(work)).collect();
            let ends = workers.into_iter().map(|worker| worker.join());
            ends.map(|end| end.unwrap_or_else(|_| Err(anyhow::anyhow!("a thread died"))))
                .collect::<Result<Vec<_>>>()
        })?;
        let failed = failed.into_inner().expect("no panic holds it");
        Ok(if failed.is_empty() {
            Verdict::Ok
        } else {
            let (names, last): (Vec<_>, Vec<_>) = failed.into_iter().unzip();
            Verdict::Failed(format!("{}\n{}", names.join(", "), last.concat()))
        })
    }

    /// Compiles the fuzz targets, so that the step `fuzz` finds them made. Its verdict is that step's.
    pub(super) fn build_fuzzers(&self) -> Result<()> {
        if self.workspace.join("fuzz/Cargo.toml").exists() && tools::nightly(&["--version"]) {
            status(&mut self.cargo_fuzz(&["build"])?)?;
        }
        Ok(())
    }

    fn cargo_fuzz(&self, words: &[&str]) -> Result<Command> {
        let fuzz: OsString = tools::cargo_tool("cargo-fuzz", "0.13")?.into();
        let mut command = self.command(&fuzz);
        command.arg("fuzz").args(words);
        command.env("CARGO_TARGET_DIR", self.target.join("fuzz"));
        tools::without_our_toolchain(&mut command);
        command.env("RUSTUP_TOOLCHAIN", "nightly");
        Ok(command)
    }
}
