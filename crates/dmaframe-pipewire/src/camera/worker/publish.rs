//! Frames on their way to consumers.

use dmaframe_core::{Clock, Fence, Frame, Rect, Timestamp};

use super::super::Desk;
use super::super::pool::{Entry, Place};
use super::{TICK, Worker};
use crate::capture::Damage;
use crate::error::Error;
use crate::pod::{self, Chunk};
use crate::sys::{Crop, Header, Stream, SyncPoints};

impl Worker {
    /// Publishes what is ready, in order. Gives the frames that are dropped, and whether the graph has something new.
    pub(super) fn publish(&self, stream: &Stream, desk: &mut Desk) -> (Vec<Frame>, u32) {
        let mut gone = Vec::new();
        let mut published = 0;
        if let Some(file) = self.watched.borrow_mut().take() {
            self.wake.remove(&file);
        }
        if !self.streaming.get() {
            // A camera shows what is now: only the newest picture waits for the graph.
            let newest = desk.pushed.pop_back();
            desk.stats.stale += desk.pushed.len() as u64;
            for frame in desk.pushed.drain(..) {
                if let Some(pool) = &mut desk.pool {
                    pool.unpush(&frame);
                }
                gone.push(frame);
            }
            desk.pushed.extend(newest);
            return (gone, 0);
        }
        while let Some(frame) = desk.pushed.front() {
            let index = desk.pool.as_ref().and_then(|pool| pool.index_of(frame));
            let entry = desk
                .pool
                .as_mut()
                .zip(index)
                .and_then(|(pool, i)| pool.entries[i].as_mut());
            let Some(entry) = entry.filter(|entry| matches!(entry.place, Place::Pushed)) else {
                desk.stats.stale += 1;
                gone.extend(desk.pushed.pop_front());
                continue;
            };
            match self.acquire_fence(entry, frame) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    // The kernel would not take the fence: wait for it as without explicit sync.
                    if !frame.acquire().is_done().unwrap_or(false) {
                        self.wake.tick(TICK);
                        break;
                    }
                    // A point of its own it needs all the same: that of the buffer's last picture has been released, and this
                    // one would be written over while it is read.
                    let refused = entry.sync.as_mut().is_some_and(|sync| sync.advance().is_err());
                    if refused {
                        if let (Some(frame), Some(pool)) = (desk.pushed.pop_front(), &mut desk.pool) {
                            pool.unpush(&frame);
                            gone.push(frame);
                        }
                        self.shared
                            .hop
                            .dropped("the kernel would not say when the picture is finished");
                        continue;
                    }
                }
            }
            self.fill(stream, entry, frame);
            if let Some(frame) = desk.pushed.pop_front() {
                entry.place = Place::Published(frame);
            }
            stream.queue(entry.slot);
            desk.stats.published += 1;
            published += 1;
        }
        (gone, published)
    }

    /// Whether the frame can go out now; with explicit sync, its fence goes with it.
    pub(super) fn acquire_fence(&self, entry: &mut Entry, frame: &Frame) -> Result<bool, Error> {
        let fence = frame.acquire();
        if let Some(sync) = &mut entry.sync {
            let point = sync.point + 1;
            match fence {
                Fence::Signaled => sync.acquire.signal(point)?,
                Fence::SyncFile(file) => sync.acquire.attach(point, file)?,
                other => match other.to_sync_file() {
                    Ok(Some(file)) => sync.acquire.attach(point, &file)?,
                    Ok(None) => sync.acquire.signal(point)?,
                    // Nobody has submitted the work yet: the consumer could not even wait for it.
                    Err(_) => {
                        self.wake.tick(TICK);
                        return Ok(false);
                    }
                },
            }
            sync.point = point;
            return Ok(true);
        }
        if fence.is_trivial() || fence.is_done()? {
            return Ok(true);
        }
        match fence.to_sync_file() {
            Ok(Some(file)) if self.wake.add(&file).is_ok() => *self.watched.borrow_mut() = Some(file),
            _ => self.wake.tick(TICK),
        }
        Ok(false)
    }

    /// Writes everything that goes with the picture.
    pub(super) fn fill(&self, stream: &Stream, entry: &Entry, frame: &Frame) {
        let slot = entry.slot;
        let (meta, layout) = (frame.meta(), entry.buffer.layout());
        let timelines = if entry.sync.is_some() { 2 } else { 0 };
        let blocks = stream.blocks(slot).len().saturating_sub(timelines);
        for block in 0..blocks.min(layout.planes().len()) {
            let plane = layout.planes()[block];
            let size = match blocks {
                1 => layout.object_len(0),
                _ => u64::from(plane.stride) * u64::from(layout.rows(block)),
            };
            let chunk = Chunk {
                offset: u32::try_from(plane.offset).unwrap_or(0),
                size: u32::try_from(size).unwrap_or(0),
                stride: i32::try_from(plane.stride).unwrap_or(0),
                flags: 0,
            };
            stream.set_chunk(slot, block, chunk);
        }
        let count = self.sequence.get() + 1;
        self.sequence.set(count);
        let time = meta.timestamp.and_then(|time| time.to_clock(Clock::Monotonic));
        let time = time.unwrap_or_else(|| Timestamp::now(Clock::Monotonic));
        if let Some(sync) = &entry.sync {
            let points = SyncPoints {
                flags: SyncPoints::UNSCHEDULED_RELEASE,
                padding: 0,
                acquire: sync.point,
                release: sync.point,
            };
            stream.set_sync_points(slot, points);
        }
        stream.set_crop(slot, meta.visible.map(Crop::from).unwrap_or_default());
        stream.set_transform(slot, pod::transform_of(meta.orientation));
        let whole = [Rect::full(layout.size())];
        let damage = meta.extensions.get::<Damage>();
        let damage = damage.map_or(&whole[..], |damage| &damage.0);
        stream.set_damage(slot, damage, layout.size());
        // Last, since it takes the mark away.
        let header = Header {
            flags: 0,
            offset: 0,
            pts: i64::try_from(time.ns).unwrap_or(-1),
            dts_offset: 0,
            seq: meta.sequence.unwrap_or(count),
        };
        stream.set_header(slot, header);
    }
}
