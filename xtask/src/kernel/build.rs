//! Configure, compile, strip, write down what it was made of.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::source::Source;
use super::{Manifest, Variant, patch};
use crate::steps::Steps;

/// Without these the lab is of no use; others may be missing in an older kernel.
const ESSENTIAL: &[&str] = &[
    "HOSTFS",
    "OVERLAY_FS",
    "TMPFS",
    "DEVTMPFS",
    "SYNC_FILE",
    "SW_SYNC",
    "UDMABUF",
    "DMABUF_HEAPS_SYSTEM",
    "DRM_VGEM",
    "DRM_VKMS",
    "VIDEO_VIVID",
    "SSL",
];

/// Builds into `temp/out`: `linux` and `manifest.json`.
pub(crate) fn build(steps: &Steps, temp: &Path, source: &Source, variant: Variant) -> Result<()> {
    let tools = source.tools(steps, temp)?;
    let src = source.unpack(steps, temp)?;
    steps.run("apply our changes", "see the error above", |_| patch::apply(&src))?;

    let (build, out) = (temp.join("build"), temp.join("out"));
    fs::create_dir_all(&build)?;
    fs::create_dir_all(&out)?;
    let fragment = temp.join("fragment.config");
    let old = source.package == "linux-source-6.12";
    // In 6.12 vivid depends on the frame buffer layer.
    fs::write(
        &fragment,
        format!("{}\n{}", variant.config(), if old { "CONFIG_FB=y\n" } else { "" }),
    )?;
    let make = |args: &[&str]| {
        let mut make = Command::new("make");
        make.arg("-s")
            .arg("-C")
            .arg(&src)
            .arg("ARCH=um")
            .arg(format!("O={}", build.display()))
            .args(args);
        make.envs(tools.iter().map(|(k, v)| (k, v)))
            .env_remove("MAKEFLAGS")
            .env("LC_ALL", "C");
        // The same name and time in every build of the same source.
        make.env("KBUILD_BUILD_USER", "dmaframe")
            .env("KBUILD_BUILD_HOST", "lab");
        make
    };
    let remedy = "report it with the log; an older source may do: --kernel-source linux-source-6.12";
    let config = steps.run("configure", remedy, |log| {
        log.command(make(&["allnoconfig"]).env("KCONFIG_ALLCONFIG", &fragment))?;
        let config = fs::read_to_string(build.join(".config"))?;
        check(&config, &variant.config())?;
        Ok(config)
    })?;
    let jobs = format!("-j{}", crate::host::cpus() + 1);
    steps.run("compile", remedy, |log| log.command(&mut make(&[&jobs, "linux"])))?;
    steps.run("strip and keep", remedy, |log| {
        log.command(
            Command::new("strip")
                .arg("-o")
                .arg(out.join("linux"))
                .arg(build.join("linux")),
        )?;
        let release = fs::read_to_string(build.join("include/config/kernel.release"))?
            .trim()
            .to_owned();
        let manifest = Manifest {
            package: source.package.clone(),
            version: source.version.clone(),
            key: variant.key(),
            smp: has(&config, "SMP"),
            // User Mode Linux runs its processes under seccomp since 6.16.
            seccomp: number(&release).is_some_and(|n| n >= (6, 16)),
            release,
        };
        fs::write(
            out.join("manifest.json"),
            serde_json::to_string_pretty(&manifest)?,
        )?;
        fs::write(out.join("config"), &config)?;
        Ok(())
    })
}

/// Leaves only the results in `temp`.
pub(crate) fn keep_results(temp: &Path) -> Result<()> {
    for entry in fs::read_dir(temp)?.flatten() {
        if entry.file_name() != "out" {
            if entry.path().is_dir() {
                crate::cache::remove(&entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
    for entry in fs::read_dir(temp.join("out")).into_iter().flatten().flatten() {
        fs::rename(entry.path(), temp.join(entry.file_name()))?;
    }
    fs::remove_dir(temp.join("out")).ok();
    Ok(())
}

fn has(config: &str, option: &str) -> bool {
    let line = format!("CONFIG_{option}=y");
    config.lines().any(|l| l == line)
}

fn check(config: &str, wanted: &str) -> Result<()> {
    let lost: Vec<_> = ESSENTIAL.iter().filter(|o| !has(config, o)).copied().collect();
    if !lost.is_empty() {
        bail!(
            "this kernel cannot have {}: the lab would be of no use",
            lost.join(", ")
        );
    }
    let options = wanted
        .lines()
        .filter_map(|l| l.strip_prefix("CONFIG_")?.strip_suffix("=y"));
    let dropped: Vec<_> = options.filter(|o| !has(config, o)).collect();
    if !dropped.is_empty() {
        eprintln!("  not in this kernel: {}", dropped.join(", "));
    }
    Ok(())
}

fn number(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split('.').map(|p| p.parse().context("number"));
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}
