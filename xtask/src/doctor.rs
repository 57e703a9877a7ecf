//! `cargo xtask doctor`: the facade's own program, on this machine or in the lab.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::test::build;

/// Where to look, and what to print.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Look at the lab's guest instead of this machine
    #[arg(long)]
    lab: bool,
    /// For the program, after `--`: --json, or --trace --out DIR, ... (in the lab the target folder unless said otherwise)
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// Builds and runs it; gives its exit status.
pub(crate) fn main(args: &DoctorArgs) -> Result<i32> {
    let workspace = build::workspace()?;
    let mut cargo = Command::new(build::cargo());
    cargo.current_dir(&workspace).args(["build", "--release"]);
    cargo.args([
        "--package",
        "dmaframe",
        "--features",
        "doctor",
        "--bin",
        "dmaframe",
    ]);
    if !cargo.status()?.success() {
        bail!("`dmaframe doctor` does not compile (above)");
    }
    let program = build::target()?.join("release/dmaframe");
    let mut run = if args.lab {
        let mut lab = Command::new(crate::own_path());
        lab.current_dir(&workspace)
            .args(["lab", "run", "--"])
            .arg(&program);
        lab
    } else {
        Command::new(&program)
    };
    run.arg("doctor").args(&args.args);
    let has = |word: &str| {
        let is = |arg: &OsString| {
            arg.to_str()
                .is_some_and(|arg| arg.split('=').next() == Some(word))
        };
        args.args.iter().any(is)
    };
    // The one folder of this workspace that can be written in the guest.
    if args.lab && has("--trace") && !has("--out") {
        run.arg("--out").arg(build::target()?);
    }
    let status = run.status();
    let status = status.with_context(|| format!("cannot start {}", program.display()))?;
    Ok(status.code().unwrap_or(1))
}
