//! The steps that need more than cargo: cargo-deny, Miri, cargo-fuzz.

use std::ffi::OsString;
use std::process::Stdio;

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
        let fuzz: OsString = tools::cargo_tool("cargo-fuzz", "0.13")?.into();
        let with = |words: &[&str]| {
            let mut command = self.command(&fuzz);
            command.arg("fuzz").args(words).env("RUSTUP_TOOLCHAIN", "nightly");
            command.env("CARGO_TARGET_DIR", self.target.join("fuzz"));
            tools::without_our_toolchain(&mut command);
            command.env("RUSTUP_TOOLCHAIN", "nightly");
            command
        };
        let list = crate::steps::output(&mut with(&["list"]))?;
        if let Verdict::Failed(why) = status(&mut with(&["build"]))? {
            return Ok(Verdict::Failed(why));
        }
        let seconds = format!("-max_total_time={}", self.args.fuzz_seconds);
        let (mut failed, targets) = (Vec::new(), list.split_whitespace().collect::<Vec<_>>());
        // As many at once as there are CPUs: each is one thread.
        for some in targets.chunks(host::cpus()) {
            let start = |target: &&'_ str| {
                let mut run = with(&["run", target, "--", &seconds, "-print_final_stats=1"]);
                run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
            };
            let running = some.iter().map(start).collect::<std::io::Result<Vec<_>>>()?;
            // Each has its pipes read by a thread, or one that says much would wait for the others.
            let ends: Vec<_> = running
                .into_iter()
                .map(|r| std::thread::spawn(|| r.wait_with_output()))
                .collect();
            for (target, end) in some.iter().zip(ends) {
                let out = end.join().map_err(|_| anyhow::anyhow!("a thread died"))??;
                println!("== fuzz {target}: {}", out.status);
                print!(
                    "{}{}",
                    String::from_utf8_lossy(&out.stdout),
                    String::from_utf8_lossy(&out.stderr)
                );
                if !out.status.success() {
                    failed.push(*target);
                }
            }
        }
        Ok(if failed.is_empty() {
            Verdict::Ok
        } else {
            Verdict::Failed(failed.join(", "))
        })
    }
}
