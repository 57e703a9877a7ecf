//! Filled buffers on their way to consumers.

use std::sync::Arc;

use dmaframe_core::{Clock, Deadline, Delivery, Fence, Frame, FrameMeta, Timestamp};

use super::super::builder::Unguarded;
use super::super::pool::Wrapped;
use super::super::{Damage, Event};
use super::{Worker, is_guarded};
use crate::pod::{self, VideoFormat};
use crate::sys::{MAX_BUFFERS, Slot, Stream, SyncPoints, header_flag};

const HELD: &str = "consumers hold all buffers but those the node needs";
const TAKES_BACK: &str = "the node takes its buffers back whoever holds them";
const TAKEN_BACK: &str = "the node filled a buffer again while a frame of it was held";

impl Worker {
    /// One filled buffer.
    pub(super) fn deliver(&self, stream: &Stream, slot: Slot) {
        let frame = self.take(stream, slot);
        self.lost.set(frame.is_none());
        if let Some(frame) = frame {
            self.shared.push(Event::Frame(frame));
        }
    }

    /// What consumers get of it.
    fn take(&self, stream: &Stream, slot: Slot) -> Option<Frame> {
        let mut pool = self.pool.borrow_mut();
        let format = self.format.borrow();
        let (Some(pool), Some(format)) = (pool.as_mut(), format.as_ref()) else {
            stream.queue(slot);
            return None;
        };
        let generation = pool.generation();
        let (count, outstanding) = (pool.len(), pool.queue.outstanding());
        let queue = Arc::clone(&pool.queue);
        let Some(Some(entry)) = pool.entries.get_mut(slot.index) else {
            stream.queue(slot);
            return None;
        };
        let header = stream.header(slot).unwrap_or_default();
        if entry.is_away() {
            // The node has taken back what it had given out, and written the next picture into it. Our hold on the buffer
            // is not over: it is given back, and its release point signalled, once, when that frame is done.
            self.count_gaps(&header, false, false);
            self.shared.inbox().stats.overwritten += 1;
            self.shared.hop.dropped(TAKEN_BACK);
            return None;
        }
        if let (Some(sync), Some(points)) = (&mut entry.sync, stream.sync_points(slot)) {
            // Whatever becomes of the picture, its release point will be signalled: the producer may wait for it.
            sync.points = points;
            let flags = points.flags & !SyncPoints::UNSCHEDULED_RELEASE;
            stream.set_sync_points(slot, SyncPoints { flags, ..points });
        }
        let damaged = header.flags & header_flag::CORRUPTED != 0 || entry.is_damaged(stream);
        let guarded = is_guarded(stream, slot);
        let stale = self.count_gaps(&header, damaged, guarded);
        if damaged || stale {
            let mut inbox = self.shared.inbox();
            let count = if damaged {
                &mut inbox.stats.damaged
            } else {
                &mut inbox.stats.stale
            };
            *count += 1;
            drop(inbox);
            self.release(stream, slot, entry.sync.as_ref(), Fence::Signaled);
            return None;
        }
        let delivery = self.config.budget.decide(count, outstanding);
        if delivery == Delivery::Drop {
            self.shared.inbox().stats.dropped += 1;
            self.shared.hop.dropped(HELD);
            self.release(stream, slot, entry.sync.as_ref(), Fence::Signaled);
            return None;
        }
        let meta = self.meta(stream, slot, format, &header);
        let wrapped = entry.wrap(stream, &queue, generation, format, meta);
        let copied = self.config.unguarded == Unguarded::Copy && !guarded;
        match wrapped {
            Ok(Wrapped::Shared(frame)) if copied => self.detach(&frame, TAKES_BACK),
            Ok(Wrapped::Shared(frame)) if delivery == Delivery::Share => {
                self.shared.inbox().stats.delivered += 1;
                self.shared.hop.zero_copy();
                Some(frame)
            }
            // The buffer comes back through the queue when `frame` drops.
            Ok(Wrapped::Shared(frame)) => self.detach(&frame, HELD),
            Ok(Wrapped::Copied(frame, bytes)) => {
                self.shared.inbox().stats.detached += 1;
                let reason = "the node's memfd is not sealed: it could shrink under a reader";
                self.shared.hop.cpu_copy(bytes, reason);
                self.release(stream, slot, entry.sync.as_ref(), Fence::Signaled);
                Some(frame)
            }
            Err(_) => {
                self.shared.inbox().stats.refused += 1;
                self.shared
                    .hop
                    .dropped("the buffer does not hold the picture that it says it has");
                self.release(stream, slot, entry.sync.as_ref(), Fence::Signaled);
                None
            }
        }
    }

    fn detach(&self, frame: &Frame, reason: &'static str) -> Option<Frame> {
        match frame.detach(Deadline::now()) {
            Ok(copy) => {
                self.shared.inbox().stats.detached += 1;
                self.shared.hop.cpu_copy(frame.layout().tight_len(), reason);
                Some(copy)
            }
            // Tiled, or still being written: a copy would have to wait.
            Err(_) => {
                self.shared.inbox().stats.dropped += 1;
                self.shared
                    .hop
                    .dropped("a copy is due, and the picture cannot be copied now");
                None
            }
        }
    }

    fn meta(
        &self,
        stream: &Stream,
        slot: Slot,
        format: &VideoFormat,
        header: &crate::sys::Header,
    ) -> FrameMeta {
        let mut meta = FrameMeta::default();
        meta.color = format.color;
        if stream.header(slot).is_some() {
            meta.sequence = Some(header.seq);
            meta.timestamp = u64::try_from(header.pts).ok().map(|ns| Timestamp {
                ns,
                // The graph's clock is CLOCK_MONOTONIC, and so are the cameras' times.
                clock: Clock::Monotonic,
            });
        }
        let crop = stream.crop(slot).and_then(crate::sys::Crop::rect);
        meta.visible = crop.filter(|rect| rect.fits(format.size));
        let transform = stream.transform(slot).and_then(pod::orientation_of);
        meta.orientation = transform.unwrap_or_default();
        let damage = stream.damage(slot, format.size).filter(|rects| !rects.is_empty());
        if let Some(damage) = damage.filter(|_| !self.lost.get()) {
            meta.extensions.insert(Damage(damage.to_vec()));
        }
        meta
    }

    /// Counts missing pictures, and says whether this one is older than one that was handed out: under load a node that
    /// takes its buffers back can have written the next picture into one before this side comes to it, and the ones between
    /// follow. Guarded buffers come in order: there, a number that goes back is a new start (the camera behind a virtual one
    /// was plugged in again).
    fn count_gaps(&self, header: &crate::sys::Header, damaged: bool, guarded: bool) -> bool {
        // Numbers that stand still or go far back are those of nodes that do not count, or start anew.
        const BACK: u64 = MAX_BUFFERS as u64;
        if let Some(last) = self.last_sequence.get() {
            let step = header.seq.wrapping_sub(last);
            if (2..1 << 32).contains(&step) {
                self.shared.inbox().stats.gaps += step - 1;
                self.lost.set(true);
            }
            if !guarded && (1..=BACK).contains(&last.wrapping_sub(header.seq)) {
                return true;
            }
        }
        if !damaged {
            self.last_sequence.set(Some(header.seq));
        }
        false
    }
}
