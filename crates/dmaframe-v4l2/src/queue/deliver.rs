//! From a dequeued buffer to what the consumer gets.

use std::os::fd::OwnedFd;

use dmaframe_core::capture::Captured;
use dmaframe_core::{Bitstream, Clock, Deadline, Delivery, Fence, FrameMeta, Timestamp};

use super::Fill;
use super::slots::Place;
use crate::device::Device;
use crate::error::Error;
use crate::format::{Field, Format};
use crate::sys::{BufferInfo, abi};

impl Fill {
    /// Hands out the buffer of `info` with `meta` (its sequence is filled in here), a copy of it, or nothing (damaged,
    /// short, dropped by policy); whatever is not handed out is queued again.
    pub(crate) fn deliver(
        &mut self,
        device: &Device,
        epoll: &OwnedFd,
        format: &Format,
        info: &BufferInfo,
        mut meta: FrameMeta,
    ) -> Result<Option<Captured>, Error> {
        let slot = info.index as usize;
        let (sequence, missing) = self.sequence.advance(info.sequence);
        self.stats.gaps += missing;
        if !self.is_whole(info) {
            self.slots.queue(device, slot)?;
            return Ok(None);
        }
        self.slots.relay(device, format, info)?;
        // The one in hand is not with the driver any more.
        let outstanding = self.slots.slots.len() - self.slots.with_driver() - 1;
        let delivery = self.budget.decide(self.slots.slots.len(), outstanding);
        if delivery == Delivery::Drop {
            self.stats.dropped += 1;
            self.hop
                .dropped("consumers hold all buffers but those the driver needs");
            self.slots.queue(device, slot)?;
            return Ok(None);
        }
        meta.sequence = Some(sequence);
        let captured = self.wrap(info, slot, meta);
        let captured = captured.map_err(|error| Error::Core {
            device: device.path().to_owned(),
            error,
        })?;
        self.slots.slots[slot].place = Place::Out;
        if delivery == Delivery::Share {
            self.stats.delivered += 1;
            self.hop.zero_copy();
            return Ok(Some(captured));
        }
        let copy = self.copy(&captured);
        // The buffer comes back through the queue like any other, and goes to the driver before anything else.
        drop(captured);
        self.reclaim(device, epoll, false)?;
        Ok(copy)
    }

    fn wrap(
        &mut self,
        info: &BufferInfo,
        slot: usize,
        meta: FrameMeta,
    ) -> Result<Captured, dmaframe_core::Error> {
        let entry = &mut self.slots.slots[slot];
        let Some(codec) = self.slots.codec else {
            let Some(claim) = entry.claim.take() else {
                // Not a buffer the driver had: `dequeue` has refused those.
                return Err(dmaframe_core::Error::InUse {
                    id: entry.buffer().id(),
                });
            };
            let frame = self.returns.frame_from_device(slot, claim, meta, Fence::Signaled);
            return frame.map(Captured::Frame).map_err(|rejected| {
                entry.claim = Some(rejected.value);
                rejected.error
            });
        };
        entry.claim = None;
        let plane = info.planes[0];
        // Longer than its memory is refused by `from_slot`.
        let len = plane.bytesused.saturating_sub(plane.data_offset) as usize;
        let keyframe = info.flags & abi::BUF_FLAG_KEYFRAME != 0;
        let unit = Bitstream::from_slot(&self.returns, slot, entry.buffer(), codec, len, keyframe, meta);
        let mut unit = unit?;
        // Drivers that flag none of the three kinds (vicodec, cameras' JPEG) leave it to the stream.
        let told = abi::BUF_FLAG_KEYFRAME | abi::BUF_FLAG_PFRAME | abi::BUF_FLAG_BFRAME;
        if info.flags & told == 0 {
            let read = unit.stands_alone(Deadline::now());
            unit.set_keyframe(read.ok().flatten().unwrap_or(false));
        }
        Ok(Captured::Bitstream(unit))
    }

    /// A copy in fresh memory. One that cannot be made (of tiled pictures, of memory that somebody put a fence on, for
    /// want of memory) costs this picture and not the stream.
    fn copy(&mut self, captured: &Captured) -> Option<Captured> {
        match captured.detach(Deadline::now()) {
            Ok((copy, bytes)) => {
                self.stats.detached += 1;
                self.hop
                    .cpu_copy(bytes, "consumers hold all buffers but those the driver needs");
                Some(copy)
            }
            Err(_) => {
                self.stats.dropped += 1;
                self.hop.dropped(
                    "consumers hold all buffers but those the driver needs, and the picture could not be copied",
                );
                None
            }
        }
    }

    /// Whether the buffer holds the whole of what its layout promises; counts why not.
    fn is_whole(&mut self, info: &BufferInfo) -> bool {
        let progressive = self.slots.codec.is_some() || Field::from_raw(info.field) == Field::Progressive;
        if info.flags & abi::BUF_FLAG_ERROR != 0 || !progressive {
            self.stats.errors += 1;
            self.hop
                .dropped("the driver flagged the buffer as damaged, or delivered a single field");
            return false;
        }
        // An access unit is as long as it is, but has to lie inside its buffer and be there at all. Either way the
        // bytes are counted from the start of the memory, so what lies in front of the data is not part of it.
        let data = info
            .planes
            .iter()
            .map(|plane| u64::from(plane.bytesused.saturating_sub(plane.data_offset)));
        let short = match self.slots.codec {
            Some(_) => data.take(1).any(|found| found == 0),
            None => {
                info.plane_count < self.slots.needed.len()
                    || data
                        .zip(&self.slots.needed)
                        .any(|(found, needed)| found < *needed)
            }
        };
        if short {
            self.stats.short += 1;
            self.hop
                .dropped("the driver filled fewer bytes than the picture has");
        }
        !short
    }
}

/// The driver's time and the clock it says it is from. Only one clock has a flag; a copied time is the sender's.
pub(crate) fn timestamp(info: &BufferInfo) -> Option<Timestamp> {
    let clock = match info.flags & abi::BUF_FLAG_TIMESTAMP_MASK {
        abi::BUF_FLAG_TIMESTAMP_MONOTONIC => Clock::Monotonic,
        _ => Clock::Unknown,
    };
    let seconds = u64::try_from(info.sec).ok()?.checked_mul(1_000_000_000)?;
    let ns = u64::try_from(info.usec).ok()?.checked_mul(1000)?;
    Some(Timestamp {
        ns: seconds.checked_add(ns)?,
        clock,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(flags: u32, sec: i64, usec: i64) -> Option<Timestamp> {
        timestamp(&BufferInfo::at(flags, (sec, usec)))
    }

    #[test]
    fn only_a_time_flagged_monotonic_is_monotonic() {
        let monotonic = at(abi::BUF_FLAG_TIMESTAMP_MONOTONIC, 2, 5).unwrap();
        assert_eq!((monotonic.ns, monotonic.clock), (2_000_005_000, Clock::Monotonic));
        assert_eq!(at(0, 1, 0).unwrap().clock, Clock::Unknown);
        assert_eq!(
            at(abi::BUF_FLAG_TIMESTAMP_COPY, 1, 0).unwrap().clock,
            Clock::Unknown
        );
    }

    #[test]
    fn a_time_no_clock_has_is_no_time() {
        assert_eq!(at(0, -1, 0), None);
        assert_eq!(at(0, i64::MAX, 0), None);
        assert_eq!(at(0, 0, i64::MIN), None);
    }
}
