//! Counters.

use std::fmt;

/// What a pool has done since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Frames given out.
    pub acquired: u64,
    /// Calls that had to wait, whether or not they got a frame.
    pub waited: u64,
    /// Calls that ended without a frame.
    pub starved: u64,
    /// Frames copied in by [`FramePool::detach_into`](crate::FramePool::detach_into).
    pub copied: u64,
    /// Release fences that signalled with an error: a consumer's device gave up. Their slots are used again.
    pub failed_fences: u64,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acquired,
            waited,
            starved,
            copied,
            failed_fences,
        } = self;
        write!(
            f,
            "{acquired} acquired, {waited} waited, {starved} starved, {copied} copied in"
        )?;
        if *failed_fences != 0 {
            write!(f, ", {failed_fences} failed fences")?;
        }
        Ok(())
    }
}
