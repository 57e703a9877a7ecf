//! The frame.

mod body;
mod dmabuf;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use body::Body;
use body::End;

use crate::buffer::{Buffer, BufferId};
use crate::deadline::Deadline;
use crate::error::{Error, LayoutError, Rejected};
use crate::fence::{Fence, Waited};
use crate::format::{Fourcc, Modifier};
use crate::layout::{Layout, Rect};
use crate::lease::Lease;
use crate::meta::FrameMeta;
use crate::shared::{Shared, Spent};
use crate::sync::{Mutex, lock};
use crate::view::{ReadView, WriteView};

/// Unique name of one capture: two frames in the same recycled buffer differ, clones of one frame do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(u64);

impl ContentId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One picture, in memory that devices can share or in memory only the CPU has.
///
/// Cloning is cheap (two counters) and never copies pixels. When the last clone drops, the frame's [`Lease`] brings
/// the memory back to its producer together with what consumers said with [`Frame::release_after`].
#[derive(Clone, Debug)]
#[must_use = "dropping the last clone gives the buffer back to its producer"]
pub enum Frame {
    /// In dma-bufs.
    Dmabuf(DmabufFrame),
    /// In CPU memory: owned bytes or a sealed memfd.
    Cpu(CpuFrame),
}

/// A frame whose planes lie in dma-bufs.
#[derive(Clone)]
pub struct DmabufFrame(Shared<Body>);

/// A frame whose planes lie in memory only the CPU has.
#[derive(Clone)]
pub struct CpuFrame(Shared<Body>);

impl Frame {
    /// Wraps a buffer for one capture. `acquire` is what a consumer has to wait for before it reads; `lease` runs when
    /// the last clone drops. What was still pending on a private buffer when its last frame ended is waited for too.
    ///
    /// Sources with slots use [`ReturnQueue::frame`](crate::ReturnQueue::frame), which allocates nothing.
    ///
    /// # Errors
    /// [`Error::InUse`] when `buffer` is private and in a frame already; [`LayoutError::Visible`] for a visible rect
    /// outside the picture. `lease` then runs at once.
    pub fn new(buffer: Arc<Buffer>, meta: FrameMeta, acquire: Fence, lease: Lease) -> Result<Self, Error> {
        Self::assemble(buffer, meta, acquire, lease, None)
    }

    pub(crate) fn assemble(
        buffer: Arc<Buffer>,
        meta: FrameMeta,
        acquire: Fence,
        lease: Lease,
        spent: Option<Spent<Body>>,
    ) -> Result<Self, Error> {
        if let Some(rect) = meta.visible.filter(|rect| !rect.fits(buffer.layout().size())) {
            return Err(LayoutError::Visible {
                rect,
                size: buffer.layout().size(),
            }
            .into());
        }
        buffer.claim()?;
        Ok(Self::claimed(buffer, meta, acquire, lease, spent))
    }

    /// The same for a buffer that has been claimed already.
    pub(crate) fn claimed(
        buffer: Arc<Buffer>,
        mut meta: FrameMeta,
        acquire: Fence,
        lease: Lease,
        spent: Option<Spent<Body>>,
    ) -> Self {
        meta.visible = meta.visible.filter(|rect| rect.fits(buffer.layout().size()));
        let acquire = buffer.after_last(acquire);
        let dmabuf = buffer.is_dmabuf();
        let end = Mutex::new(End {
            lease,
            release: Fence::Signaled,
        });
        let body = Body {
            buffer,
            meta,
            content: ContentId::next(),
            acquire,
            end,
            derived: false,
        };
        let shared = match spent {
            Some(spent) => spent.refill(body),
            None => Shared::new(body),
        };
        if dmabuf {
            Self::Dmabuf(DmabufFrame(shared))
        } else {
            Self::Cpu(CpuFrame(shared))
        }
    }

    fn shared(&self) -> &Shared<Body> {
        match self {
            Self::Dmabuf(DmabufFrame(shared)) | Self::Cpu(CpuFrame(shared)) => shared,
        }
    }

    fn body(&self) -> &Body {
        self.shared().get()
    }

    fn body_mut(&mut self) -> Result<&mut Body, Error> {
        let (Self::Dmabuf(DmabufFrame(shared)) | Self::Cpu(CpuFrame(shared))) = self;
        shared.get_mut().ok_or(Error::Shared {
            reason: "it has other clones",
        })
    }

    /// The buffer underneath.
    #[must_use]
    pub fn buffer(&self) -> &Arc<Buffer> {
        &self.body().buffer
    }

    /// Format, size, planes.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        self.buffer().layout()
    }

    /// The pixel format.
    #[must_use]
    pub fn fourcc(&self) -> Fourcc {
        self.layout().fourcc()
    }

    /// The modifier.
    #[must_use]
    pub fn modifier(&self) -> Modifier {
        self.layout().modifier()
    }

    /// Timestamp, sequence, colour and so on.
    #[must_use]
    pub fn meta(&self) -> &FrameMeta {
        &self.body().meta
    }

    /// The same, to change: for producers, before they hand out clones.
    ///
    /// # Errors
    /// [`Error::Shared`] once there are clones.
    pub fn meta_mut(&mut self) -> Result<&mut FrameMeta, Error> {
        self.body_mut().map(|body| &mut body.meta)
    }

    /// The part to show: the whole coded size unless the producer said otherwise, and never outside of it.
    #[must_use]
    pub fn visible(&self) -> Rect {
        let size = self.layout().size();
        self.meta()
            .visible
            .filter(|rect| rect.fits(size))
            .unwrap_or(Rect::full(size))
    }

    /// Unique for this capture.
    #[must_use]
    pub fn content_id(&self) -> ContentId {
        self.body().content
    }

    /// Says that this is the same picture as another frame's: for producers that copied it.
    ///
    /// # Errors
    /// [`Error::Shared`] once there are clones.
    pub fn set_content_id(&mut self, id: ContentId) -> Result<(), Error> {
        self.body_mut().map(|body| body.content = id)
    }

    /// Stable for the memory, whatever picture is in it.
    #[must_use]
    pub fn buffer_id(&self) -> BufferId {
        self.buffer().id()
    }

    /// The dma-buf frame, if it is one.
    #[must_use]
    pub fn as_dmabuf(&self) -> Option<&DmabufFrame> {
        match self {
            Self::Dmabuf(frame) => Some(frame),
            Self::Cpu(_) => None,
        }
    }

    /// What has to signal before the pixels are there.
    pub fn acquire(&self) -> &Fence {
        &self.body().acquire
    }

    /// Adds to the acquire fence: for producers, once they have submitted the work that fills the frame. What is pending
    /// already still has to signal too.
    ///
    /// # Errors
    /// [`Error::Shared`] once there are clones; the fence comes back.
    pub fn acquire_after(&mut self, fence: Fence) -> Result<(), Box<Rejected<Fence>>> {
        match self.body_mut() {
            Ok(body) => {
                body.acquire = std::mem::take(&mut body.acquire).merge(fence);
                Ok(())
            }
            Err(error) => Err(Rejected::new(fence, error)),
        }
    }

    /// Blocks until the acquire fence signals or the deadline passes.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn wait(&self, deadline: impl Into<Deadline>) -> Result<Waited, Error> {
        self.acquire().wait(deadline)
    }

    /// Adds a consumer's completion: the producer will not write the memory before `fence` has signalled.
    ///
    /// Call it before dropping the clone the work was done for. Costs one `SYNC_IOC_MERGE` when another fence is
    /// pending, nothing for a signalled one.
    pub fn release_after(&self, fence: Fence) {
        if fence.is_trivial() {
            return;
        }
        let mut end = lock(&self.body().end);
        let pending = std::mem::take(&mut end.release);
        end.release = pending.merge(fence);
    }

    /// Whether this is the only handle to the memory: no clones, and not made from another frame.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.shared().is_unique() && !self.body().derived
    }

    /// Whether both are clones of one frame.
    #[cfg(not(loom))]
    #[must_use]
    pub fn same_frame(&self, other: &Self) -> bool {
        self.shared().same(other.shared())
    }

    /// A CPU view for reading. Waits, until the deadline at most, for the acquire fence and for implicit fences; then
    /// brackets the reads with `DMA_BUF_IOCTL_SYNC`, whose end is the view's drop.
    ///
    /// # Errors
    /// [`Error::Timeout`] at the deadline, [`Error::FenceFailed`] when the producer failed, [`Error::NotLinear`],
    /// [`Error::Os`]. The frame is as before in each case.
    pub fn map_read(&self, deadline: impl Into<Deadline>) -> Result<ReadView<'_>, Error> {
        ReadView::begin(self, deadline.into())
    }

    /// A CPU view for writing: for the producer's side, on the only clone of a frame in private memory.
    ///
    /// # Errors
    /// As [`Frame::map_read`], and [`Error::Shared`], [`Error::ReadOnly`].
    pub fn map_write(&mut self, deadline: impl Into<Deadline>) -> Result<WriteView<'_>, Error> {
        WriteView::begin(self, deadline.into())
    }

    /// A copy of the pixels in fresh CPU memory, with the same metadata and content id, so that this clone can be
    /// dropped and its buffer goes back. Waits for fences as [`Frame::map_read`] does.
    ///
    /// # Errors
    /// As [`Frame::map_read`].
    pub fn detach(&self, deadline: impl Into<Deadline>) -> Result<Self, Error> {
        let view = self.map_read(deadline)?;
        let layout = Layout::linear(self.fourcc(), self.layout().size(), 1)?;
        let buffer = Buffer::from_bytes(view.to_tight()?.into_boxed_slice(), &layout)?;
        drop(view);
        let mut copy = Self::new(
            Arc::new(buffer),
            self.meta().clone(),
            Fence::Signaled,
            Lease::none(),
        )?;
        copy.set_content_id(self.content_id())?;
        Ok(copy)
    }

    /// A frame of the same memory with other metadata (a crop, a turn). It holds this one's lease.
    ///
    /// # Errors
    /// [`LayoutError::Visible`] for a visible rect outside the picture; the frame is given back.
    pub fn with_meta(self, meta: FrameMeta) -> Result<Self, Box<Rejected<Self>>> {
        let size = self.layout().size();
        if let Some(rect) = meta.visible.filter(|rect| !rect.fits(size)) {
            return Err(Rejected::new(self, LayoutError::Visible { rect, size }));
        }
        let body = self.body();
        let acquire = match body.acquire.try_clone() {
            Ok(acquire) => acquire,
            Err(error) => return Err(Rejected::new(self, error)),
        };
        let (buffer, content) = (Arc::clone(&body.buffer), body.content);
        let dmabuf = matches!(self, Self::Dmabuf(_));
        let end = Mutex::new(End {
            lease: Lease::frame(self),
            release: Fence::Signaled,
        });
        let shared = Shared::new(Body {
            buffer,
            meta,
            content,
            acquire,
            end,
            derived: true,
        });
        Ok(if dmabuf {
            Self::Dmabuf(DmabufFrame(shared))
        } else {
            Self::Cpu(CpuFrame(shared))
        })
    }

    /// Owned bytes as a frame that belongs to nobody else.
    ///
    /// # Errors
    /// [`Error::Layout`] when the layout does not fit the bytes.
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>, layout: &Layout, meta: FrameMeta) -> Result<Self, Error> {
        let buffer = Buffer::from_bytes(bytes.into(), layout)?;
        Self::new(Arc::new(buffer), meta, Fence::Signaled, Lease::none())
    }
}

impl From<DmabufFrame> for Frame {
    fn from(frame: DmabufFrame) -> Self {
        Self::Dmabuf(frame)
    }
}

impl From<CpuFrame> for Frame {
    fn from(frame: CpuFrame) -> Self {
        Self::Cpu(frame)
    }
}

impl fmt::Debug for DmabufFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DmabufFrame").field(self.0.get()).finish()
    }
}

impl fmt::Debug for CpuFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CpuFrame").field(self.0.get()).finish()
    }
}
