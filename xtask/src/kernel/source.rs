//! The kernel's source, and the tools to build it, from the distribution's archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host::{self, Distro, Host, apt::Apt, mirror};
use crate::steps::{Log, Steps};

/// The kernel that the lab was proved with; taken when the archive has it.
const PREFERRED: &str = "linux-source-7.3";
const REMEDY: &str = "see whether `apt-get update` works on this machine, then run this again";

/// An archive that has been asked, with the package to take.
#[derive(Debug)]
pub(crate) struct Source {
    apt: Apt,
    tools_suite: String,
    /// As `linux-source-7.3`.
    pub(crate) package: String,
    /// Its version in the archive.
    pub(crate) version: String,
}

/// Sets up a private apt below `temp` and chooses the package.
pub(crate) fn open(steps: &Steps, temp: &Path, wanted: Option<&str>) -> Result<Source> {
    let host = Host::read()?;
    let mirror = mirror::find(&host)?;
    let updates = format!("{}-updates", host.codename);
    let (mut suites, components) = match host.distro {
        Distro::Debian => (vec!["trixie", "trixie-backports"], "main"),
        Distro::Ubuntu => (vec![updates.as_str()], "main universe"),
    };
    // flex, bison and m4 run on the host, so they must be of its own release.
    if !suites.contains(&host.codename.as_str()) {
        suites.push(&host.codename);
    }
    let apt = Apt::new(temp.join("apt"), &host, &mirror, &suites, components)?;
    steps.run("ask the archive for kernel sources", REMEDY, |log| {
        apt.update(log)
    })?;
    let names = apt.names("linux-source-")?;
    let package = match wanted {
        Some(name) if names.iter().any(|n| n == name) => name.to_owned(),
        Some(name) => bail!("the archive has no {name}; it has: {}", names.join(" ")),
        None => {
            choose(&names).context("the archive has no linux-source-N package: is its component complete?")?
        }
    };
    let version = apt.version(&package)?;
    eprintln!("  {package} {version}");
    Ok(Source {
        apt,
        tools_suite: host.codename,
        package,
        version,
    })
}

/// The proved kernel, or the newest.
fn choose(names: &[String]) -> Option<String> {
    if names.iter().any(|n| n == PREFERRED) {
        return Some(PREFERRED.to_owned());
    }
    let number = |name: &String| -> Option<Vec<u32>> {
        name.strip_prefix("linux-source-")?
            .split('.')
            .map(|p| p.parse().ok())
            .collect()
    };
    names
        .iter()
        .filter_map(|n| Some((number(n)?, n)))
        .max()
        .map(|(_, n)| n.clone())
}

impl Source {
    /// Downloads and unpacks the source; gives its folder.
    pub(crate) fn unpack(&self, steps: &Steps, temp: &Path) -> Result<PathBuf> {
        let (deb, into) = (temp.join("deb"), temp.join("src"));
        let what = format!("download {}", self.package);
        steps.run(&what, REMEDY, |log| self.apt.unpack(log, &self.package, &deb))?;
        steps.run(
            "unpack the source",
            "is the disk full? about 3 GB are needed for the build",
            |log| {
                fs::create_dir_all(&into)?;
                let tarball = tarball(&deb.join("usr/src"))?;
                log.command(Command::new("tar").arg("-xf").arg(&tarball).arg("-C").arg(&into))?;
                fs::remove_dir_all(&deb)?;
                Ok(())
            },
        )?;
        let dir = fs::read_dir(&into)?
            .flatten()
            .map(|e| e.path())
            .find(|p| p.join("Kbuild").exists());
        dir.with_context(|| format!("{} holds no kernel source", self.package))
    }

    /// flex, bison and m4, unpacked below `temp` when the host has them not; gives the environment to use them.
    pub(crate) fn tools(
        &self,
        steps: &Steps,
        temp: &Path,
    ) -> Result<Vec<(&'static str, std::ffi::OsString)>> {
        let missing: Vec<_> = ["flex", "bison", "m4"]
            .into_iter()
            .filter(|t| host::find_program(t).is_none())
            .collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let tools = temp.join("tools");
        let what = format!("unpack {} for this build only", missing.join(", "));
        steps.run(&what, REMEDY, |log: &Log<'_>| {
            missing.iter().try_for_each(|tool| {
                self.apt
                    .unpack(log, &format!("{tool}/{}", self.tools_suite), &tools)
            })
        })?;
        let bin = tools.join("usr/bin");
        let old = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(bin.clone()).chain(std::env::split_paths(&old)))?;
        let mut env = vec![("PATH", path)];
        if missing.contains(&"m4") {
            env.push(("M4", bin.join("m4").into()));
        }
        if missing.contains(&"bison") {
            env.push(("BISON_PKGDATADIR", tools.join("usr/share/bison").into()));
        }
        Ok(env)
    }
}

/// Debian keeps the tarball in `usr/src`, Ubuntu one folder deeper.
fn tarball(dir: &Path) -> Result<PathBuf> {
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains(".tar.") {
                return Ok(path);
            }
        }
    }
    bail!("the source package holds no tarball")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_proved_kernel_or_the_newest() {
        let names = |list: &[&str]| {
            list.iter()
                .map(|n| format!("linux-source-{n}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            choose(&names(&["6.12", "7.3", "7.10"])).as_deref(),
            Some("linux-source-7.3")
        );
        assert_eq!(
            choose(&names(&["6.12", "7.9", "7.10", "rt"])).as_deref(),
            Some("linux-source-7.10")
        );
        assert_eq!(
            choose(&names(&["6.8.0", "6.17.0"])).as_deref(),
            Some("linux-source-6.17.0")
        );
        assert_eq!(choose(&[]), None);
    }
}
