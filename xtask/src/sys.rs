//! The two things that only the child can do between fork and exec.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
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

/// Gives the child `fd` as file number `number`.
pub(crate) fn keep_as(command: &mut Command, fd: &impl AsFd, number: i32) {
    let from = fd.as_fd().as_raw_fd();
    // SAFETY: `from` is a standard stream, open for the life of the process. The closure makes one dup system call
    // and allocates nothing. `number` is not owned by anything in the child, which is about to exec; both values are
    // taken apart again, so that neither file is closed.
    unsafe {
        command.pre_exec(move || {
            let mut target = OwnedFd::from_raw_fd(number);
            let result = rustix::io::dup2(std::os::fd::BorrowedFd::borrow_raw(from), &mut target);
            let _ = target.into_raw_fd();
            Ok(result?)
        });
    }
}
