//! What the GPU rendered, as frames: in dma-bufs where it can be, in memfds that the GPU copies into where it cannot, read
//! back where that cannot be either, and it says which.

mod builder;
mod slot;
mod target;
mod wait;
mod writer;

pub use builder::ExportBuilder;
pub use target::{ExportTarget, Exporting};

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dmaframe_core::report::Hop;
use dmaframe_core::{
    Budget, Buffer, ColorInfo, Deadline, Delivery, Fence, Fourcc, Frame, ReturnQueue, Size, Waited,
};

use super::{Gpu, Submission, submission, submit, wgpu};
use crate::export::{Counts, ExportMemory, PassedOver, Plan};
use crate::{Error, Level};
use slot::Slot;
use target::Progress;
use wait::State;
use writer::Writer;

/// Slots that the GPU renders into and that go out as frames: to an encoder, to PipeWire, to another process, without
/// the CPU touching a pixel.
///
/// ```no_run
/// # use std::time::Duration;
/// # use dmaframe_core::{ColorInfo, Fourcc, Frame, FrameMeta, Size};
/// # use dmaframe_wgpu::Error;
#[cfg_attr(
    feature = "wgpu-30",
    doc = "# use dmaframe_wgpu::v30::{ExportPool, Gpu, wgpu};"
)]
#[cfg_attr(
    all(feature = "wgpu-29", not(feature = "wgpu-30")),
    doc = "# use dmaframe_wgpu::v29::{ExportPool, Gpu, wgpu};"
)]
#[cfg_attr(
    not(any(feature = "wgpu-29", feature = "wgpu-30")),
    doc = "# use dmaframe_wgpu::v28::{ExportPool, Gpu, wgpu};"
)]
/// # fn filter(_: &mut wgpu::CommandEncoder, _: &wgpu::TextureView) {}
/// # fn one(gpu: &Gpu) -> Result<Frame, Box<dyn std::error::Error>> {
/// let pool = ExportPool::builder(gpu, Fourcc::NV12, Size::new(1280, 720)).color(ColorInfo::BT709).build()?;
/// println!("{pool:?}"); // ... and why not better: `pool.passed_over()`
///
/// let target = pool.acquire(Duration::from_millis(20))?;
/// let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
/// filter(&mut encoder, &target.view()); // any passes that end in the view
/// let exporting = target.submit([encoder.finish()], &FrameMeta::default())?;
/// let frame = exporting.frame(Duration::from_millis(100))?; // at once, with a fence, where the device exports fences
/// # Ok(frame) }
/// ```
///
/// A slot is written again when the last clone of its frame is dropped *and* the consumers' release fences have
/// signalled. Clones share the pool; dropping it while frames are out is fine.
#[derive(Clone)]
pub struct ExportPool(Arc<Inner>);

struct Inner {
    gpu: Gpu,
    fourcc: Fourcc,
    size: Size,
    plan: Plan,
    writer: Writer,
    slots: Vec<Slot>,
    memory: ExportMemory,
    passed_over: Vec<PassedOver>,
    queue: Arc<ReturnQueue>,
    budget: Budget,
    state: Mutex<State>,
    hop: Arc<Hop>,
    shared: AtomicU64,
    detached: AtomicU64,
}

impl ExportPool {
    /// A pool of pictures: XR24, AR24, XB24, AB24, NV12, NV21, YU12, YV12 or YUYV.
    pub fn builder(gpu: &Gpu, fourcc: Fourcc, size: Size) -> ExportBuilder {
        ExportBuilder::new(gpu, fourcc, size)
    }

    /// A free slot, or [`Error::Starved`] at once.
    ///
    /// # Errors
    /// [`Error::Starved`] with the counts, [`Error::Frame`] when a slot's buffer was put into a frame behind the pool's
    /// back.
    pub fn try_acquire(&self) -> Result<ExportTarget, Error> {
        let found = self.0.take();
        if let Err(Error::Starved { .. }) = found {
            self.0.state().starved += 1;
        }
        let (slot, claim) = found?;
        Ok(ExportTarget::new(self.clone(), slot, claim))
    }

    /// [`ExportPool::try_acquire`] that waits until the deadline for a slot to come home and its fences to signal.
    ///
    /// # Errors
    /// As [`ExportPool::try_acquire`], [`Error::Starved`] at the deadline.
    pub fn acquire(&self, deadline: impl Into<Deadline>) -> Result<ExportTarget, Error> {
        let (slot, claim) = self.0.take_until(deadline.into())?;
        Ok(ExportTarget::new(self.clone(), slot, claim))
    }

    /// The pixel format of the frames.
    #[must_use]
    pub fn fourcc(&self) -> Fourcc {
        self.0.fourcc
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> Size {
        self.0.size
    }

    /// What the frames say about their colour, complete for YUV.
    #[must_use]
    pub fn color(&self) -> ColorInfo {
        self.0.plan.color
    }

    /// Where the pictures are.
    #[must_use]
    pub fn memory(&self) -> ExportMemory {
        self.0.memory
    }

    /// The better kinds of memory, and why they could not be had.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.0.passed_over
    }

    /// The slots' buffers, in order, for a consumer that imports all of them beforehand.
    #[must_use]
    pub fn buffers(&self) -> Vec<Arc<Buffer>> {
        self.0.slots.iter().map(|slot| Arc::clone(&slot.buffer)).collect()
    }

    /// How many slots are in frames.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.0.queue.outstanding()
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.0.state();
        Counts {
            shared: self.0.shared.load(Ordering::Relaxed),
            detached: self.0.detached.load(Ordering::Relaxed),
            starved: state.starved,
            waited: state.waited,
        }
    }

    /// The counters of this hop, for a [`PathReport`](dmaframe_core::report::PathReport).
    #[must_use]
    pub fn hop(&self) -> Arc<Hop> {
        Arc::clone(&self.0.hop)
    }

    /// Counts in this hop from here on. For a pool that nobody else has yet.
    pub(in super::super) fn count_in(&mut self, hop: Arc<Hop>) {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.hop = hop;
        }
    }

    /// Lets go of other people's textures that the slots were last written from.
    pub fn forget_sources(&self) {
        self.0.slots.iter().for_each(Slot::forget_source);
    }
}

impl AsFd for ExportPool {
    /// Readable when a frame has come home since somebody last asked for a target.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.queue.as_fd()
    }
}

impl fmt::Debug for ExportPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(
            f,
            "ExportPool({} {} in {}, {} of {} slots out)",
            inner.fourcc,
            inner.size,
            inner.memory,
            inner.queue.outstanding(),
            inner.slots.len()
        )
    }
}

impl Drop for Inner {
    /// Nobody makes frames of what the GPU still writes, the buffers' other owners neither.
    fn drop(&mut self) {
        let claims = self.state().claims();
        self.gpu.hold_until_now_is_done(claims);
    }
}

/// Work that was submitted for a slot.
struct Work {
    submission: Submission,
    /// The mapping of what is read back.
    mapping: Option<Arc<Progress>>,
}

impl Inner {
    /// Submits. After an error nobody knows whether the slot is being written.
    fn submit(&self, commands: Vec<wgpu::CommandBuffer>, slot: &Slot) -> Result<Work, Error> {
        let submission = self.gpu.run(submit::Work {
            commands,
            keep: slot.keep(),
            fence: self.memory.is_dmabuf(),
            ..submit::Work::default()
        })?;
        let mapping = slot.staging().map(|staging| {
            let progress = Arc::new(Progress::default());
            let told = Arc::clone(&progress);
            staging
                .slice(..)
                .map_async(wgpu::MapMode::Read, move |mapped| told.end(mapped.is_ok()));
            progress
        });
        Ok(Work { submission, mapping })
    }

    /// The end of everything that was submitted, for a slot that nobody knows about.
    fn end_of_all(&self) -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        let told = Arc::clone(&progress);
        self.gpu.queue().on_submitted_work_done(move || told.end(true));
        progress
    }

    /// Lets wgpu call back.
    fn tick(&self) {
        self.gpu.tracker().core().polled();
    }

    /// Whether the device is gone and nothing runs on it any more.
    fn is_over_for_good(&self) -> bool {
        self.gpu.tracker().core().is_over_for_good()
    }

    /// Waits for the end of work, and gives what a reader of the picture has to wait for.
    fn completion(&self, work: &Work, deadline: Deadline) -> Result<Fence, Error> {
        if let Some(mapping) = &work.mapping {
            return self.mapped(work, mapping, deadline).map(|()| Fence::Signaled);
        }
        // A memfd has no implicit fence, and a frame's own can be replaced: its bytes are shown when they are there.
        if self.memory.is_dmabuf() && self.gpu.level() >= Level::Release {
            let left = deadline.remaining().unwrap_or(Duration::MAX);
            match work.submission.fence(left) {
                Err(Error::Timeout { .. }) => return Err(Error::NotReady),
                Err(error @ Error::DeviceLost { .. }) => return Err(error),
                Ok(fence) => return Ok(fence),
                // The driver does not give it; the work's end shows all the same.
                Err(_) => {}
            }
        }
        match work.submission.wait(deadline)? {
            Waited::Signaled => Ok(Fence::Signaled),
            _ => Err(Error::NotReady),
        }
    }

    fn mapped(&self, work: &Work, mapping: &Progress, deadline: Deadline) -> Result<(), Error> {
        if work.submission.wait(deadline)? != Waited::Signaled {
            return Err(Error::NotReady);
        }
        loop {
            match mapping.ended() {
                Some(true) => return Ok(()),
                Some(false) => return Err(Error::Lost),
                None if self.is_over_for_good() => return Err(submission::gone("it was not read back")),
                None => self.tick(),
            }
            if mapping.ended().is_none() && deadline.remaining().is_some_and(|left| left.is_zero()) {
                return Err(Error::NotReady);
            }
        }
    }

    fn count_shared(&self, frame: &Frame) {
        self.shared.fetch_add(1, Ordering::Relaxed);
        let bytes = frame.layout().tight_len();
        match self.memory {
            ExportMemory::Readback => self.hop.cpu_copy(
                bytes,
                "read back: the GPU cannot write memory that others can see",
            ),
            ExportMemory::HostPointer => self.hop.gpu_copy(
                bytes,
                "copied by the GPU into the CPU's memory: it cannot write dma-bufs here",
            ),
            _ => self.hop.gpu_copy(bytes, "written by the shader"),
        }
    }

    fn count_detached(&self, copy: &Frame) {
        self.detached.fetch_add(1, Ordering::Relaxed);
        self.hop
            .cpu_copy(copy.layout().tight_len(), "consumers hold the other slots");
    }

    fn decide(&self, out: usize) -> Delivery {
        self.budget.decide(self.slots.len(), out)
    }
}
