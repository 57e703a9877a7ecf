//! One stream's buffers, and who has them.

use std::sync::Arc;

use dmaframe_core::capture::{Captured, Sequence, Stats};
use dmaframe_core::report::Hop;
use dmaframe_core::{
    Access, Bitstream, Budget, Buffer, Codec, Deadline, Delivery, Fence, Frame, FrameMeta, Object,
    ReturnQueue,
};
use libcamera::framebuffer::{AsFrameBuffer, FrameMetadataStatus};
use rustix::event::epoll;
use std::os::fd::{AsFd, OwnedFd};

use super::slot::{Place, Slot};
use super::{ReleaseFences, layout};
use crate::error::Error;
use crate::format::StreamFormat;
use crate::metadata::timestamp;
use crate::sys::{self, FrameMemory, Handle};

/// Which descriptor an epoll event is about. Not looked at: every wake-up looks at everything.
const TOKEN: epoll::EventData = epoll::EventData::new_u64(0);

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) handle: libcamera::stream::Stream,
    pub(crate) format: StreamFormat,
    codec: Option<Codec>,
    pub(crate) slots: Vec<Slot>,
    returns: Arc<ReturnQueue>,
    /// Slots in [`Place::Fenced`], with what they wait for.
    fenced: Vec<(usize, Fence)>,
    fences: ReleaseFences,
    /// Whether fences on the dma-bufs themselves hold a buffer back too.
    implicit: bool,
    budget: Budget,
    sequence: Sequence,
    pub(crate) stats: Stats,
    pub(crate) hop: Arc<Hop>,
    /// Bytes each plane of a whole picture has.
    needed: Vec<u64>,
}

impl Stream {
    #[expect(clippy::too_many_arguments, reason = "one caller, which has them all")]
    pub(crate) fn new(
        camera: &str,
        index: usize,
        handle: libcamera::stream::Stream,
        format: StreamFormat,
        memories: Vec<FrameMemory>,
        imported: Option<&[Arc<Buffer>]>,
        (budget, fences, implicit): (Budget, ReleaseFences, bool),
        watcher: &OwnedFd,
    ) -> Result<Self, Error> {
        let generation = dmaframe_core::next_generation();
        let mut slots = Vec::new();
        for (slot, memory) in memories.into_iter().enumerate() {
            let buffer = match imported.and_then(|buffers| buffers.get(slot)) {
                Some(buffer) => Arc::clone(buffer),
                None => {
                    let (objects, layout): (Vec<Arc<Object>>, _) =
                        layout::of(camera, index, &format, &memory)?;
                    sys::private_buffer(objects, &layout, generation).map_err(Error::core(camera))?
                }
            };
            slots.push(Slot::new(memory, buffer));
        }
        let returns = ReturnQueue::new(slots.len()).map_err(Error::core(camera))?;
        epoll::add(watcher, returns.as_fd(), TOKEN, epoll::EventFlags::IN)
            .map_err(|errno| Error::from_errno(camera, "epoll_ctl", errno))?;
        let how = if imported.is_some() { "import" } else { "export" };
        let hop = Hop::new(format!("{camera}(libcamera,{},{how})", format.role));
        let layout = slots.first().map(|slot| slot.buffer.layout().clone());
        let codec = format.format.codec();
        let needed = layout
            .filter(|layout| codec.is_none() && layout.modifier().is_linear())
            .map(|layout| {
                let planes = layout.planes().iter().enumerate();
                planes
                    .map(|(i, plane)| {
                        let rows = u64::from(layout.rows(i)).saturating_sub(1);
                        u64::from(plane.stride) * rows + layout.row_bytes(i) as u64
                    })
                    .collect()
            });
        Ok(Self {
            handle,
            codec,
            format,
            slots,
            returns,
            fenced: Vec::new(),
            fences,
            implicit,
            budget,
            sequence: Sequence::default(),
            stats: Stats::default(),
            hop,
            needed: needed.unwrap_or_default(),
        })
    }

    /// Takes back what consumers gave, and what their fences held back until now.
    pub(crate) fn reclaim(&mut self, watcher: &OwnedFd) {
        while let Some(returned) = self.returns.next() {
            let mut fence = returned.fence;
            if let Some(slot) = self.slots.get(returned.slot).filter(|_| self.implicit) {
                for object in slot.buffer.objects() {
                    fence = object.with_implicit(Access::Write, fence);
                }
            }
            self.back(watcher, returned.slot, fence, self.fences);
        }
        for entry in (0..self.fenced.len()).rev() {
            // A fence the kernel will not be asked about is treated as pending: too late is safe, too early is not.
            if self.fenced[entry].1.is_done().unwrap_or(false) {
                let (slot, fence) = self.fenced.swap_remove(entry);
                unwatch(watcher, &fence);
                self.slots[slot].place = Place::Home;
            }
        }
    }

    /// A slot has come back with this fence.
    fn back(&mut self, watcher: &OwnedFd, slot: usize, fence: Fence, fences: ReleaseFences) {
        let Some(entry) = self.slots.get_mut(slot) else {
            return;
        };
        entry.place = Place::Home;
        if fence.is_trivial() || fence.is_done().unwrap_or(false) {
            return;
        }
        // A timeline point has no descriptor; as a sync_file it can be waited for together with everything else.
        let fence = fence.into_pollable();
        if let Fence::SyncFile(file) = &fence {
            if fences == ReleaseFences::HandOver {
                entry.fence = Some(fence);
                return;
            }
            // Without it (no memory, too many watches) the fence is looked at once a tick instead.
            let _ = epoll::add(watcher, file.as_fd(), TOKEN, epoll::EventFlags::IN);
        }
        entry.place = Place::Fenced;
        self.fenced.push((slot, fence));
    }

    /// Whether a fence is waited for that no descriptor tells about.
    pub(crate) fn is_ticking(&self) -> bool {
        self.fenced
            .iter()
            .any(|(_, fence)| !matches!(fence, Fence::SyncFile(_)))
    }

    /// A buffer for the next request, claimed: its slot, libcamera's handle of it, and the fence that goes with it.
    pub(crate) fn take_free(
        &mut self,
    ) -> Result<Option<(usize, Handle, Option<Fence>)>, dmaframe_core::Error> {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.place != Place::Home {
                continue;
            }
            if !slot.claim()? {
                continue;
            }
            slot.place = Place::Camera;
            return Ok(Some((index, slot.memory.handle(), slot.fence.take())));
        }
        Ok(None)
    }

    /// Whether [`Stream::take_free`] is worth a try.
    pub(crate) fn has_free(&self) -> bool {
        self.slots.iter().any(|slot| slot.place == Place::Home)
    }

    /// A slot that was taken for a request that did not go out, with its fence.
    pub(crate) fn put_back(&mut self, watcher: &OwnedFd, slot: usize, fence: Option<Fence>) {
        // The duplicate that libcamera may have been given already: it refuses a buffer that still has one.
        if let (Some(slot), Some(_)) = (self.slots.get(slot), &fence) {
            drop(slot.memory.handle().release_fence());
        }
        self.back(watcher, slot, fence.unwrap_or_default(), ReleaseFences::Wait);
    }

    /// The stream stopped: what was not filled is at home, and others may have it.
    pub(crate) fn unfilled(&mut self, watcher: &OwnedFd, slot: usize) {
        self.cancelled(watcher, slot);
        if let Some(entry) = self.slots.get_mut(slot) {
            entry.claim = None;
        }
    }

    pub(crate) fn restart(&mut self) {
        self.sequence.restart();
    }

    /// libcamera gave the buffer back without having used it, maybe with the fence that it did not wait for.
    fn cancelled(&mut self, watcher: &OwnedFd, slot: usize) {
        let fence = self.slots.get(slot).and_then(|slot| {
            let handle = slot.memory.handle();
            handle.mark_unfilled();
            let fd = handle.release_fence()?.into_owned_fd().ok()?;
            dmaframe_core::SyncFile::new(fd).ok().map(Fence::SyncFile)
        });
        self.back(watcher, slot, fence.unwrap_or_default(), ReleaseFences::Wait);
    }

    /// Hands out the filled buffer, a copy of it, or nothing (damaged, short, dropped by policy). `completed` is the number
    /// of its request, if that was not cancelled.
    pub(crate) fn deliver(
        &mut self,
        camera: &str,
        watcher: &OwnedFd,
        slot: usize,
        completed: Option<u32>,
        mut meta: FrameMeta,
    ) -> Result<Option<Captured>, Error> {
        let limit = self.slots.len();
        let Some(entry) = self
            .slots
            .get_mut(slot)
            .filter(|slot| slot.place == Place::Camera)
        else {
            return Err(Error::OutOfRange {
                camera: camera.to_owned(),
                what: "a completed buffer",
                found: slot,
                limit,
            });
        };
        entry.place = Place::Home;
        let handle = entry.memory.handle();
        let filled = handle.metadata();
        let status = filled.as_ref().map(|filled| filled.status());
        let (number, time, used) = match (&filled, status, completed) {
            (Some(filled), Some(FrameMetadataStatus::Success | FrameMetadataStatus::Startup), _) => {
                let used = filled.planes().into_iter().map(|p| p.bytes_used.into()).collect();
                (filled.sequence(), timestamp(filled.timestamp()), used)
            }
            // A pipeline that says nothing at all about its buffers, as the virtual one before libcamera 0.5.
            (None, _, Some(number)) => (number, None, Vec::new()),
            _ => {
                self.stats.errors += 1;
                self.hop
                    .dropped("libcamera flagged the buffer as damaged or gave it back unfilled");
                self.cancelled(watcher, slot);
                return Ok(None);
            }
        };
        let (sequence, missing) = self.sequence.advance(number);
        self.stats.gaps += missing;
        meta.sequence = Some(sequence);
        meta.timestamp = time;
        meta.color = self.format.color;
        if !self.is_whole(&used) {
            self.stats.short += 1;
            self.hop
                .dropped("the camera filled fewer bytes than the picture has");
            return Ok(None);
        }
        let held = self.slots.iter_mut().map(Slot::is_held);
        let outstanding = held.filter(|held| *held).count();
        let delivery = self.budget.decide(limit, outstanding);
        if delivery == Delivery::Drop {
            self.stats.dropped += 1;
            self.hop.dropped(HELD);
            return Ok(None);
        }
        let captured = self.wrap(slot, &used, meta).map_err(Error::core(camera))?;
        self.slots[slot].place = Place::Out;
        if delivery == Delivery::Share {
            self.stats.delivered += 1;
            self.hop.zero_copy();
            return Ok(Some(captured));
        }
        let copied = captured.detach(Deadline::now());
        // The buffer comes back through the queue like any other.
        drop(captured);
        // A copy that cannot be made (of tiled pictures, of memory that somebody put a fence on, for want of memory) costs
        // this picture and not the stream.
        let Ok((copy, bytes)) = copied else {
            self.stats.dropped += 1;
            self.hop.dropped(NOT_COPIED);
            return Ok(None);
        };
        self.stats.detached += 1;
        self.hop.cpu_copy(bytes, HELD);
        Ok(Some(copy))
    }

    fn wrap(&mut self, slot: usize, used: &[u64], meta: FrameMeta) -> Result<Captured, dmaframe_core::Error> {
        let entry = &mut self.slots[slot];
        let Some(codec) = self.codec else {
            let Some(claim) = entry.claim.take() else {
                // Not a buffer that libcamera had.
                return Err(dmaframe_core::Error::InUse {
                    id: entry.buffer.id(),
                });
            };
            let frame: Result<Frame, _> = self.returns.frame_from_device(slot, claim, meta, Fence::Signaled);
            return frame.map(Captured::Frame).map_err(|rejected| {
                entry.claim = Some(rejected.value);
                rejected.error
            });
        };
        entry.claim = None;
        let len = used
            .first()
            .map_or(0, |len| usize::try_from(*len).unwrap_or(usize::MAX));
        let keyframe = matches!(codec, Codec::MJPEG | Codec::JPEG);
        Bitstream::from_slot(&self.returns, slot, &entry.buffer, codec, len, keyframe, meta)
            .map(Captured::Bitstream)
    }

    /// Whether the buffer holds the whole of what its layout promises. A pipeline that says nothing about bytes says 0.
    fn is_whole(&self, used: &[u64]) -> bool {
        if self.codec.is_some() {
            return used.first().is_some_and(|len| *len > 0);
        }
        if used.len() == 1 && self.needed.len() > 1 {
            // One plane for all: no less than the bytes of the first.
            return used[0] == 0 || self.needed.first().is_none_or(|first| used[0] >= *first);
        }
        used.iter()
            .zip(&self.needed)
            .all(|(used, needed)| *used == 0 || used >= needed)
    }

    /// Leaves libcamera's frame buffers to it for good, and with those that it has not given back the claims: a device may
    /// write them still, so nobody who kept a handle may ever make a frame of one.
    pub(crate) fn abandon(&mut self) {
        self.returns.close();
        for slot in self.slots.drain(..) {
            if slot.place == Place::Camera {
                std::mem::forget(slot);
            } else {
                std::mem::forget(slot.memory);
            }
        }
    }

    /// How many buffers libcamera has.
    pub(crate) fn with_camera(&self) -> usize {
        let with = |slot: &&Slot| slot.place == Place::Camera;
        self.slots.iter().filter(with).count()
    }
}

const HELD: &str = "consumers hold all buffers but those the camera needs";
const NOT_COPIED: &str =
    "consumers hold all buffers but those the camera needs, and the picture could not be copied";

impl Drop for Stream {
    fn drop(&mut self) {
        // Leases that are out do nothing more.
        self.returns.close();
    }
}

fn unwatch(watcher: &OwnedFd, fence: &Fence) {
    if let Fence::SyncFile(file) = fence {
        let _ = epoll::delete(watcher, file.as_fd());
    }
}
