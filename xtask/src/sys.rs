//! What only the child can do between fork and exec.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};

/// The child is killed when we are, even by SIGKILL. To be spawned by a thread that lives as long as the child.
pub(crate) fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure makes one prctl system call; it neither allocates nor takes locks.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}
