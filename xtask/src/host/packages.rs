//! What the host needs installed, and asking before it is.

use std::io::{BufRead, IsTerminal, Write};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// How we know that something is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Probe {
    /// A program on the path.
    Program(&'static str),
    /// A library that the C compiler can link.
    Library(&'static str),
    /// A header that the C compiler finds.
    Header(&'static str),
    /// A library that pkg-config knows.
    PkgConfig(&'static str),
    /// The same, of at least this version.
    PkgConfigLeast(&'static str, &'static str),
    /// libclang, where bindgen looks for it.
    Libclang,
}

/// One package of the host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    pub(crate) package: &'static str,
    pub(crate) why: &'static str,
    pub(crate) probe: Probe,
}

const fn program(name: &'static str, package: &'static str, why: &'static str) -> Need {
    Need {
        package,
        why,
        probe: Probe::Program(name),
    }
}

/// To build the lab's kernel (flex, bison and m4 are unpacked privately, not installed).
pub(crate) const KERNEL: &[Need] = &[
    program("gcc", "gcc", "compiles the lab's kernel"),
    program("ld", "binutils", "links the lab's kernel"),
    program("make", "make", "runs the kernel's build"),
    program("bc", "bc", "computes a header of the kernel"),
    program("xz", "xz-utils", "unpacks the kernel's source"),
    program("bzip2", "bzip2", "unpacks the kernel's source (Ubuntu's)"),
    program("perl", "perl", "runs scripts of the kernel's build"),
    Need {
        package: "libc6-dev",
        why: "the C library's headers",
        probe: Probe::Header("stdio.h"),
    },
];

/// To make the root folder.
pub(crate) const ROOT: &[Need] = &[program("mmdebstrap", "mmdebstrap", "makes the lab's root folder")];

/// To make the root folder as an ordinary user.
pub(crate) const ROOT_USER: &[Need] = &[program(
    "newuidmap",
    "uidmap",
    "lets an ordinary user make the lab's root folder",
)];

/// To build what the workspace's optional features link.
pub(crate) const GBM: Need = Need {
    package: "libgbm-dev",
    why: "the feature `gbm` links libgbm",
    probe: Probe::Library("gbm"),
};

/// To measure against Smithay, which links it whatever its features.
pub(crate) const XKBCOMMON: Need = Need {
    package: "libxkbcommon-dev",
    why: "the benches' feature `rivals` links libxkbcommon, through Smithay",
    probe: Probe::Library("xkbcommon"),
};

const PKG_CONFIG: Need = program(
    "pkg-config",
    "pkg-config",
    "finds the libraries that adapters link",
);

/// To build `dmaframe-gstreamer`.
pub(crate) const GSTREAMER: &[Need] = &[
    PKG_CONFIG,
    Need {
        package: "libgstreamer-plugins-base1.0-dev",
        why: "dmaframe-gstreamer links GStreamer, its base, video, app and allocators libraries",
        probe: Probe::PkgConfig("gstreamer-allocators-1.0"),
    },
];

/// To build `dmaframe-pipewire`.
pub(crate) const PIPEWIRE: &[Need] = &[
    PKG_CONFIG,
    Need {
        package: "libpipewire-0.3-dev",
        why: "dmaframe-pipewire links libpipewire",
        probe: Probe::PkgConfig("libpipewire-0.3"),
    },
    Need {
        package: "libclang-dev",
        why: "the PipeWire binding reads its headers with libclang",
        probe: Probe::Libclang,
    },
];

/// To build `dmaframe-libcamera`.
pub(crate) const LIBCAMERA: &[Need] = &[
    PKG_CONFIG,
    Need {
        package: "libcamera-dev",
        why: "dmaframe-libcamera links libcamera 0.4 or newer",
        probe: Probe::PkgConfigLeast("libcamera", "0.4"),
    },
    Need {
        package: "libclang-dev",
        why: "the libcamera binding reads its headers with libclang",
        probe: Probe::Libclang,
    },
    program("g++", "g++", "compiles the libcamera binding's C++ part"),
];

/// To fuzz: libFuzzer is C++.
pub(crate) const CXX: Need = program("g++", "g++", "compiles libFuzzer");

impl Need {
    /// Whether it is there.
    pub(crate) fn met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => super::find_program(name).is_some(),
            Probe::Library(name) => compiles(&["-shared", "-x", "c", "/dev/null", &format!("-l{name}")]),
            Probe::Header(name) => compiles(&["-E", "-include", name, "-x", "c", "/dev/null"]),
            Probe::PkgConfig(name) => pkg_config(&["--exists", name]),
            Probe::PkgConfigLeast(name, least) => pkg_config(&["--atleast-version", least, name]),
            Probe::Libclang => std::env::var_os("LIBCLANG_PATH").is_some() || libclang_is_there(),
        }
    }
}

fn pkg_config(args: &[&str]) -> bool {
    Command::new("pkg-config")
        .args(args)
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// Debian and Ubuntu keep each LLVM in a folder of its own.
fn libclang_is_there() -> bool {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders
        .filter(|folder| folder.file_name().to_string_lossy().starts_with("llvm-"))
        .flat_map(|folder| {
            std::fs::read_dir(folder.path().join("lib"))
                .into_iter()
                .flatten()
                .flatten()
        })
        .any(|file| {
            let name = file.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libclang") && !name.starts_with("libclang-cpp") && name.contains(".so")
        })
}

fn compiles(args: &[&str]) -> bool {
    Command::new("cc")
        .args(args)
        .args(["-o", "/dev/null"])
        .output()
        .is_ok_and(|o| o.status.success())
}

/// Sees to it that everything is there, or says exactly what to type.
pub(crate) fn require(needs: &[Need], yes: bool) -> Result<()> {
    let missing: Vec<_> = needs.iter().filter(|n| !n.met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|n| n.package).collect();
    eprintln!("Packages that are missing on this machine:");
    for need in &missing {
        eprintln!("  {:<16} {}", need.package, need.why);
    }
    let sudo = !super::is_root();
    // Another run may be installing, too: dpkg's lock is waited for.
    let mut line = vec![
        "apt-get",
        "-oDPkg::Lock::Timeout=600",
        "install",
        "--yes",
        "--no-install-recommends",
    ];
    line.extend(&names);
    if sudo {
        line.insert(0, "sudo");
    }
    let typed = line.join(" ");
    let terminal = std::io::stdin().is_terminal();
    let ci = std::env::var("CI").is_ok_and(|v| v == "true" || v == "1");
    if sudo && (!terminal || super::find_program("sudo").is_none()) {
        bail!("install what is missing, then run this again: {typed}");
    }
    // Root without a terminal is a container or a script: nobody is there to be asked.
    let agreed = yes || ci || !terminal || ask(&format!("Run `{typed}`?"))?;
    if !agreed {
        bail!("install what is missing, then run this again (or pass --yes): {typed}");
    }
    eprintln!("Installing: {typed}");
    let mut update = line[..usize::from(sudo)].to_vec();
    update.extend(["apt-get", "-q", "update"]);
    // Lists may never have been fetched (containers) or be old; a failing third-party source must not stop us.
    run(&update).or_else(|e| {
        eprintln!("  {e:#}; trying to install all the same");
        anyhow::Ok(())
    })?;
    run(&line)?;
    if let Some(need) = missing.iter().find(|n| !n.met()) {
        bail!(
            "{} was installed but its {:?} is still not found",
            need.package,
            need.probe
        );
    }
    Ok(())
}

fn run(line: &[&str]) -> Result<()> {
    let mut command = Command::new(line[0]);
    command
        .args(&line[1..])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::io::stderr());
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", line[0]))?;
    if !status.success() {
        bail!("`{}` ended with {status}", line.join(" "));
    }
    Ok(())
}

fn ask(question: &str) -> Result<bool> {
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
