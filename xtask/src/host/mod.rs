//! What there is to know and to arrange on the machine itself.

pub(crate) mod apt;
pub(crate) mod disk;
pub(crate) mod mirror;
pub(crate) mod packages;

use anyhow::{Context, Result, bail};

/// The distributions whose packages the lab can be made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distro {
    /// Debian: the kernel's source and the root folder come from trixie and trixie-backports.
    Debian,
    /// Ubuntu 24.04 or newer.
    Ubuntu,
}

/// The host's distribution and the name of its release.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) distro: Distro,
    pub(crate) codename: String,
}

impl Host {
    /// Reads `/etc/os-release`.
    pub(crate) fn read() -> Result<Self> {
        let text = std::fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        let (Some(id), Some(codename)) = (field(&text, "ID"), field(&text, "VERSION_CODENAME")) else {
            bail!("/etc/os-release names no release: the lab is made from Debian's or Ubuntu's packages");
        };
        let distro = match id.as_str() {
            "debian" => Distro::Debian,
            "ubuntu" => Distro::Ubuntu,
            other => bail!(
                "the lab's kernel is made from Debian's or Ubuntu's source packages and this is {other}: \
                 use a Debian 13 container (`cargo xtask test` needs no privilege in it), or `cargo xtask test --host`"
            ),
        };
        Ok(Self { distro, codename })
    }

    /// The archive's keyring, which every Debian or Ubuntu has.
    pub(crate) fn keyring(&self) -> &'static str {
        match self.distro {
            Distro::Debian => "/usr/share/keyrings/debian-archive-keyring.gpg",
            Distro::Ubuntu => "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
        }
    }
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix('='))
        .map(|v| v.trim_matches('"').to_owned())
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Number of CPUs we may use.
pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Where a program is, looked for as a shell would, in the system's folders too.
pub(crate) fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|d| d.join(name))
        .find(|p| p.is_file())
}

/// What to say when the kernel's limit on mappings is the default one, which a large guest process runs into.
pub(crate) fn map_count_advice() -> Option<String> {
    let now: u64 = std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()?
        .trim()
        .parse()
        .ok()?;
    (now < 262_144).then(|| {
        format!(
            "vm.max_map_count is {now}: a guest process with more than about 256 MB of scattered pages can hang. \
             If that happens: sudo sysctl vm.max_map_count=1048576"
        )
    })
}
