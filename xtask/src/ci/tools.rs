//! The tools of CI which are cargo packages: installed once, into the cache, not among the user's own.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cache::{self, Shelf};
use crate::host::find_program;
use crate::test::build;

/// A tool of this version line: the user's own where it is on the path, else from the cache.
pub(crate) fn cargo_tool(name: &str, version: &str) -> Result<PathBuf> {
    if let Some(own) = find_program(name)
        && Command::new(&own)
            .arg("--version")
            .output()
            .is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(version))
    {
        return Ok(own);
    }
    let shelf = Shelf::lock("tools")?;
    let key = format!("{name}-{version}");
    if let Some(done) = shelf.get(&key) {
        return Ok(done.join("bin").join(name));
    }
    println!("installing {name} {version} into the cache, once");
    let begun = Instant::now();
    let done = shelf.make(&key, |temp| {
        let mut install = Command::new(build::cargo());
        install
            .args([
                "install",
                "--locked",
                "--quiet",
                name,
                "--version",
                &format!("~{version}"),
                "--root",
            ])
            .arg(temp);
        install
            .env("CARGO_TARGET_DIR", temp.join("target"))
            .env_remove("RUSTFLAGS")
            .stdin(Stdio::null());
        // Used a few times per run: compiled for a short build, not for speed.
        install
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "off");
        install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        if !install.status()?.success() {
            bail!("cargo could not install {name}: see above");
        }
        cache::remove(&temp.join("target"))
    })?;
    println!("installed {name} in {:.0} s", begun.elapsed().as_secs_f32());
    Ok(done.join("bin").join(name))
}

/// Whether `cargo +nightly WORDS` works.
pub(crate) fn nightly(words: &[&str]) -> bool {
    let mut command = Command::new("cargo");
    command.arg("+nightly").args(words);
    without_our_toolchain(&mut command);
    command.output().is_ok_and(|o| o.status.success())
}

/// rustup tells its children which toolchain they run in; this one is to choose anew.
pub(crate) fn without_our_toolchain(command: &mut Command) {
    for name in [
        "RUSTUP_TOOLCHAIN",
        "CARGO",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "LD_LIBRARY_PATH",
    ] {
        command.env_remove(name);
    }
}
