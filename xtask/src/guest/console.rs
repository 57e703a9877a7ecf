//! The kernel's own messages: what in them fails a run.

/// Lines that mean that the kernel, or a lock in it, is in trouble.
const BAD: &[&str] = &[
    "BUG:",
    "WARNING:",
    "Oops",
    "Kernel panic",
    "INFO: possible",
    "INFO: task",
    "possible recursive locking",
    "possible circular locking",
    "suspicious RCU usage",
    "lockdep: ",
    "DEBUG_LOCKS_WARN_ON",
    "list_add corruption",
    "list_del corruption",
    "Unable to handle kernel",
];
const AROUND: usize = 25;

/// The part of the console that holds a complaint.
pub(crate) fn complaint(console: &str) -> Option<String> {
    let lines: Vec<_> = console.lines().collect();
    let bad = |line: &&str| BAD.iter().any(|b| line.contains(b)) && !line.contains("ommand line:");
    let first = lines.iter().position(bad)?;
    let excerpt = &lines[first.saturating_sub(2)..lines.len().min(first + AROUND)];
    Some(
        excerpt
            .iter()
            .map(|l| format!("  | {l}"))
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

/// The lines that say where a program crashed: which one, at what address, in which library.
pub(crate) fn crashes(console: &str) -> impl Iterator<Item = &str> {
    console.lines().filter(|line| line.contains("]: segfault at "))
}

#[cfg(test)]
mod tests {
    use super::{complaint, crashes};

    #[test]
    fn a_crash_is_told_with_its_place() {
        let line = "[    0.19] perl[40]: segfault at 1 ip 402b4a98 sp 7f7fffa77818 error 4 in libc.so.6[175a98,40167000+163000]";
        let console = format!("[0.0] booted\n{line}\n[0.2] segfault is a word\n");
        assert_eq!(crashes(&console).collect::<Vec<_>>(), [line]);
    }

    #[test]
    fn finds_trouble_only() {
        assert_eq!(
            complaint("[0.0] Kernel command line: panic=-1 x=BUG:\n[0.1] Lock dependency validator: on\nok"),
            None
        );
        let text = complaint("a\nb\nc\n[1.0] WARNING: CPU: 0 PID: 1 at x.c:1\ntrace\n").unwrap();
        assert!(
            text.starts_with("  | b\n") && text.ends_with("  | trace"),
            "{text}"
        );
    }
}
