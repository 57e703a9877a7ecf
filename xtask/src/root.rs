//! The guest's root folder: the host's own, or a Debian trixie made once by mmdebstrap.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cache::{self, Shelf};
use crate::host::{self, Distro, Host, apt, mirror, packages};
use crate::steps::{Steps, output};

/// Raised when the way of making the folder changes.
const MAKER: &str = "1";
const PACKAGES: &str = include_str!("../../lab/root/packages.txt");
const PREFERENCES: &str = include_str!("../../lab/root/preferences");
const CAMERA: &str = include_str!("../../lab/root/virtual.yaml");
/// What the host must have to be the guest's root itself, and the least version where one matters.
const HOST_MUST_HAVE: &[(&str, &str)] = &[
    ("libgl1-mesa-dri", "26"),
    ("mesa-vulkan-drivers", "26"),
    ("libgbm1", "26"),
    ("pipewire", "1.6"),
    ("wireplumber", "0.5.12"),
    ("libcamera-tools", "0.7"),
    ("gstreamer1.0-plugins-good", "1.26"),
    ("gstreamer1.0-pipewire", "1.6"),
    ("v4l-utils", "1"),
    ("udev", "1"),
];

/// Package names of the list, in its order.
fn names() -> impl Iterator<Item = &'static str> {
    PACKAGES
        .lines()
        .map(|l| l.split('#').next().unwrap_or("").trim())
        .filter(|l| !l.is_empty())
}

fn folder_name(host: &Host) -> String {
    let parts: Vec<_> = [MAKER, PREFERENCES, CAMERA].into_iter().chain(names()).collect();
    format!("{}-{}", suite(host), cache::key(parts))
}

fn suite(host: &Host) -> &'static str {
    match host.distro {
        Distro::Debian => "trixie",
        // The first LTS with Mesa 26; its packages run on a 24.04 host as a folder.
        Distro::Ubuntu => "resolute",
    }
}

/// The root for guests: `$DMAFRAME_LAB_ROOT`, `/` where the host is new enough, or the folder (made if need be).
pub(crate) fn ensure(yes: bool) -> Result<PathBuf> {
    match ready()? {
        Some(root) => Ok(root),
        None => folder(yes),
    }
}

/// The same without making anything.
pub(crate) fn ready() -> Result<Option<PathBuf>> {
    if let Some(root) = std::env::var_os("DMAFRAME_LAB_ROOT").filter(|r| !r.is_empty()) {
        return Ok(Some(fs::canonicalize(root)?));
    }
    let host = Host::read()?;
    let folder = cache::dir()?.join("root").join(folder_name(&host));
    if folder.exists() {
        return Ok(Some(folder));
    }
    Ok(host_is_new_enough().then(|| PathBuf::from("/")))
}

fn host_is_new_enough() -> bool {
    HOST_MUST_HAVE.iter().all(|(package, least)| {
        let query =
            output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status} ${Version}", package]));
        let query = query.unwrap_or_default();
        let Some(version) = query.strip_prefix("installed ") else {
            return false;
        };
        Command::new("dpkg")
            .args(["--compare-versions", version, "ge", least])
            .status()
            .is_ok_and(|s| s.success())
    })
}

/// The root folder in the cache, made now if it is not there.
pub(crate) fn folder(yes: bool) -> Result<PathBuf> {
    let host = Host::read()?;
    let name = folder_name(&host);
    if let Some(done) = Some(cache::dir()?.join("root").join(&name)).filter(|p| p.exists()) {
        return Ok(done);
    }
    packages::require(packages::ROOT, yes)?;
    if !host::is_root() {
        packages::require(packages::ROOT_USER, yes)?;
    }
    let shelf = Shelf::lock("root")?;
    if let Some(done) = shelf.get(&name) {
        return Ok(done);
    }
    let steps = Steps::new("root", "The guest's root folder, about 2 minutes and 2 GB, once")?;
    let mirror = mirror::find(&host)?;
    let remedy = "see whether `apt-get update` works on this machine; as an ordinary user, user namespaces must be allowed \
                  (sysctl kernel.unprivileged_userns_clone, and AppArmor's restriction on Ubuntu)";
    let done = shelf.make(&name, |temp| {
        // Readable by other users: guests need no privilege.
        fs::set_permissions(temp, fs::Permissions::from_mode(0o755))?;
        let what = format!("unpack {} packages and what they need", names().count());
        steps.run(&what, remedy, |log| {
            let hook = temp.with_extension("preferences");
            fs::write(&hook, PREFERENCES)?;
            let made = mmdebstrap(&host, &mirror, temp, &hook, log);
            fs::remove_file(&hook)?;
            made
        })?;
        if !temp.join("usr/bin/v4l2-ctl").exists() {
            bail!("mmdebstrap ended well but left no system in {}", temp.display());
        }
        finish(temp)
    })?;
    retire(&shelf, &name)?;
    let size = output(Command::new("du").args(["-sm", "--"]).arg(&done))?;
    eprintln!(
        "Root folder: {:.1} s, {} MB",
        steps.seconds(),
        size.split_whitespace().next().unwrap_or("?")
    );
    Ok(done)
}

fn mmdebstrap(
    host: &Host,
    mirror: &str,
    temp: &Path,
    preferences: &Path,
    log: &crate::steps::Log<'_>,
) -> Result<()> {
    let (suite, key) = (suite(host), host.keyring());
    let (components, extra) = match host.distro {
        Distro::Debian => ("main", "trixie-backports"),
        Distro::Ubuntu => ("main universe", "resolute-updates"),
    };
    let mut make = Command::new("mmdebstrap");
    make.args(["--variant=minbase", "--architectures=amd64,i386", "--format=auto"])
        .args([
            "--aptopt=APT::Install-Recommends \"false\"",
            "--aptopt=Acquire::Languages \"none\"",
            "--aptopt=Acquire::Retries \"3\"",
        ])
        // No manuals: a third of the folder.
        .args([
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
        ])
        .args([
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        ])
        .args(["--dpkgopt=force-unsafe-io"])
        .arg(format!("--include={}", names().collect::<Vec<_>>().join(",")));
    if host.distro == Distro::Debian {
        make.arg("--setup-hook=mkdir -p \"$1/etc/apt/preferences.d\"");
        make.arg(format!(
            "--setup-hook=upload {} /etc/apt/preferences.d/backports",
            preferences.display()
        ));
    }
    for line in apt::proxies().lines() {
        make.arg(format!("--aptopt={}", line.trim_end_matches(';')));
    }
    // i386 is there for the compiler's 32-bit library alone, which the release itself has.
    let sources = [(suite, "amd64,i386"), (extra, "amd64")]
        .map(|(suite, arch)| format!("deb [arch={arch} signed-by={key}] {mirror} {suite} {components}"));
    if host::is_root() {
        return log.command(make.arg("--mode=root").arg(suite).arg(temp).args(sources));
    }
    // As a tar archive: the files then belong to the user, who can read and remove them all.
    let tar = temp.with_extension("tar");
    let made = log
        .command(make.arg("--mode=unshare").arg(suite).arg(&tar).args(sources))
        .and_then(|()| {
            let mut unpack = Command::new("tar");
            unpack
                .arg("-xf")
                .arg(&tar)
                .args(["--no-same-owner", "--exclude=./dev/*", "-C"])
                .arg(temp);
            log.command(&mut unpack)
        });
    fs::remove_file(&tar).ok();
    made
}

/// Removes folders made from older package lists, 3 GB each. The newest of them stays: another checkout may be at it.
fn retire(shelf: &Shelf, now: &str) -> Result<()> {
    let mut old: Vec<_> = shelf.others(now)?;
    old.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).and_then(|m| m.modified()).ok()));
    old.iter().skip(1).try_for_each(|path| cache::remove(path))
}

/// What the packages do not bring.
fn finish(root: &Path) -> Result<()> {
    let camera = root.join("usr/share/libcamera/pipeline/virtual");
    fs::create_dir_all(&camera)?;
    fs::write(camera.join("virtual.yaml"), CAMERA)?;
    // The machine's mirror is nobody else's business.
    for dir in ["var/cache/apt", "var/lib/apt/lists", "etc/apt/sources.list.d"] {
        cache::remove(&root.join(dir))?;
    }
    fs::remove_file(root.join("etc/apt/sources.list")).ok();
    Ok(())
}

/// A command inside the root folder, with the given host folders bound into it at the same paths,
/// in a mount namespace of its own: nothing stays mounted whatever happens.
pub(crate) fn entering(root: &Path, binds: &[PathBuf], cwd: &Path, script: &str) -> Command {
    let mut lines = vec!["set -e".to_owned(), "mount --make-rprivate /".into()];
    // On /sys, under which nothing of the user can lie.
    // The folder in the cache is not to be changed by what runs in it: an overlay takes the writes where it can.
    lines.push("mount -t tmpfs tmpfs /sys && mkdir /sys/up /sys/work /sys/root".into());
    lines.push(
        "mount -t overlay overlay -o \"lowerdir=$ROOT,upperdir=/sys/up,workdir=/sys/work\" /sys/root".into(),
    );
    for bind in binds {
        let quoted = quote(bind);
        lines.push(format!(
            "mkdir -p /sys/root{quoted} && mount --rbind {quoted} /sys/root{quoted}"
        ));
    }
    lines.push("mount --rbind /proc /sys/root/proc && mount -t tmpfs tmpfs /sys/root/dev".into());
    let device = ": > /sys/root/dev/$f; mount --bind /dev/$f /sys/root/dev/$f";
    lines.push(format!("for f in null zero urandom random; do {device}; done"));
    let inner = format!("cd {} && {script}", quote(cwd));
    lines.push(format!(
        "exec chroot /sys/root /bin/sh -c {}",
        quote(Path::new(&inner))
    ));
    let mut unshare = Command::new("unshare");
    if !host::is_root() {
        unshare.arg("--map-root-user");
    }
    unshare
        .args(["--mount", "/bin/sh", "-c", &lines.join("\n")])
        .env("ROOT", root)
        .stdin(Stdio::null());
    unshare
}

/// Where cargo keeps what it downloads.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    Ok(PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cargo"))
}

/// For a POSIX shell.
pub(crate) fn quote(text: &Path) -> String {
    format!("'{}'", text.to_string_lossy().replace('\'', r"'\''"))
}
