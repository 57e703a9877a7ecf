//! What the sources of pictures have in common: what they hand out, and what they count.
//!
//! The adapters for V4L2 and libcamera hand out one [`Captured`] and count with one [`Stats`], which they re-export.

use crate::bitstream::Bitstream;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::frame::Frame;
use crate::meta::FrameMeta;

/// What came out of a device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Captured {
    /// A picture.
    Frame(Frame),
    /// An encoded access unit (MJPG, H264 ...).
    Bitstream(Bitstream),
}

impl Captured {
    /// The frame, if it is one.
    #[must_use]
    pub fn into_frame(self) -> Option<Frame> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::Bitstream(_) => None,
        }
    }

    /// The access unit, if it is one.
    #[must_use]
    pub fn into_bitstream(self) -> Option<Bitstream> {
        match self {
            Self::Frame(_) => None,
            Self::Bitstream(unit) => Some(unit),
        }
    }

    /// Timestamp, sequence, colour and so on.
    #[must_use]
    pub fn meta(&self) -> &FrameMeta {
        match self {
            Self::Frame(frame) => frame.meta(),
            Self::Bitstream(unit) => unit.meta(),
        }
    }

    /// A copy in fresh memory, and how many bytes that copied.
    ///
    /// # Errors
    /// As [`Frame::detach`] and [`Bitstream::detach`].
    pub fn detach(&self, deadline: impl Into<Deadline>) -> Result<(Self, u64), Error> {
        Ok(match self {
            Self::Frame(frame) => (Self::Frame(frame.detach(deadline)?), frame.layout().tight_len()),
            Self::Bitstream(unit) => (Self::Bitstream(unit.detach(deadline)?), unit.len() as u64),
        })
    }
}

/// Counters of a stream since it was set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Buffers handed out as they are.
    pub delivered: u64,
    /// Copies handed out because consumers held nearly all buffers.
    pub detached: u64,
    /// Pictures thrown away for the same reason, by policy.
    pub dropped: u64,
    /// Sequence numbers that never came: pictures the device lost.
    pub gaps: u64,
    /// Buffers that driver or library flagged as damaged (`V4L2_BUF_FLAG_ERROR`) or gave back unfilled; not handed out.
    pub errors: u64,
    /// Buffers with fewer bytes than the picture has, without the flag; not handed out.
    pub short: u64,
}

/// Turns a device's wrapping 32-bit counter into one that only grows, and says what is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequence {
    /// The device's last number since the stream was (re)started.
    last: Option<u32>,
    count: Option<u64>,
}

impl Sequence {
    /// The count for the device's number `raw`, and how many numbers are missing before it.
    ///
    /// A number that stands still or goes back (a device that was reset, one that does not count) is no gap, and
    /// neither is the first one after a start: the count goes on by one.
    pub fn advance(&mut self, raw: u32) -> (u64, u64) {
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

    /// The stream was restarted: the device counts from the beginning again. The count goes on.
    pub fn restart(&mut self) {
        self.last = None;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_across_the_wrap_and_resets_are_none() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.advance(5), (5, 0));
        assert_eq!(sequence.advance(6), (6, 0));
        assert_eq!(sequence.advance(10), (10, 3));
        assert_eq!(sequence.advance(10), (11, 0), "a device that stands still");
        assert_eq!(sequence.advance(2), (12, 0), "one that was reset");
        sequence.last = Some(u32::MAX - 1);
        assert_eq!(sequence.advance(1), (15, 2), "over the wrap");
    }

    #[test]
    fn a_restart_is_no_gap_and_the_count_goes_on() {
        let mut sequence = Sequence::default();
        sequence.restart();
        assert_eq!(sequence.advance(0), (0, 0));
        assert_eq!(sequence.advance(1), (1, 0));
        sequence.restart();
        assert_eq!(sequence.advance(1), (2, 0));
        assert_eq!(sequence.advance(3), (4, 1));
    }
}
