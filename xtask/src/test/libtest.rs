//! Counting what libtest prints.

use std::path::Path;

/// Numbers of tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// `test name: why it was skipped`.
    pub(crate) reasons: Vec<String>,
}

impl Tally {
    /// From a harness's output and whether it ended well. One that prints no totals counts as one test.
    pub(crate) fn read(output: &str, success: bool) -> Self {
        let mut tally = Self::default();
        let mut seen = false;
        for line in output.lines() {
            let line = plain(line);
            if let Some(rest) = line.trim_start().strip_prefix("test result: ") {
                seen = true;
                for part in rest.split(['.', ';']) {
                    let mut words = part.split_whitespace();
                    if let (Some(Ok(n)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) {
                        match what {
                            "passed" => tally.passed += n,
                            "failed" => tally.failed += n,
                            "ignored" => tally.skipped += n,
                            _ => {}
                        }
                    }
                }
            } else if let Some((name, reason)) = line
                .strip_prefix("test ")
                .and_then(|l| l.split_once(" ... ignored"))
            {
                let reason = reason.trim_start_matches(", ");
                let reason = if reason.is_empty() {
                    "marked #[ignore]"
                } else {
                    reason
                };
                tally.reasons.push(format!("{name}: {reason}"));
            }
        }
        match (seen, success) {
            (false, true) => tally.passed += 1,
            // A crash, a time limit, a kernel that complained: whatever was counted, it is a failure.
            (_, false) if tally.failed == 0 => tally.failed += 1,
            _ => {}
        }
        tally
    }

    /// Tests which passed only because they skipped themselves: each wrote a line into this file.
    pub(crate) fn take_skips(&mut self, file: &Path) {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            self.skipped += 1;
            self.passed = self.passed.saturating_sub(1);
            self.reasons.push(line.to_owned());
        }
    }

    /// Adds another's numbers.
    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.reasons.extend_from_slice(&other.reasons);
    }
}

/// What a harness that failed said last: libtest's own account of the failures, or else the end of what it printed, which
/// names the test that was running; then the end of its errors.
pub(crate) fn last_words(output: &str, errors: &str) -> String {
    const LINES: usize = 40;
    let output = plain(output);
    let lines: Vec<_> = output.lines().collect();
    let account = lines.iter().position(|line| line.trim() == "failures:");
    let from = account.unwrap_or(lines.len().saturating_sub(LINES / 4));
    let errors: Vec<_> = errors.lines().collect();
    let mut kept = lines[from..].iter().take(2 * LINES).copied().collect::<Vec<_>>();
    kept.extend(&errors[errors.len().saturating_sub(LINES)..]);
    kept.join("\n")
}

/// Without colours.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut escape = false;
    for c in line.chars() {
        match (escape, c) {
            (false, '\u{1b}') => escape = true,
            (true, c) if c.is_ascii_alphabetic() => escape = false,
            (true, _) | (false, '\r') => {}
            (false, c) => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Tally, last_words};

    #[test]
    fn counts_totals_of_several_harnesses() {
        let text = "test a ... ok\ntest b ... ignored, needs a GPU\n\
                    test result: \u{1b}[32mok\u{1b}[m. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out\n";
        let tally = Tally::read(text, false);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (4, 2, 1));
        assert_eq!(tally.reasons, ["b: needs a GPU"]);
    }

    #[test]
    fn what_failed_and_why_is_said_again() {
        let text = "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nno frame\n\n\
                    failures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed;\n";
        let last = last_words(text, "warning\n");
        assert!(
            last.starts_with("failures:\n\n---- b stdout ----\nno frame\n"),
            "{last}"
        );
        assert!(
            last.ends_with("test result: FAILED. 1 passed; 1 failed;\nwarning"),
            "{last}"
        );
    }

    #[test]
    fn of_a_test_that_hangs_the_name_is_said_again() {
        let many = "test x ... ok\n".repeat(90) + "test hangs has been running for over 60 seconds\n";
        let last = last_words(&many, "lab: killed after 600 s (--timeout)\n");
        assert_eq!(last.lines().count(), 11);
        assert!(last.contains("hangs has been running"), "{last}");
        assert!(last.ends_with("killed after 600 s (--timeout)"), "{last}");
    }

    #[test]
    fn a_crash_is_a_failure() {
        assert_eq!(Tally::read("running 3 tests\n", false).failed, 1);
        assert_eq!(
            Tally::read("test result: ok. 3 passed; 0 failed; 0 ignored", false).failed,
            1
        );
        assert_eq!(Tally::read("own harness: fine\n", true).passed, 1);
    }
}
