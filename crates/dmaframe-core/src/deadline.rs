//! How long a caller is willing to wait.

use std::time::{Duration, Instant};

use rustix::time::Timespec;

/// The latest moment a blocking call may return.
///
/// A point in time instead of a span, so that a call made of several waits, or a wait cut short by a signal, still
/// ends when the caller said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Wait for ever.
    pub const NEVER: Self = Self(None);

    /// Do not wait at all.
    #[must_use]
    pub fn now() -> Self {
        Self(Some(Instant::now()))
    }

    /// `span` from now (for ever if the clock cannot count that far).
    #[must_use]
    pub fn after(span: Duration) -> Self {
        Self(Instant::now().checked_add(span))
    }

    /// What is left, zero when it has passed, `None` when there is no end.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// For `ppoll`.
    pub(crate) fn timespec(self) -> Option<Timespec> {
        self.remaining().map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        })
    }

    /// Absolute `CLOCK_MONOTONIC` nanoseconds, as DRM waits take.
    pub(crate) fn monotonic_ns(self) -> i64 {
        let Some(left) = self.remaining() else {
            return i64::MAX;
        };
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
        i64::try_from(now + i128::try_from(left.as_nanos()).unwrap_or(i128::MAX >> 1)).unwrap_or(i64::MAX)
    }
}

impl From<Duration> for Deadline {
    fn from(span: Duration) -> Self {
        Self::after(span)
    }
}

impl From<Instant> for Deadline {
    fn from(at: Instant) -> Self {
        Self(Some(at))
    }
}
