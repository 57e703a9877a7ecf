//! System calls of each step, as strace sees them in a process of their own.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use rustix::process::{Pid, getpgid};

use crate::Suite;
use crate::meter::{Meter, START, STOP};
use crate::step::Step;

/// A step's number is asked for as a process group from here on: the log shows it, and there is no such process.
const FIRST: i32 = 900_000_000;
const NUMBER: &str = "getpgid(";
const TIMES: u64 = 64;

/// Each step's calls for one time, as text; one entry per step, empty where it could not run.
pub(crate) fn count(suite: Suite, only: &str, steps: usize) -> Result<Vec<String>, String> {
    let log = tempfile::NamedTempFile::new().map_err(|e| format!("no temporary file ({e})"))?;
    let suite = match suite {
        Suite::Frame => "frame",
        Suite::Convert => "convert",
    };
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new("strace");
    command
        .args(["--quiet=all", "-e", "signal=none", "-o"])
        .arg(log.path());
    command.arg(own).args(["once", suite, "--only", only]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let ended = command.status().map_err(|e| format!("no strace ({e})"))?;
    if !ended.success() {
        return Err(format!("strace: {ended}"));
    }
    let log = std::fs::read_to_string(log.path()).map_err(|e| e.to_string())?;
    Ok(read(&log, steps))
}

fn read(log: &str, steps: usize) -> Vec<String> {
    let mut found = vec![BTreeMap::<&str, u64>::new(); steps];
    let mut times = vec![0u64; steps];
    let (mut step, mut inside) = (0, false);
    for line in log.lines() {
        let name = line.split('(').next().unwrap_or_default();
        if let Some(rest) = line.strip_prefix(NUMBER) {
            let number = rest.split(')').next().and_then(|n| n.parse::<i32>().ok());
            let Some(number) = number.and_then(|n| n.checked_sub(FIRST)) else {
                continue;
            };
            // Twice a step: its number, then how many times it was done.
            if inside_range(number, steps) {
                step = number as usize;
            } else if let Some(done) = number.checked_sub(steps as i32) {
                times[step] = done as u64;
            }
        } else if name == START {
            inside = true;
        } else if name == STOP {
            inside = false;
        } else if inside {
            *found[step].entry(name).or_default() += 1;
        }
    }
    found
        .iter()
        .zip(times)
        .map(|(calls, times)| text(calls, times))
        .collect()
}

fn inside_range(number: i32, steps: usize) -> bool {
    usize::try_from(number).is_ok_and(|n| n < steps)
}

fn text(calls: &BTreeMap<&str, u64>, times: u64) -> String {
    if times == 0 {
        return String::new();
    }
    let per = |n: u64| n as f64 / times as f64;
    // Less than one in ten: the process growing its heap, not the step.
    let list: Vec<_> = calls
        .iter()
        .filter(|(_, n)| per(**n) >= 0.1)
        .map(|(name, n)| (name, (per(*n) * 10.0).round() / 10.0))
        .collect();
    if list.is_empty() {
        return "0".into();
    }
    let sum: f64 = list.iter().map(|(_, n)| n).sum();
    let names: Vec<_> = list
        .iter()
        .map(|(name, n)| {
            if *n == 1.0 {
                (**name).to_string()
            } else {
                format!("{n} {name}")
            }
        })
        .collect();
    format!("{sum}: {}", names.join(", "))
}

/// What runs under strace: each step with marks around it.
pub(crate) fn once(steps: &[Step]) {
    let mark = |number: u64| {
        let pid = i32::try_from(number).ok().and_then(|n| Pid::from_raw(FIRST + n));
        // The answer is "no such process"; being asked is the point.
        let _ = pid.map(|pid| getpgid(Some(pid)));
    };
    for (index, step) in steps.iter().enumerate() {
        let Ok(mut work) = step.work() else { continue };
        mark(index as u64);
        // Once around unmarked: mappings and shells are made then.
        work(&mut Meter::default(), TIMES);
        let done = work(&mut Meter::marking(), TIMES);
        mark(steps.len() as u64 + done);
    }
}
