//! `cargo xtask msrv`: the libraries with the oldest compiler they promise, Debian trixie's.

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::host::{Distro, Host};
use crate::steps::output;
use crate::test::build;
use crate::{cache, root};

/// What has to build with the old compiler, native and for 32 bits.
const PACKAGES: &[&str] = &["dmaframe-core", "dmaframe-alloc", "dmaframe-v4l2"];
const TARGETS: &[&str] = &["x86_64-unknown-linux-gnu", "i686-unknown-linux-gnu"];

/// Options of `cargo xtask msrv`.
#[derive(Debug, Args)]
pub(crate) struct MsrvArgs {
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

/// Checks all; gives the exit status.
pub(crate) fn main(args: &MsrvArgs) -> Result<i32> {
    if Host::read()?.distro != Distro::Debian {
        bail!(
            "the compiler checked is Debian trixie's: on this machine use rustup, as `cargo +1.85 check -p dmaframe-core`"
        );
    }
    let folder = root::folder(args.yes)?;
    let workspace = build::workspace()?;
    let metadata = build::metadata()?;
    let known: Vec<_> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|p| p["name"].as_str())
        .collect();
    if let Some(lost) = PACKAGES.iter().find(|p| !known.contains(p)) {
        bail!("there is no package {lost} in this workspace");
    }
    // Everything is downloaded by the host's cargo, which knows the machine's registry; inside there is no network.
    output(
        Command::new(build::cargo())
            .args(["fetch"])
            .current_dir(&workspace),
    )
    .context("cannot fetch the dependencies")?;
    let home = root::cargo_home()?;
    let target = cache::dir()?.join("msrv-target");
    std::fs::create_dir_all(&target)?;
    let cargo = |words: &str| format!("/usr/bin/cargo {words} --offline");
    let mut script = vec![
        "export PATH=/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 RUSTC=/usr/bin/rustc".to_owned(),
        format!(
            "export CARGO_HOME={} CARGO_TARGET_DIR={}",
            root::quote(&home),
            root::quote(&target)
        ),
        "unset RUSTFLAGS RUSTUP_TOOLCHAIN RUSTC_WRAPPER CARGO_BUILD_TARGET".into(),
        "rustc --version".into(),
    ];
    let packages: Vec<_> = PACKAGES.iter().map(|p| format!("-p {p}")).collect();
    for triple in TARGETS {
        script.push(format!("echo '== check for {triple}'"));
        script.push(cargo(&format!(
            "check --locked {} --target {triple}",
            packages.join(" ")
        )));
    }
    let status = root::entering(
        &folder,
        &[workspace.clone(), home, target],
        &workspace,
        &script.join(" && "),
    )
    .status()?;
    Ok(status.code().unwrap_or(1))
}
