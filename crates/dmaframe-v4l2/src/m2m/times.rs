//! What came in, to be found again when it comes out.
//!
//! A mem2mem driver carries one thing through for us: the time stamp, in microseconds. Everything else about a picture
//! (the nanoseconds, the clock, orientation, extensions) waits here under that number.

use std::collections::VecDeque;

use dmaframe_core::{FrameMeta, Timestamp};

use crate::queue::timestamp;
use crate::sys::{BufferInfo, abi};

/// More than any codec keeps in flight: 32 buffers of each queue, and as many reference pictures.
const REMEMBERED: usize = 128;

/// The last inputs by the time stamp they were given to the driver with.
#[derive(Debug)]
pub(super) struct Times {
    ring: VecDeque<(u64, FrameMeta)>,
    last: u64,
}

impl Times {
    pub(super) fn new() -> Self {
        Self {
            ring: VecDeque::with_capacity(REMEMBERED),
            last: 0,
        }
    }

    /// Remembers `meta` and gives the time to tell the driver: the input's own in microseconds (drivers may reckon their
    /// bitrate with it), or the next number that no other picture in flight has.
    pub(super) fn push(&mut self, meta: &FrameMeta) -> Micros {
        let mut key = meta.timestamp.map_or(self.last + 1, |time| time.ns / 1000);
        while self.ring.iter().any(|(other, _)| *other == key) {
            key += 1;
        }
        if self.ring.len() == REMEMBERED {
            self.ring.pop_front();
        }
        self.ring.push_back((key, meta.clone()));
        self.last = key;
        Micros(key)
    }

    /// Forgets an input that the driver refused.
    pub(super) fn pop(&mut self, key: Micros) {
        self.ring.retain(|(other, _)| *other != key.0);
    }

    /// What went in with the time of `info`. A decoder may make several pictures of one access unit, so it stays.
    pub(super) fn find(&self, info: &BufferInfo) -> FrameMeta {
        let own_clock = info.flags & abi::BUF_FLAG_TIMESTAMP_MASK == abi::BUF_FLAG_TIMESTAMP_MONOTONIC;
        let told = timestamp(info);
        let key = told.filter(|_| !own_clock).map(|time: Timestamp| time.ns / 1000);
        let found = self.ring.iter().rev().find(|(other, _)| Some(*other) == key);
        found.map_or_else(
            || {
                let mut meta = FrameMeta::default();
                meta.timestamp = told;
                meta
            },
            |(_, meta)| meta.clone(),
        )
    }

    pub(super) fn clear(&mut self) {
        self.ring.clear();
    }
}

/// A driver's time stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Micros(u64);

impl Micros {
    /// Seconds and microseconds of `struct timeval`. Whatever 64-bit nanoseconds hold fits.
    pub(super) fn split(self) -> (i64, i64) {
        let part = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        (part(self.0 / 1_000_000), part(self.0 % 1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmaframe_core::Clock;

    fn at(ns: u64) -> FrameMeta {
        let mut meta = FrameMeta::default();
        meta.timestamp = Some(Timestamp {
            ns,
            clock: Clock::Boottime,
        });
        meta
    }

    #[test]
    fn two_pictures_of_one_microsecond_are_told_apart_and_keep_their_nanoseconds() {
        let mut times = Times::new();
        let keys = [1_000_000_001, 1_000_000_002, 999].map(|ns| (times.push(&at(ns)), ns));
        for (key, ns) in keys {
            let found = times.find(&BufferInfo::at(abi::BUF_FLAG_TIMESTAMP_COPY, key.split()));
            assert_eq!(found.timestamp, at(ns).timestamp);
        }
        let none = times.push(&FrameMeta::default());
        assert_eq!(
            times
                .find(&BufferInfo::at(abi::BUF_FLAG_TIMESTAMP_COPY, none.split()))
                .timestamp,
            None
        );
    }

    #[test]
    fn a_drivers_own_clock_is_not_taken_for_a_copied_time() {
        let mut times = Times::new();
        let key = times.push(&at(5_000));
        let found = times.find(&BufferInfo::at(abi::BUF_FLAG_TIMESTAMP_MONOTONIC, key.split()));
        assert_eq!(found.timestamp.map(|time| time.clock), Some(Clock::Monotonic));
        let made_up = times.find(&BufferInfo::at(abi::BUF_FLAG_TIMESTAMP_COPY, (7, 0)));
        assert_eq!(made_up.timestamp.map(|time| time.ns), Some(7_000_000_000));
    }

    #[test]
    fn it_never_grows() {
        let mut times = Times::new();
        let capacity = times.ring.capacity();
        for n in 0..10_000 {
            times.push(&at(n * 1000));
        }
        assert_eq!((times.ring.len(), times.ring.capacity()), (REMEMBERED, capacity));
        times.push(&at(u64::MAX));
    }
}
