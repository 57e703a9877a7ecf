//! What became of the captured pictures.

/// Counters of one stream since the capture was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Buffers handed out as they are.
    pub delivered: u64,
    /// Copies handed out because consumers held nearly all buffers.
    pub detached: u64,
    /// Pictures thrown away for the same reason, by policy.
    pub dropped: u64,
    /// Sequence numbers that never came: pictures the camera lost.
    pub gaps: u64,
    /// Buffers that libcamera flagged as damaged or gave back unfilled; not handed out.
    pub errors: u64,
    /// Buffers with fewer bytes than the picture has, without the flag; not handed out.
    pub short: u64,
}

/// Turns libcamera's wrapping 32-bit counter into one that only grows, and counts what is missing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequence {
    /// The last number since the stream was (re)started.
    last: Option<u32>,
    count: Option<u64>,
}

impl Sequence {
    /// The count for the number `raw`, and how many numbers are missing before it.
    ///
    /// A number that stands still or goes back (a pipeline that does not count) is no gap, and neither is the first one
    /// after a start: the count goes on by one.
    pub(crate) fn advance(&mut self, raw: u32) -> (u64, u64) {
        let step = self.last.map_or(1, |last| match raw.wrapping_sub(last) {
            0 => 1,
            step if step > u32::MAX / 2 => 1,
            step => step,
        });
        self.last = Some(raw);
        let count = self.count.map_or(u64::from(raw), |count| count + u64::from(step));
        self.count = Some(count);
        (count, u64::from(step - 1))
    }

    /// The stream was restarted: libcamera counts from the beginning again. Ours goes on.
    pub(crate) fn restart(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_across_the_wrap_and_resets_are_none() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.advance(5), (5, 0));
        assert_eq!(sequence.advance(6), (6, 0));
        assert_eq!(sequence.advance(10), (10, 3));
        assert_eq!(sequence.advance(10), (11, 0), "a pipeline that does not count");
        assert_eq!(sequence.advance(2), (12, 0), "one that was reset");
        sequence.last = Some(u32::MAX - 1);
        assert_eq!(sequence.advance(1), (15, 2), "over the wrap");
        sequence.restart();
        assert_eq!(sequence.advance(0), (16, 0), "the count goes on");
    }
}
