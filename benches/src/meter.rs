//! The stop watch a step runs.

use std::time::{Duration, Instant};

use crate::sys::allocations;

/// Measures what lies between `start` and `stop`: a step may leave its preparations out.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Marks the section by system calls instead, for strace's log; reading a clock may be one itself.
    marking: bool,
    begun: Option<(Instant, u64)>,
    pub(crate) time: Duration,
    pub(crate) allocations: u64,
    /// How often it was started: each costs the time of reading the clock.
    pub(crate) sections: u32,
}

/// The system call that begins a section, by its name in the log. Nothing under test makes it.
pub(crate) const START: &str = "getppid";
/// The one that ends it.
pub(crate) const STOP: &str = "getuid";

impl Meter {
    pub(crate) fn marking() -> Self {
        Self {
            marking: true,
            ..Self::default()
        }
    }

    pub(crate) fn start(&mut self) {
        self.sections += 1;
        if self.marking {
            let _ = rustix::process::getppid();
        } else {
            self.begun = Some((Instant::now(), allocations()));
        }
    }

    pub(crate) fn stop(&mut self) {
        if self.marking {
            let _ = rustix::process::getuid();
        } else if let Some((begun, allocated)) = self.begun.take() {
            self.time += begun.elapsed();
            self.allocations += allocations() - allocated;
        }
    }
}
