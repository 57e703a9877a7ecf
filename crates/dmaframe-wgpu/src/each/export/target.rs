//! A slot in the hands of whoever renders, and what becomes of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use dmaframe_core::{Access, Deadline, Delivery, DeviceClaim, Frame, FrameMeta, Orientation, Rejected, Size};

use super::super::scope::scoped;
use super::super::{texture, wgpu};
use super::{ExportPool, Work};
use crate::{Error, ExportMemory};

/// A free slot: render into [`ExportTarget::view`], or name another source, then [`ExportTarget::submit`].
///
/// Dropping it gives the slot back unused.
#[must_use = "dropping it gives the slot back"]
pub struct ExportTarget {
    pool: ExportPool,
    slot: usize,
    /// Taken out when it is submitted.
    claim: Option<DeviceClaim>,
    source: Option<wgpu::TextureView>,
}

impl ExportTarget {
    pub(super) fn new(pool: ExportPool, slot: usize, claim: DeviceClaim) -> Self {
        Self {
            pool,
            slot,
            claim: Some(claim),
            source: None,
        }
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> Size {
        self.pool.size()
    }

    /// The slot's own texture: `Rgba8Unorm`, usage `RENDER_ATTACHMENT | TEXTURE_BINDING | STORAGE_BINDING | COPY_DST`.
    /// It still holds what was rendered into it last time. When there is no memory for it wgpu says so to the application, as
    /// of a texture of its own.
    #[must_use]
    pub fn texture(&self) -> wgpu::Texture {
        let inner = &self.pool.0;
        let made = inner.slots[self.slot].texture(inner.gpu.device(), inner.size);
        made.unwrap_or_else(|_| {
            let more = wgpu::TextureUsages::COPY_DST;
            texture::unchecked(inner.gpu.device(), "export target", inner.size, more)
        })
    }

    /// A view of [`ExportTarget::texture`].
    #[must_use]
    pub fn view(&self) -> wgpu::TextureView {
        self.try_view().unwrap_or_else(|_| {
            self.texture()
                .create_view(&wgpu::TextureViewDescriptor::default())
        })
    }

    /// [`Self::view`] whose error is ours to hand on.
    pub(in super::super) fn try_view(&self) -> Result<wgpu::TextureView, Error> {
        let inner = &self.pool.0;
        inner.slots[self.slot].view(inner.gpu.device(), inner.size)
    }

    /// Takes the picture from another texture: a 2D view with usage `TEXTURE_BINDING`, of any float or normalised
    /// format. Its values go out as they are, so a view of an sRGB format would come out linear: give one of the
    /// `Unorm` format. Where it is smaller than the picture its last column and row are repeated.
    pub fn set_source(&mut self, view: &wgpu::TextureView) {
        self.source = Some(view.clone());
    }

    /// Submits `commands`, which render, and behind them the writing of the slot, in one submission.
    ///
    /// Of `meta` time, sequence and extensions go into the frame; its colour is the pool's ([`ExportPool::color`]), and
    /// the picture is whole and upright. Does not block.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Wgpu`], [`Error::Vulkan`]: the picture is lost, and the slot comes back when all
    /// that has been submitted is done.
    pub fn submit(
        mut self,
        commands: impl IntoIterator<Item = wgpu::CommandBuffer>,
        meta: &FrameMeta,
    ) -> Result<Exporting, Error> {
        let inner = Arc::clone(&self.pool.0);
        let (device, slot) = (inner.gpu.device(), &inner.slots[self.slot]);
        let source = match self.source.take() {
            Some(source) => source,
            None => self.try_view()?,
        };
        let mut list: Vec<_> = commands.into_iter().collect();
        list.push(scoped(device, "ExportTarget::submit", || {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor {
                label: Some("dmaframe export"),
            });
            slot.record(device, &inner.writer, &mut encoder, &source);
            encoder.finish()
        })?);
        list.extend(slot.release(&inner.gpu)?);
        let claim = self.claim.take();
        let work = match inner.submit(list, slot) {
            Ok(work) => work,
            Err(error) => {
                let end = inner.end_of_all();
                inner.state().forsake(self.slot, end, claim);
                return Err(error);
            }
        };
        let mut own = FrameMeta::default();
        own.timestamp = meta.timestamp;
        own.sequence = meta.sequence;
        own.extensions = meta.extensions.clone();
        own.orientation = Orientation::IDENTITY;
        own.color = inner.plan.color;
        Ok(Exporting {
            pool: self.pool.clone(),
            slot: self.slot,
            claim,
            meta: own,
            work: Some(work),
        })
    }
}

impl Drop for ExportTarget {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            drop(claim);
            self.pool.0.put_back(self.slot);
        }
    }
}

impl fmt::Debug for ExportTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportTarget(slot {} of {:?})", self.slot, self.pool)
    }
}

/// How far work without a fence has come.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU8);

impl Progress {
    pub(super) fn end(&self, well: bool) {
        self.0.store(if well { 1 } else { 2 }, Ordering::Release);
    }

    /// `None` while it runs, then whether it ended well.
    pub(super) fn ended(&self) -> Option<bool> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            1 => Some(true),
            _ => Some(false),
        }
    }
}

/// A picture that the GPU is working on: soon a frame.
///
/// A frame never says that it is ready when it is not. Where the device exports fences, the frame can be had at once and
/// carries the submission's fence. Where it does not (a toolkit's device, a readback), the frame is made when the work is
/// done: [`Exporting::frame`] waits for that with a deadline; an application that has other things to do keeps this and
/// asks [`Exporting::try_frame`] when it comes by again.
///
/// Dropping it drops the picture; the slot is free when the work is done.
#[must_use = "dropping it drops the picture"]
pub struct Exporting {
    pool: ExportPool,
    slot: usize,
    claim: Option<DeviceClaim>,
    meta: FrameMeta,
    work: Option<Work>,
}

impl Exporting {
    /// Whether [`Exporting::frame`] would not wait for the GPU. Does not block.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let Some(work) = &self.work else { return true };
        !matches!(
            self.pool.0.completion(work, Deadline::now()),
            Err(Error::NotReady)
        )
    }

    /// [`Exporting::frame`] that does not wait.
    ///
    /// # Errors
    /// As [`Exporting::frame`].
    pub fn try_frame(self) -> Result<Frame, Box<Rejected<Self, Error>>> {
        self.frame(Deadline::now())
    }

    /// The frame. Blocks until the deadline at most, and only where the work has no fence, or where the pool's budget
    /// asks for a copy.
    ///
    /// # Errors
    /// [`Error::NotReady`] at the deadline: ask again. [`Error::Frame`], [`Error::Lost`]: the picture is lost.
    pub fn frame(mut self, deadline: impl Into<Deadline>) -> Result<Frame, Box<Rejected<Self, Error>>> {
        let deadline = deadline.into();
        let Some(work) = &self.work else {
            return Err(Rejected::new(self, Error::Lost));
        };
        let fence = match self.pool.0.completion(work, deadline) {
            Ok(fence) => fence,
            Err(error) => return Err(Rejected::new(self, error)),
        };
        let inner = Arc::clone(&self.pool.0);
        let Some(claim) = self.claim.take() else {
            return Err(Rejected::new(self, Error::Lost));
        };
        let delivery = inner.budget.decide(inner.slots.len(), inner.queue.outstanding());
        let meta = std::mem::take(&mut self.meta);
        let made = inner.queue.frame_from_device(self.slot, claim, meta, fence);
        let mut frame = match made {
            Ok(frame) => frame,
            Err(rejected) => {
                let rejected = *rejected;
                self.claim = Some(rejected.value);
                return Err(Rejected::new(self, rejected.error));
            }
        };
        // From here on the frame's lease brings the slot home.
        self.work = None;
        if let Err(error) = finish(&inner, self.slot, &mut frame) {
            return Err(Rejected::new(self, error));
        }
        inner.count_shared(&frame);
        if delivery == Delivery::Detach {
            match frame.detach(deadline) {
                Ok(copy) => {
                    inner.count_detached(&copy);
                    return Ok(copy);
                }
                // The picture itself is better than none.
                Err(_) => return Ok(frame),
            }
        }
        Ok(frame)
    }
}

/// What is left to do when the frame is there.
fn finish(inner: &super::Inner, slot: usize, frame: &mut Frame) -> Result<(), Error> {
    if inner.memory == ExportMemory::Readback {
        return inner.slots[slot].read_back(frame);
    }
    if let Some(dmabuf) = frame.as_dmabuf() {
        // For those who only know implicit sync.
        match dmabuf.attach_fence(frame.acquire(), Access::Write) {
            // A kernel before 6.0: they have to look at the frame's own fence.
            Ok(()) | Err(dmaframe_core::Error::Unsupported { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.pool.0.abandon(self.slot, claim, self.work.take());
        }
    }
}

impl fmt::Debug for Exporting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exporting(slot {} of {:?})", self.slot, self.pool)
    }
}
