//! The host's side of a guest: starts the kernel, passes its output on, sees to it that nothing is left behind.

use std::fs::{self, File};
use std::io::{IsTerminal, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::job::{Job, Status};
use super::{GuestArgs, KERNEL_ARGS, Lab, Switch, console};
use crate::{signals, sys};

/// The exit status when the lab itself failed, and when the time was up.
const LAB_FAILED: i32 = 125;
const TIMED_OUT: i32 = 124;

/// What the guest has to write down what its threads wait for.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// One stream of the command: what the kernel writes into, and the thread that passes it on.
struct Stream {
    into: OwnedFd,
    passed: JoinHandle<u64>,
}

/// Runs the job; gives the command's exit status.
pub(crate) fn run(lab: &Lab, mut job: Job, args: &GuestArgs, on_terminal: bool) -> Result<i32> {
    signals::watch()?;
    let folder = tempfile::Builder::new()
        .prefix("dmaframe-lab-")
        .tempdir()
        .context("cannot make the job's folder")?;
    let dir = fs::canonicalize(folder.path())?;
    if on_terminal {
        let size = rustix::termios::tcgetwinsize(std::io::stdin()).context("`lab shell` needs a terminal")?;
        job.terminal = Some((size.ws_row, size.ws_col));
    }
    job.limit = (!on_terminal).then_some(args.timeout);
    fs::write(dir.join("job.json"), serde_json::to_vec(&job)?)?;

    let streams = if on_terminal {
        None
    } else {
        Some([stream(std::io::stdout())?, stream(std::io::stderr())?])
    };
    // The terminal under another number, which the kernel inherits: its own output is the console file.
    let screen = on_terminal
        .then(|| rustix::io::dup(std::io::stdout()))
        .transpose()?;
    let lines = match (&streams, &screen) {
        (Some([out, err]), _) => [
            format!("ssl0=null,fd:{}", out.into.as_raw_fd()),
            format!("ssl1=null,fd:{}", err.into.as_raw_fd()),
        ],
        (None, Some(screen)) => [format!("ssl0=fd:0,fd:{}", screen.as_raw_fd()), "ssl1=null".into()],
        (None, None) => bail!("neither pipes nor a terminal"),
    };
    let mut kernel = command_line(lab, args, &dir, &lines)?;
    let console = File::create(dir.join("console"))?;
    kernel
        .stderr(console.try_clone()?)
        .stdout(console)
        .stdin(Stdio::null());
    let saved = on_terminal
        .then(|| rustix::termios::tcgetattr(std::io::stdin()))
        .transpose()?;
    if on_terminal {
        kernel.stdin(Stdio::inherit());
    } else {
        // A group of its own, which can be killed whole; a terminal's foreground group must stay as it is.
        std::os::unix::process::CommandExt::process_group(&mut kernel, 0);
    }
    sys::die_with_parent(&mut kernel);
    if args.cpus == 1 {
        pin();
    }
    let mut child = kernel
        .spawn()
        .with_context(|| format!("cannot start {}", lab.kernel.path.display()))?;
    let limit = Duration::from_secs(args.timeout) + LAST_WORDS;
    let ended = wait(&mut child, limit, !on_terminal);
    if let Some(saved) = saved {
        rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &saved).ok();
    }
    let passed = streams.map(|streams| {
        streams.map(|Stream { into, passed }| {
            drop(into);
            passed.join().unwrap_or(0)
        })
    });
    let ended = ended?;
    judge(lab, &dir, ended, passed, args)
}

/// How the kernel's process ended.
enum Ended {
    ByItself(std::process::ExitStatus),
    TimeUp,
    Signal(i32),
}

fn wait(child: &mut Child, limit: Duration, group: bool) -> Result<Ended> {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let end = Instant::now() + limit;
    let tick = Timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    let ended = loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&tick)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => break Ended::ByItself(child.wait()?),
            Err(error) => return Err(error.into()),
        }
        if let Some(signal) = signals::seen() {
            break Ended::Signal(signal);
        }
        if Instant::now() >= end {
            break Ended::TimeUp;
        }
    };
    if group {
        // Also after a good end: no process of the guest may stay.
        kill_process_group(pid, Signal::KILL).ok();
    }
    if !matches!(ended, Ended::ByItself(_)) {
        child.kill().ok();
        child.wait()?;
    }
    Ok(ended)
}

/// Turns everything that was seen into the exit status.
fn judge(lab: &Lab, dir: &Path, ended: Ended, passed: Option<[u64; 2]>, args: &GuestArgs) -> Result<i32> {
    let console = String::from_utf8_lossy(&fs::read(dir.join("console")).unwrap_or_default()).into_owned();
    let complaint = console::complaint(&console);
    if let Some(text) = &complaint {
        eprintln!("lab: the guest's kernel complained:\n{text}");
    }
    match ended {
        Ended::Signal(signal) => return Ok(128 + signal),
        Ended::TimeUp => {
            eprintln!("lab: killed after {} s (--timeout)", args.timeout);
            let hung = fs::read(dir.join("hung")).unwrap_or_default();
            eprint!("{}", String::from_utf8_lossy(&hung));
            if let Some(advice) = lab.advice() {
                eprintln!("lab: {advice}");
            }
            return Ok(TIMED_OUT);
        }
        Ended::ByItself(_) if fs::metadata(dir.join("status")).is_ok_and(|m| m.len() > 0) => {}
        Ended::ByItself(exit) => {
            if let Ok(error) = fs::read_to_string(dir.join("error"))
                && !error.is_empty()
            {
                bail!("the guest could not run the command: {error}");
            }
            let tail = crate::steps::tail(&dir.join("console"), 30);
            bail!("the guest gave no status (the kernel's process ended with {exit}); its console:\n{tail}");
        }
    }
    let status: Status =
        serde_json::from_slice(&fs::read(dir.join("status"))?).context("the guest's status is damaged")?;
    if status.code != 0 {
        console::crashes(&console).for_each(|line| eprintln!("lab: {line}"));
    }
    if let Some(passed) = passed {
        for (name, (sent, got)) in ["stdout", "stderr"].iter().zip(status.written.iter().zip(passed)) {
            if *sent != u64::MAX && *sent != got {
                eprintln!("lab: {name} is not complete: {got} of {sent} bytes came through");
                return Ok(LAB_FAILED);
            }
        }
    }
    Ok(if complaint.is_some() && status.code == 0 {
        LAB_FAILED
    } else {
        status.code
    })
}

fn command_line(lab: &Lab, args: &GuestArgs, dir: &Path, lines: &[String]) -> Result<Command> {
    let text = |path: &Path| -> Result<String> {
        let text = path
            .to_str()
            .with_context(|| format!("{} is not UTF-8", path.display()))?;
        // The kernel splits its command line at spaces and mount options at commas.
        if text.contains([' ', ',', '"', '\'', '$', '\n']) {
            bail!("the lab cannot work below a folder with this name: {text}");
        }
        Ok(text.to_owned())
    };
    let manifest = &lab.kernel.manifest;
    let mut kernel = Command::new(&lab.kernel.path);
    kernel.arg(format!("mem={}", args.mem));
    if manifest.smp {
        kernel.arg(format!("ncpus={}", args.cpus));
    } else if args.cpus != 1 {
        bail!("the kernel {} runs on one CPU only", manifest.release);
    }
    if manifest.seccomp {
        kernel.arg(if args.seccomp == Switch::On {
            "seccomp=on"
        } else {
            "seccomp=off"
        });
    }
    let own = text(crate::own_path())?;
    let dir = text(dir)?;
    kernel.arg(format!("uml_dir={dir}/"));
    // Read-only: every write of the guest goes to its overlay.
    kernel.args([
        "root=none",
        "rootfstype=hostfs",
        &format!("rootflags={}", text(&lab.root)?),
        "ro",
    ]);
    kernel
        .args(["con=null", "con0=null,fd:1", "ssl=null", "panic=-1"])
        .args(lines)
        .args(KERNEL_ARGS)
        .args(&args.kernel_args);
    let boot = format!(
        "mount -n -t tmpfs tmpfs /run && mkdir /run/host && mount -n -i -t hostfs none /run/host && exec /run/host{own} lab init {dir}"
    );
    kernel.args(["init=/bin/sh", "--", "-c", &format!("\"{boot}\"")]);
    // The guest's memory is a sparse file: in /dev/shm where it fits (containers have 64 MB there), else on a disk.
    kernel.env_clear().env("HOME", dir);
    if !shm_has_room(&args.mem) {
        kernel.env("TMPDIR", std::env::temp_dir());
    }
    Ok(kernel)
}

fn shm_has_room(mem: &str) -> bool {
    let (number, unit) = mem.split_at(mem.find(|c: char| !c.is_ascii_digit()).unwrap_or(mem.len()));
    let unit = match unit {
        "G" | "g" => 1 << 30,
        "M" | "m" => 1 << 20,
        "K" | "k" => 1 << 10,
        _ => 1_u64,
    };
    let wanted = number.parse::<u64>().unwrap_or(0) * unit;
    rustix::fs::statvfs("/dev/shm").is_ok_and(|fs| fs.f_bavail * fs.f_frsize >= wanted)
}

/// One CPU for a guest with one CPU: unpinned, each of its system calls wakes a sleeping CPU.
fn pin() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let cpus: Vec<_> = (0..CpuSet::MAX_CPU).filter(|c| allowed.is_set(*c)).collect();
    // The test command gives each of its guests a slot; others are spread by process id.
    let slot = std::env::var("DMAFRAME_LAB_SLOT")
        .ok()
        .and_then(|s| s.parse().ok());
    let slot = slot.unwrap_or(std::process::id() as usize);
    if let Some(cpu) = cpus.get(slot % cpus.len().max(1)) {
        let mut one = CpuSet::new();
        one.set(*cpu);
        sched_setaffinity(None, &one).ok();
    }
}

fn stream(mut to: impl Write + Send + 'static) -> Result<Stream> {
    let (from, into) = rustix::pipe::pipe()?;
    // The kernel inherits the end it writes into, and only that.
    fcntl_setfd(&from, FdFlags::CLOEXEC)?;
    rustix::pipe::fcntl_setpipe_size(&into, 1 << 20).ok();
    let passed = std::thread::spawn(move || {
        let (mut from, mut buffer, mut count, mut open) = (File::from(from), vec![0; 64 << 10], 0, true);
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            count += n as u64;
            // A reader that has gone must not stop the guest.
            open = open && to.write_all(&buffer[..n]).and_then(|()| to.flush()).is_ok();
        }
        count
    });
    Ok(Stream { into, passed })
}

/// Whether a shell can be offered.
pub(crate) fn has_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}
