//! Media daemons and libraries, with their versions.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::pipewire;
use super::report::Daemon;

pub(super) fn examine() -> Vec<Daemon> {
    vec![
        daemon("PipeWire", pipewire_version()),
        daemon("WirePlumber", wireplumber()),
        daemon("xdg-desktop-portal", portal()),
        daemon("GStreamer", gstreamer()),
        daemon("libcamera", libcamera()),
    ]
}

fn daemon(name: &str, found: Result<(Option<String>, String), String>) -> Daemon {
    let name = name.to_owned();
    match found {
        Ok((version, detail)) => Daemon {
            name,
            found: true,
            version,
            detail,
        },
        Err(detail) => Daemon {
            name,
            found: false,
            version: None,
            detail,
        },
    }
}

/// The daemon's own word, over its socket.
fn pipewire_version() -> Result<(Option<String>, String), String> {
    let path = pipewire::socket()?;
    let shown = path.display().to_string();
    let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{shown} does not exist: the daemon does not run for this user (systemctl --user start pipewire)")
        }
        std::io::ErrorKind::ConnectionRefused => format!("{shown} is there, but nobody listens to it"),
        _ => format!("{shown}: {error}"),
    })?;
    match pipewire::version(stream) {
        Ok(version) => Ok((Some(version), shown)),
        Err(error) => Ok((
            None,
            format!("{shown} answered, but not with its version: {error}"),
        )),
    }
}

/// Without a session manager PipeWire has no cameras, and links no streams to them.
fn wireplumber() -> Result<(Option<String>, String), String> {
    let process = process("wireplumber").ok_or(
        "it does not run for this user, as far as can be seen from here: PipeWire has no cameras without a session manager \
         (systemctl --user start wireplumber)",
    )?;
    let version = program("wireplumber").and_then(|program| {
        let output = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, version) = text.split_once("Linked with libwireplumber ")?;
        Some(version.split_whitespace().next()?.to_owned())
    });
    // Whoever wonders why a camera is copied here and not by its node in /dev.
    let cameras = "the cameras that it adds to PipeWire fill a buffer again whoever holds it, so that `source` copies their \
                   pictures (Wish::unguarded)";
    Ok((version, format!("{process}; {cameras}")))
}

/// What sandboxed applications get cameras and screens from.
fn portal() -> Result<(Option<String>, String), String> {
    // The kernel keeps 15 bytes of a name.
    if let Some(process) = process("xdg-desktop-por") {
        return Ok((None, process));
    }
    let service = "/usr/share/dbus-1/services/org.freedesktop.portal.Desktop.service";
    Err(match Path::new(service).exists() {
        true => "it does not run now, and is started when somebody asks it".to_owned(),
        false => "it is not installed (the package xdg-desktop-portal, and one for the desktop)".to_owned(),
    })
}

/// A process of this user.
fn process(name: &str) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid().as_raw();
    let mut processes = fs::read_dir("/proc").ok()?.flatten();
    let found = processes.find(|entry| {
        let comm = fs::read_to_string(entry.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
            && entry.metadata().is_ok_and(|process| process.uid() == user)
    })?;
    Some(format!("process {}", found.file_name().to_string_lossy()))
}

fn gstreamer() -> Result<(Option<String>, String), String> {
    let program = program("gst-inspect-1.0")
        .ok_or("gst-inspect-1.0 is not on the PATH (the package gstreamer1.0-tools)")?;
    let output = Command::new(&program)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("GStreamer "));
    Ok((
        line.map(|version| version.trim().to_owned()),
        program.display().to_string(),
    ))
}

/// By its library's name, which carries the version.
fn libcamera() -> Result<(Option<String>, String), String> {
    let arch = std::env::consts::ARCH;
    let mut dirs = vec![
        "/usr/lib64".to_owned(),
        "/usr/lib".into(),
        "/usr/local/lib".into(),
        "/app/lib".into(),
    ];
    for abi in ["linux-gnu", "linux-musl", "linux-gnueabihf"] {
        dirs.push(format!("/usr/lib/{arch}-{abi}"));
        dirs.push(format!("/usr/local/lib/{arch}-{abi}"));
    }
    let names = dirs
        .iter()
        .flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    let versions = names.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let version = name.strip_prefix("libcamera.so.")?.to_owned();
        Some((version, entry.path()))
    });
    // `libcamera.so.0.5` is a link to `libcamera.so.0.5.1`: the longer name says more.
    let best = versions.max_by_key(|(version, _)| (version.len(), version.clone()));
    let (version, path) = best.ok_or("there is no libcamera.so in the system's library folders")?;
    Ok((Some(version), path.display().to_string()))
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| Path::is_file(file))
}
