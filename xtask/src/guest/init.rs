//! The guest's first process: mounts, devices, the command, its status, power off.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, WaitOptions};
use rustix::system::{RebootCommand, reboot};

use super::hung::Watch;
use super::job::{Job, Status};
use super::{io, mounts};

/// Where the shell that started us has mounted the host's whole file system.
const HOST: &str = "/run/host";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the job in the host's folder `dir`; never returns.
pub(crate) fn main(dir: &Path) -> ! {
    let host = |name: &str| {
        Path::new(HOST)
            .join(dir.strip_prefix("/").unwrap_or(dir))
            .join(name)
    };
    // Opened before the root changes: the host's files are out of reach after that.
    let file = |name| fs::File::create(host(name));
    let files = file("status").and_then(|status| Ok((status, file("error")?, file("hung")?)));
    let Ok((mut status, mut error, hung)) = files else {
        eprintln!("dmaframe lab: cannot write into the job's folder");
        power_off();
    };
    match run(&host("job.json"), hung) {
        Ok(result) => {
            let text = serde_json::to_string(&result).unwrap_or_default();
            std::io::Write::write_all(&mut status, text.as_bytes()).ok();
        }
        Err(e) => {
            std::io::Write::write_all(&mut error, format!("{e:#}").as_bytes()).ok();
        }
    }
    status.sync_all().ok();
    error.sync_all().ok();
    power_off()
}

fn power_off() -> ! {
    rustix::fs::sync();
    reboot(RebootCommand::PowerOff).ok();
    // Not reached; the end of the first process stops the kernel too, less politely.
    std::process::exit(1)
}

fn run(job: &Path, hung: fs::File) -> Result<Status> {
    let text = fs::read(job).context("cannot read the job")?;
    let job: Job = serde_json::from_slice(&text).context("the job is damaged")?;
    mounts::enter(&job.binds)?;
    rustix::system::sethostname(b"lab").ok();
    // What the kernel's command line left in our environment is no business of the command.
    let base = [
        ("PATH", PATH),
        ("HOME", "/root"),
        ("USER", "root"),
        ("LANG", "C.UTF-8"),
        ("XDG_RUNTIME_DIR", "/run/user/0"),
    ];
    fs::create_dir_all("/run/user/0")?;
    fs::set_permissions("/run/user/0", std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let quiet = |line: &str| {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", line])
            .env_clear()
            .envs(base)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        shell.status().is_ok_and(|s| s.success())
    };
    quiet("ip link set lo up");
    if job.udev {
        let started = quiet(
            "mkdir -p /run/udev && /lib/systemd/systemd-udevd --daemon && \
             udevadm trigger --action=add --subsystem-match=media --subsystem-match=video4linux && udevadm settle -t 20",
        );
        anyhow::ensure!(
            started,
            "udevd could not be started: does the root folder hold it?"
        );
    }
    let (program, args) = job.command.split_first().context("the job has no command")?;
    let mut command = match job.terminal {
        None => Command::new(program),
        Some(_) => {
            let mut command = Command::new("setsid");
            command.args(["--ctty", "--wait"]).arg(program);
            command
        }
    };
    command
        .args(args)
        .env_clear()
        .envs(base)
        .envs(job.env.iter().map(|(k, v)| (k, v)));
    let cwd = if job.cwd.is_dir() {
        &job.cwd
    } else {
        Path::new("/")
    };
    command.current_dir(cwd);
    if let Some(seconds) = job.limit {
        let limit = Duration::from_secs(seconds);
        Watch { limit, into: hung }.start();
    }
    match job.terminal {
        None => with_pipes(&mut command, program),
        Some(size) => on_terminal(&mut command, size),
    }
}

fn with_pipes(command: &mut Command, program: &str) -> Result<Status> {
    let (mut out, err) = (io::line(0)?, io::line(1)?);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            // As a shell does: 127 when there is no such program.
            let mut err = err;
            let text = format!("{program}: {error}\n");
            std::io::Write::write_all(&mut err, text.as_bytes())?;
            rustix::termios::tcdrain(&err)?;
            let code = if error.kind() == std::io::ErrorKind::NotFound {
                127
            } else {
                126
            };
            return Ok(Status {
                code,
                written: [0, text.len() as u64],
            });
        }
    };
    let relays = [
        io::relay(child.stdout.take().context("no pipe")?, out.try_clone()?),
        io::relay(child.stderr.take().context("no pipe")?, err),
    ];
    let code = wait(&child)?;
    // A daemon that the command left behind may hold the pipes for ever.
    let patience = Instant::now() + Duration::from_secs(2);
    while relays.iter().any(|r| !r.is_finished()) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::io::Write::flush(&mut out)?;
    let mut written = [u64::MAX; 2];
    for (count, relay) in written.iter_mut().zip(relays) {
        if relay.is_finished() {
            *count = relay
                .join()
                .map_err(|_| anyhow::anyhow!("a relay died"))?
                .context("cannot send the output")?;
        }
    }
    Ok(Status { code, written })
}

fn on_terminal(command: &mut Command, (rows, columns): (u16, u16)) -> Result<Status> {
    let path = "/dev/ttyS0";
    let line = fs::OpenOptions::new().read(true).write(true).open(path)?;
    let size = rustix::termios::Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&line, size)?;
    command
        .stdin(line.try_clone()?)
        .stdout(line.try_clone()?)
        .stderr(line.try_clone()?);
    let child = command.spawn().context("cannot start the shell")?;
    let code = wait(&child)?;
    rustix::termios::tcdrain(&line).ok();
    Ok(Status {
        code,
        written: [u64::MAX; 2],
    })
}

/// Waits for the command, and reaps every orphan that ends before it.
fn wait(child: &Child) -> Result<i32> {
    let wanted = Pid::from_child(child);
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == wanted => {
                let status = ExitStatus::from_raw(status.as_raw());
                return Ok(status.code().or(status.signal().map(|s| 128 + s)).unwrap_or(125));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the command"),
        }
    }
}
