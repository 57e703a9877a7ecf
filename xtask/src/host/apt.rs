//! A private apt: its own lists and sources in a folder, so that the machine's stay as they are. Needs no privilege.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Host;
use crate::steps::{Log, output};

/// apt-get and apt-cache with their own configuration.
#[derive(Debug)]
pub(crate) struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// Sets the folder up for these suites of the host's mirror.
    pub(crate) fn new(
        dir: PathBuf,
        host: &Host,
        mirror: &str,
        suites: &[&str],
        components: &str,
    ) -> Result<Self> {
        for part in [
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/sources.list.d",
            "lists/partial",
            "cache/archives/partial",
            "state",
            "deb",
        ] {
            fs::create_dir_all(dir.join(part))?;
        }
        let key = host.keyring();
        if !Path::new(key).exists() {
            bail!(
                "{key} is missing: install the package that holds the archive's keys (debian-archive-keyring or ubuntu-keyring)"
            );
        }
        let sources: String = suites
            .iter()
            .map(|s| format!("deb [signed-by={key}] {mirror} {s} {components}\n"))
            .collect();
        fs::write(dir.join("etc/sources.list"), sources)?;
        fs::copy("/var/lib/dpkg/status", dir.join("state/status")).context("cannot read dpkg's status")?;
        let d = dir.display();
        let mut conf = format!(
            "Dir::Etc \"{d}/etc\";\nDir::Etc::sourcelist \"{d}/etc/sources.list\";\nDir::Etc::sourceparts \"{d}/etc/sources.list.d\";\n\
             Dir::State::lists \"{d}/lists\";\nDir::Cache \"{d}/cache\";\nDir::State::status \"{d}/state/status\";\n\
             Acquire::Languages \"none\";\nAcquire::Retries \"3\";\n"
        );
        if super::is_root() {
            // The `_apt` user may not be able to write into the user's cache folder.
            conf.push_str("APT::Sandbox::User \"root\";\n");
        }
        conf.push_str(&proxies());
        fs::write(dir.join("apt.conf"), conf)?;
        Ok(Self { dir })
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .env("LC_ALL", "C")
            .current_dir(self.dir.join("deb"));
        command
    }

    /// Fetches the package lists.
    pub(crate) fn update(&self, log: &Log<'_>) -> Result<()> {
        log.command(
            self.tool("apt-get")
                .args(["-q", "update", "-o", "APT::Update::Error-Mode=any"]),
        )
    }

    /// Package names that begin so.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(output(self.tool("apt-cache").args(["pkgnames", prefix]))?
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// The version that would be downloaded.
    pub(crate) fn version(&self, package: &str) -> Result<String> {
        let text = output(
            self.tool("apt-cache")
                .args(["show", "--no-all-versions", package]),
        )?;
        let version = text.lines().find_map(|l| l.strip_prefix("Version: "));
        version
            .map(str::to_owned)
            .with_context(|| format!("apt-cache knows no version of {package}"))
    }

    /// Downloads a package (`name` or `name/suite`) and unpacks it into `into`.
    pub(crate) fn unpack(&self, log: &Log<'_>, package: &str, into: &Path) -> Result<()> {
        log.command(self.tool("apt-get").args(["-q", "download", package]))?;
        let prefix = format!("{}_", package.split('/').next().unwrap_or(package));
        let deb = fs::read_dir(self.dir.join("deb"))?
            .flatten()
            .find(|e| e.file_name().to_string_lossy().starts_with(&prefix));
        let deb = deb
            .with_context(|| format!("apt-get download left no file for {package}"))?
            .path();
        log.command(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(into))?;
        fs::remove_file(deb)?;
        Ok(())
    }
}

/// The machine's own proxy settings, which the private configuration would otherwise hide.
pub(crate) fn proxies() -> String {
    let dump = output(Command::new("apt-config").args([
        "dump",
        "--no-empty",
        "--format",
        "%F \"%v\";%n",
        "Acquire",
    ]));
    let is_proxy = |line: &&str| line.to_ascii_lowercase().contains("proxy");
    dump.unwrap_or_default()
        .lines()
        .filter(is_proxy)
        .map(|l| format!("{l}\n"))
        .collect()
}
