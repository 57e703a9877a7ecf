//! Every memory allocation and user copy the kernel makes for a start, a look for frames and a stop fails once, in turn: each
//! ends in an error or is survived, and never in a leak.
//!
//! Runs on a kernel with `CONFIG_FAILSLAB` and its debugfs (the lab's second kernel); says that it does nothing on any
//! other.

mod common;

use std::fs;
use std::io::Write;

use common::{SMALL, fast, still};
use dmaframe_testkit::Leaks;
use dmaframe_v4l2::{Error, PixelFormat};
use rustix::io::Errno;

const SWITCH: &str = "/sys/kernel/debug/failslab";
const NTH: &str = "/proc/thread-self/fail-nth";

fn switch(on: bool) -> std::io::Result<()> {
    for (name, value) in [
        ("task-filter", "Y"),
        ("ignore-gfp-wait", "N"),
        ("verbose", "0"),
        ("space", "0"),
        ("times", "-1"),
        ("probability", if on { "100" } else { "0" }),
    ] {
        fs::write(format!("{SWITCH}/{name}"), value)?;
    }
    Ok(())
}

/// Runs `work` with the kernel's `nth` fault point failing; `true` when there were as many as that.
fn with_fault(nth: u32, work: impl FnOnce()) -> bool {
    // Opened and sized before, so that arming is the last thing the kernel does for us.
    let mut arm = fs::OpenOptions::new().read(true).write(true).open(NTH).unwrap();
    let text = nth.to_string();
    arm.write_all(text.as_bytes()).unwrap();
    work();
    let left = fs::read_to_string(NTH);
    // Disarms; an armed point may still hit this very write.
    while fs::write(NTH, "0").is_err() {}
    // 0 once it has struck; an error reading it means that it struck there.
    left.map_or(true, |left| left.trim() == "0")
}

#[test]
fn each_fault_in_turn_is_an_error_or_survived_and_never_a_leak() {
    let path = need_vivid!();
    if switch(true).is_err() || !fs::exists(NTH).unwrap_or(false) {
        eprintln!("no fault injection in this kernel: nothing tested");
        return;
    }
    let mut before = Leaks::now();
    let (mut failed, mut survived) = (0, 0);
    for nth in 1..5000 {
        let builder = fast(still(&path), PixelFormat::NV12, SMALL).buffers(3);
        let mut outcome = Ok(());
        let struck = with_fault(nth, || {
            outcome = builder.start().and_then(|mut capture| {
                // Not `next`: its deadline reads the clock, and the standard library panics when that fails.
                for _ in 0..3 {
                    drop(capture.try_next()?);
                }
                capture.stop()
            });
        });
        if matches!(
            &outcome,
            Err(Error::Request {
                request: "VIDIOC_EXPBUF",
                errno: Errno::FAULT,
                ..
            })
        ) {
            // The copy of the answer failed, behind the installed descriptor: nobody can know its number. It takes an
            // unmapped page where our structure is, so only fault injection sees it.
            let now = Leaks::now();
            assert!(now.fds.len() <= before.fds.len() + 1);
            before = now;
        }
        before.check();
        match outcome {
            Err(_) => failed += 1,
            Ok(()) => survived += 1,
        }
        if !struck {
            switch(false).unwrap();
            eprintln!("{nth} faults: {failed} errors, {survived} survived");
            assert!(failed > 20, "{failed} faults were felt: the test tests something");
            return;
        }
    }
    panic!("the kernel's faults never end");
}
