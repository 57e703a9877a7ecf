//! How regular a window's pictures come.

use std::time::Duration;

/// Counts of a presenter since it was opened. The first picture, for which shaders are compiled, is not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Pictures given to the screen, redrawn ones too.
    pub presented: u64,
    /// Refreshes of the screen that went by because of us: while a picture begun for an earlier one was made, or the GPU still
    /// drew the one before.
    pub missed: u64,
    /// What the calling thread did for all pictures, without its waits for the screen.
    pub worked: Duration,
    /// For the slowest.
    pub slowest: Duration,
    warm: bool,
}

impl Timing {
    pub(crate) fn count(&mut self, worked: Duration, refresh: Duration, behind: bool) {
        if !std::mem::replace(&mut self.warm, true) {
            return;
        }
        self.presented += 1;
        let late = worked.as_nanos() / refresh.as_nanos().max(1);
        self.missed += u64::try_from(late)
            .unwrap_or(u64::MAX)
            .saturating_add(behind.into());
        self.worked += worked;
        self.slowest = self.slowest.max(worked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_misses_as_many_refreshes_as_its_making_lasts() {
        let (mut timing, refresh) = (Timing::default(), Duration::from_millis(16));
        for (worked, behind) in [(500, true), (5, false), (40, false), (3, true)] {
            timing.count(Duration::from_millis(worked), refresh, behind);
        }
        assert_eq!((timing.presented, timing.missed), (3, 3));
        assert_eq!(timing.slowest, Duration::from_millis(40));
        assert_eq!(timing.worked, Duration::from_millis(48));
    }
}
