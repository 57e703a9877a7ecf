//! Commands whose output is shown as it comes, and whose last lines are kept: where a step fails they are said again at
//! the end, which is what a log that was cut short still has.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

use super::Verdict;
use crate::steps;
use crate::test::Tally;

/// What is said again, at most.
const LINES: usize = 100;

/// Runs a command; `Failed` unless it ends well.
pub(super) fn status(command: &mut Command) -> Result<Verdict> {
    let line = steps::show(command);
    named(command, &line)
}

/// The same, for a command that is better called by another name.
pub(super) fn named(command: &mut Command, line: &str) -> Result<Verdict> {
    println!("$ {line}");
    // Who sits before a terminal scrolls, and sees cargo's progress.
    if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
        let ended = command
            .status()
            .with_context(|| format!("cannot start `{line}`"))?;
        return Ok(judged(line, ended, &VecDeque::new()));
    }
    let (from, to) = std::io::pipe()?;
    let mut last = VecDeque::new();
    let mut child = command
        .stdout(to.try_clone()?)
        .stderr(to)
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    // Our own ends of the pipe: with them open it would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    show(from, &mut last)?;
    Ok(judged(line, child.wait()?, &last))
}

/// Runs tests; none at all is a failure too, since then nothing was checked.
pub(super) fn some_tests(command: &mut Command) -> Result<Verdict> {
    println!("$ {}", steps::show(command));
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = VecDeque::new();
    let text = show(child.stdout.take().context("no pipe")?, &mut lines)?;
    let ended = child.wait()?;
    let tally = Tally::read(&text, ended.success());
    Ok(match (ended.success(), tally.passed) {
        (false, _) => failed(&format!("{} tests failed, {ended}", tally.failed), &lines),
        (true, 0) => Verdict::Failed("no test was run: the filter matches none".into()),
        (true, _) => Verdict::Ok,
    })
}

/// Passes on what can be read, keeps the last of it, and gives all.
fn show(from: impl std::io::Read, last: &mut VecDeque<String>) -> Result<String> {
    let (mut from, mut text) = (BufReader::new(from), String::new());
    let mut bytes = Vec::new();
    // Not `lines`: what a guest prints need not be UTF-8.
    while from.read_until(b'\n', &mut bytes)? > 0 {
        let line = String::from_utf8_lossy(&bytes).into_owned();
        print!("{line}");
        text.push_str(&line);
        last.push_back(line);
        if last.len() > LINES {
            last.pop_front();
        }
        bytes.clear();
    }
    Ok(text)
}

fn judged(line: &str, ended: ExitStatus, last: &VecDeque<String>) -> Verdict {
    match ended.success() {
        true => Verdict::Ok,
        false => failed(&format!("`{line}`: {ended}"), last),
    }
}

fn failed(why: &str, last: &VecDeque<String>) -> Verdict {
    let last: String = last.iter().map(String::as_str).collect();
    Verdict::Failed(format!("{why}\n{last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Verdict {
        let mut command = Command::new("sh");
        named(command.args(["-c", script]), "it").expect("a shell")
    }

    #[test]
    fn a_command_that_fails_leaves_its_last_lines() {
        assert_eq!(shell("echo fine"), Verdict::Ok);
        let Verdict::Failed(why) = shell("seq 1 500; echo the end >&2; exit 3") else {
            panic!("it ended with 3");
        };
        assert!(why.starts_with("`it`: exit status: 3\n"), "{why}");
        // On a terminal nothing is kept: it is still to be seen there.
        if why.lines().count() > 1 {
            assert_eq!(why.lines().count(), 1 + LINES);
            assert!(why.ends_with("\n499\n500\nthe end\n"), "{why}");
        }
    }
}
