//! Steps that keep one CPU busy, run beside those that compile, which leave one idle at every crate that others wait for.
//!
//! They are another process of this program, whose output is shown when its turn has come.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::{Ci, Step, Verdict};

/// Each has a target folder of its own, so that no lock of cargo's is in the way.
const BESIDE: [Step; 2] = [Step::Loom, Step::Miri];

/// The other process, until it has ended, and then how its steps ended.
pub(super) struct Beside {
    child: Option<(Child, tempfile::TempDir)>,
    ended: Vec<(String, Verdict, f32)>,
    wanted: bool,
}

impl Beside {
    /// Starts those of `steps` that can run beside the others, if there are others.
    pub(super) fn start(ci: &Ci, steps: &[Step]) -> Result<Self> {
        let mine: Vec<_> = steps.iter().filter(|step| BESIDE.contains(step)).collect();
        let compiles = [Step::Clippy, Step::Features, Step::Doc];
        let wanted = !mine.is_empty() && steps.iter().any(|step| compiles.contains(step));
        let mut this = Self {
            child: None,
            ended: Vec::new(),
            wanted,
        };
        if wanted {
            let folder = tempfile::Builder::new().prefix("dmaframe-ci-").tempdir()?;
            let output = File::create(folder.path().join("output"))?;
            let mut command = Command::new(crate::own_path());
            command.arg("ci").args(mine.iter().map(|step| step.name()));
            // Compiled here, so that the step itself only fuzzes.
            if steps.contains(&Step::Fuzz) {
                command.arg(Step::Fuzz.name());
            }
            command.arg("--beside").arg(folder.path().join("ends"));
            command
                .current_dir(&ci.workspace)
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output);
            let child = command
                .spawn()
                .context("cannot start the steps that run beside")?;
            this.child = Some((child, folder));
        }
        Ok(this)
    }

    /// Waits for the other process, shows what it said, and gives this step's end if it was one of its.
    pub(super) fn ended(&mut self, step: Step) -> Result<Option<(Verdict, f32)>> {
        if let Some((mut child, folder)) = self.child.take() {
            let status = child.wait()?;
            print!("{}", read(&folder.path().join("output"))?);
            println!("(the above ran beside the steps before)");
            self.ended = read(&folder.path().join("ends"))?
                .lines()
                .filter_map(parse)
                .collect();
            if !status.success() {
                println!("the steps that ran beside: {status}");
            }
        }
        let name = step.name();
        let found = self.ended.iter().find(|(found, ..)| *found == name);
        Ok(found.map(|(_, verdict, seconds)| (verdict.clone(), *seconds)))
    }

    /// For the last line.
    pub(super) fn note(&self) -> &'static str {
        match self.wanted {
            true => " (loom and miri beside the others)",
            false => "",
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The other process.
pub(super) fn child(ci: &Ci, file: &PathBuf) -> Result<i32> {
    let mut ends = String::new();
    for &step in &ci.args.steps {
        println!("\n#### {}", step.name());
        if step == Step::Fuzz {
            ci.build_fuzzers()?;
            continue;
        }
        let start = Instant::now();
        let verdict = ci.run(step);
        let verdict = verdict.unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
        ends += &line(&step.name(), &verdict, start.elapsed().as_secs_f32());
        std::fs::write(file, &ends)?;
    }
    Ok(0)
}

/// JSON, since what a step said last has more than one line.
fn line(name: &str, verdict: &Verdict, seconds: f32) -> String {
    let (word, why) = verdict.words();
    let last = verdict.last_words();
    format!("{}\n", serde_json::json!([name, word, seconds, why, last]))
}

fn parse(line: &str) -> Option<(String, Verdict, f32)> {
    let (name, word, seconds, why, last): (_, String, _, String, Option<String>) =
        serde_json::from_str(line).ok()?;
    let verdict = match word.as_str() {
        "ok" => Verdict::Ok,
        "PARTLY" => Verdict::Partly(why),
        "NOT RUN" => Verdict::Skipped(why),
        _ => Verdict::Failed(last.map_or(why.clone(), |last| format!("{why}\n{last}"))),
    };
    Some((name, verdict, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_step_ended_is_what_the_other_process_says() {
        for verdict in [
            Verdict::Ok,
            Verdict::Partly("half".into()),
            Verdict::Skipped("no nightly".into()),
            Verdict::Failed("`cargo x`: exit status: 1".into()),
            Verdict::Failed("1 tests failed\n---- a stdout ----\n\n".into()),
        ] {
            let text = line("miri", &verdict, 1.5);
            assert_eq!(
                parse(text.trim_end_matches('\n')),
                Some(("miri".into(), verdict, 1.5))
            );
        }
        let several = line("loom", &Verdict::Failed("two\nlines".into()), 0.0);
        assert_eq!(several.lines().count(), 1, "one line each");
        assert_eq!(parse("half a li"), None, "of a process that was killed");
    }
}
