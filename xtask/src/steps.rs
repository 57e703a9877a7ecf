//! Progress: what is being done, for how long, and what to do when it fails.

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// A named sequence of steps which share one log file.
#[derive(Debug)]
pub(crate) struct Steps {
    log: PathBuf,
    started: Instant,
}

impl Steps {
    /// Announces the sequence; its log is `cache/logs/NAME.log`, begun anew.
    pub(crate) fn new(name: &str, title: &str) -> Result<Self> {
        let dir = crate::cache::dir()?.join("logs");
        std::fs::create_dir_all(&dir)?;
        let log = dir.join(format!("{name}.log"));
        File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        eprintln!("{title}");
        Ok(Self {
            log,
            started: Instant::now(),
        })
    }

    /// Runs one step; when it fails the error carries the end of the log, its path and `remedy`.
    pub(crate) fn run<T>(
        &self,
        what: &str,
        remedy: &str,
        work: impl FnOnce(&Log<'_>) -> Result<T>,
    ) -> Result<T> {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("  {spinner} {msg} ({elapsed})").expect("a constant template");
            let bar = ProgressBar::new_spinner()
                .with_style(style)
                .with_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("  {what} ...");
        }
        let begun = Instant::now();
        let result = work(&Log { path: &self.log });
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let seconds = begun.elapsed().as_secs_f32();
        match result {
            Ok(value) => {
                eprintln!("  {what}: done in {seconds:.1} s");
                Ok(value)
            }
            Err(error) => {
                let tail = tail(&self.log, 20);
                let log = self.log.display();
                Err(error.context(format!(
                    "{what}: failed after {seconds:.1} s\n{tail}\n  whole log: {log}\n  what to do: {remedy}"
                )))
            }
        }
    }

    /// Seconds since the sequence began.
    pub(crate) fn seconds(&self) -> f32 {
        self.started.elapsed().as_secs_f32()
    }
}

/// The log of the step that is running.
#[derive(Debug)]
pub(crate) struct Log<'a> {
    path: &'a Path,
}

impl Log<'_> {
    /// Runs a command whose output goes to the log; a bad exit status is an error.
    pub(crate) fn command(&self, command: &mut Command) -> Result<()> {
        let mut log = OpenOptions::new().append(true).open(self.path)?;
        let line = show(command);
        std::io::Write::write_all(&mut log, format!("$ {line}\n").as_bytes())?;
        command
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let status = command
            .status()
            .with_context(|| format!("cannot start `{line}`"))?;
        if !status.success() {
            bail!("`{line}` ended with {status}");
        }
        Ok(())
    }
}

/// A command as one would type it, short enough for an error.
pub(crate) fn show(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    if line.chars().count() > 200 {
        line = line.chars().take(197).collect::<String>() + "...";
    }
    line
}

/// Runs a command quietly and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command
        .output()
        .with_context(|| format!("cannot start `{}`", show(command)))?;
    if !out.status.success() {
        let error = String::from_utf8_lossy(&out.stderr);
        bail!("`{}` ended with {}: {}", show(command), out.status, error.trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The last lines of a file, indented.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|l| format!("  | {l}"))
        .collect::<Vec<_>>()
        .join("\n")
}
