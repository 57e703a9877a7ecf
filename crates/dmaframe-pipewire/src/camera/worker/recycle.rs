//! Buffers on their way back from consumers.

use std::time::Instant;

use dmaframe_core::{Fence, Frame};

use super::super::Desk;
use super::super::pool::{Entry, Place, Pool, Sync};
use super::{EAGER, RELEASE_PATIENCE, RESCUE, SLOW_TICK, TICK, Worker};
use crate::pod::{Chunk, meta_type};
use crate::sys::{Header, NoBuffer, Slot, Stream, SyncPoints, chunk_flag, header_flag};

impl Worker {
    /// Forgets all buffers: frames that are out stay valid, and come back to nowhere.
    pub(super) fn close_pool(&self) {
        let mut desk = self.shared.desk();
        let pool = desk.pool.take();
        desk.format = None;
        let pushed = std::mem::take(&mut desk.pushed);
        desk.stats.stale += pushed.len() as u64;
        desk.stats.buffers = 0;
        self.shared.freed.clear();
        drop(desk);
        if let Some(file) = self.watched.borrow_mut().take() {
            self.wake.remove(&file);
        }
        *self.settled.borrow_mut() = None;
        if let Some(pool) = pool {
            self.wake.remove(&*pool.queue);
            pool.queue.close();
            // Kept frames run their leases here, outside of the lock.
            drop(pool);
        }
        drop(pushed);
    }

    /// Marks a buffer that is about to be written, so that a consumer who comes upon it passes it over.
    pub(super) fn mark(&self, stream: &Stream, slot: Slot) {
        let header = stream.header(slot).unwrap_or_default();
        let flags = header.flags | header_flag::CORRUPTED;
        stream.set_header(slot, Header { flags, ..header });
        if let Some(chunk) = stream.chunk(slot, 0) {
            let flags = chunk.flags | chunk_flag::CORRUPTED;
            stream.set_chunk(slot, 0, Chunk { flags, ..chunk });
        }
    }

    /// Moves every buffer as far as it can go on its way home. Frames that come free are handed out, to be dropped
    /// without the lock.
    pub(super) fn reclaim(&self, stream: &Stream, desk: &mut Desk) -> Vec<Frame> {
        let mut gone = Vec::new();
        let Desk {
            pool,
            stats,
            asked,
            waiting,
            ..
        } = desk;
        let Some(pool) = pool else { return gone };
        // Back from the graph. Behind those that consumers still have may be others.
        let mut busy = 0;
        while busy < pool.len() {
            let slot = match stream.dequeue() {
                Ok(slot) => slot,
                Err(NoBuffer::Busy) => {
                    busy += 1;
                    continue;
                }
                Err(NoBuffer::None) => break,
            };
            self.mark(stream, slot);
            if let Some(Some(entry)) = pool.entries.get_mut(slot.index) {
                entry.place = match std::mem::replace(&mut entry.place, Place::Held) {
                    Place::Published(frame) => Place::Late(Some(frame)),
                    _ => Place::Late(None),
                };
            }
        }
        // Leases.
        while let Some(back) = pool.queue.next() {
            if let Some(Some(entry)) = pool.entries.get_mut(back.slot) {
                // From `Held`: the last of the producer's clones; from `Out`: dropped without being pushed.
                entry.place = Place::Fenced(back.fence);
            }
        }
        // What was pushed a moment ago may come back at any time; what a consumer has, some day.
        let recent = self.published.get().is_some_and(|at| at.elapsed() < EAGER);
        let mut ticking = (busy > 0 || recent) && lends(pool);
        let mut late = false;
        for index in 0..pool.entries.len() {
            let Some(entry) = &mut pool.entries[index] else {
                continue;
            };
            if let Place::Late(frame) = &mut entry.place {
                // A consumer that counted itself in before the mark was set reads on; we wait for it.
                if stream.busy(entry.slot).is_some_and(|users| users > 1) {
                    stats.late += u64::from(!late);
                    (late, ticking) = (true, true);
                    continue;
                }
                entry.place = Place::Unreleased(frame.take(), Instant::now());
            }
            if let Place::Unreleased(frame, since) = &mut entry.place {
                if !released(
                    stream,
                    entry.slot,
                    entry.sync.as_ref(),
                    *since,
                    &mut stats.unreleased,
                ) {
                    ticking = true;
                    continue;
                }
                let frame = frame.take();
                // Without a frame of our queue nothing else will come: it was the first round, or somebody else's.
                let home = frame.is_none() || entry.foreign;
                gone.extend(frame);
                entry.place = if home {
                    Place::Fenced(Fence::Signaled)
                } else {
                    Place::Held
                };
            }
            if let Place::Fenced(fence) = &entry.place {
                if fence.is_done().unwrap_or(false) {
                    pool.set_free(index);
                    *asked = None;
                    self.shared.freed.set();
                } else {
                    ticking = true;
                }
            }
        }
        if asked.is_none() && *waiting > 0 {
            // Another may have taken what came free before this one woke up: who waits has asked.
            ticking = true;
            *asked = (!pool.has_free()).then(Instant::now);
        }
        // Whoever asked in vain may wait for hours, in `acquire` or at the descriptor: somebody has to look for that long, if
        // not as often.
        match asked {
            Some(asked) if asked.elapsed() < EAGER => self.wake.tick(TICK),
            Some(_) => self.wake.tick(SLOW_TICK),
            None if ticking => self.wake.tick(SLOW_TICK),
            None => {}
        }
        gone
    }

    /// A consumer that died has taken the buffers it held with it: nobody counts it out of them. When the others starve
    /// for that, all buffers are made anew.
    pub(super) fn rescue(&self, stream: &Stream) {
        let Some(since) = self.orphaned.get() else { return };
        {
            let mut desk = self.shared.desk();
            let starved = desk.asked.is_some() && desk.pool.as_ref().is_some_and(|pool| !pool.has_free());
            if !starved || since.elapsed() < RESCUE {
                return;
            }
            desk.stats.rescued += 1;
        }
        self.orphaned.set(None);
        if let Err(error) = stream.update_params(&self.offers()) {
            self.shared.fail(error);
        }
    }
}

/// Whether the graph has frames of somebody else's: their leases are waited for elsewhere, perhaps before anything is pushed
/// again, and neither the graph nor a consumer that lets go of a buffer tells.
pub(super) fn lends(pool: &Pool) -> bool {
    let lent = |entry: &Entry| entry.foreign && matches!(entry.place, Place::Published(_));
    pool.entries.iter().flatten().any(lent)
}

/// Whether the consumer is done with the buffer, by its own explicit sync.
fn released(stream: &Stream, slot: Slot, sync: Option<&Sync>, since: Instant, unreleased: &mut u64) -> bool {
    let Some(sync) = sync.filter(|sync| sync.point > 0) else {
        return true;
    };
    let done = Fence::from(sync.release.point(sync.point)).is_done();
    if done.unwrap_or(false) {
        return true;
    }
    let points = stream.sync_points(slot).unwrap_or_default();
    if points.flags & SyncPoints::UNSCHEDULED_RELEASE == 0 {
        // Promised. Should the consumer die, its link goes, and the buffers with it.
        return false;
    }
    let certain = stream.has_feature(slot, meta_type::SYNC_TIMELINE, meta_type::SYNC_TIMELINE_RELEASE);
    let over = certain || since.elapsed() > RELEASE_PATIENCE;
    *unreleased += u64::from(over);
    over
}
