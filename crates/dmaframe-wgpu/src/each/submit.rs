//! Submitting work that uses frames, and seeing its end.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrayvec::ArrayVec;
use dmaframe_core::{Access, Deadline, Fence, Frame, Waited};
use dmaframe_vulkan::raw::{SignalSemaphore, WaitSemaphore};
use dmaframe_vulkan::{Refusal, Route, sync};

use super::gpu::{Order, in_order};
use super::imported::Kept;
use super::scope::scoped;
use super::{Gpu, Imported, sys, wgpu};
use crate::track::{Core, Export, Flush, Holds, LateFence, Mark, OnDrop, Polled, release};
use crate::{Error, Level};

/// Work for the queue, with what it uses.
#[derive(Default)]
pub(super) struct Work {
    /// In this order, as one submission.
    pub(super) commands: Vec<wgpu::CommandBuffer>,
    /// What the GPU waits for first ([`Gpu::ready`] makes them).
    pub(super) waits: Vec<WaitSemaphore>,
    /// Frames that are released when the work is done, and what it does with them.
    pub(super) frames: Vec<(Frame, Access)>,
    /// What is dropped when the work is done.
    pub(super) keep: Vec<Box<dyn Any + Send>>,
    /// The work's fence is wanted even if no frame needs it.
    pub(super) fence: bool,
}

/// Work on the GPU.
///
/// It goes on, and holds what it uses, whether or not this is kept.
#[derive(Clone, Debug)]
pub struct Submission {
    core: Arc<Core>,
    mark: Mark,
    fence: Done,
}

#[derive(Clone, Debug)]
enum Done {
    /// There is no fence to be had from this device.
    None,
    Here(Arc<Fence>),
    Later(Arc<LateFence>),
}

impl Submission {
    /// Whether the work is done. Does not block.
    ///
    /// Without Vulkan 1.2 this shows only after somebody has polled the device, which [`Self::wait`] does.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.core.is_done(&self.mark)
    }

    /// Waits for the work. Takes none of wgpu's locks on Vulkan 1.2 and later.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when it will never be done.
    pub fn wait(&self, deadline: impl Into<Deadline>) -> Result<Waited, Error> {
        if !self.core.wait(&self.mark, deadline.into()) {
            return Ok(Waited::TimedOut);
        }
        match self.is_done() {
            true => Ok(Waited::Signaled),
            false => Err(gone("the work was not done")),
        }
    }

    /// The work's completion as a fence, for those who wait without this process.
    ///
    /// Blocks on drivers that block when a fence is exported (lavapipe, until the work is done), until the deadline.
    ///
    /// # Errors
    /// [`Error::Vulkan`] on a device below [`Level::Release`], [`Error::Timeout`].
    pub fn fence(&self, wait: Duration) -> Result<Fence, Error> {
        match &self.fence {
            Done::None => Err(dmaframe_vulkan::Error::Refused {
                route: Route::Export,
                refusal: Refusal::NoSyncFd { operation: "export" },
            }
            .into()),
            Done::Here(fence) => Ok(fence.try_clone()?),
            Done::Later(late) => match late.get(wait.into()) {
                Some(fence) => Ok(fence?),
                None => Err(Error::Timeout {
                    what: "the work's fence",
                    waited: wait,
                }),
            },
        }
    }
}

pub(super) fn gone(text: &str) -> Error {
    Error::DeviceLost { text: text.into() }
}

impl Gpu {
    /// Submits command buffers that read imported frames.
    ///
    /// The work waits for the frames' fences: on the GPU at [`Level::Explicit`], otherwise on this thread,
    /// [`ImportOptions::wait`](crate::ImportOptions::wait) at most. The frames are held until the work is done; from
    /// [`Level::Release`] on they go home at once, with the work's fence, which is put on their dma-bufs too. The imports
    /// may be dropped when this returns.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::OtherDevice`], [`Error::DeviceLost`], [`Error::Wgpu`]; nothing was submitted then.
    pub fn submit(
        &self,
        imports: &[&Imported],
        commands: impl IntoIterator<Item = wgpu::CommandBuffer>,
    ) -> Result<Submission, Error> {
        let mut work = self.reads(imports)?;
        let mut order = self.order();
        let taken = Taken::new(self, imports.iter().map(|imported| &imported.kept));
        work.commands.extend(taken.take_over()?);
        work.commands.extend(commands);
        work.commands.extend(taken.give_back()?);
        self.run_in_order(&mut order, work)
    }

    /// What reading these frames needs.
    fn reads(&self, imports: &[&Imported]) -> Result<Work, Error> {
        let mut work = Work::default();
        for imported in imports {
            if !imported.gpu.is_same(self) {
                return Err(Error::OtherDevice);
            }
            if imported.is_copy() {
                continue;
            }
            let wait = self.ready(&imported.frame, Access::Read, imported.wait)?;
            work.waits.extend(wait);
            work.frames.push((imported.frame.clone(), Access::Read));
            work.keep.push(Box::new(Arc::clone(&imported.kept)));
        }
        Ok(work)
    }

    /// For applications that submit themselves: makes everything submitted from here on wait for a frame's fences, as
    /// [`Self::submit`] does, and takes the memory over. [`Self::track`] it after the submission.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn acquire(&self, imported: &Imported) -> Result<(), Error> {
        let mut work = self.reads(&[imported])?;
        work.frames.clear();
        let mut order = self.order();
        let taken = Taken::new(self, [&imported.kept]);
        work.commands.extend(taken.take_over()?);
        if !work.commands.is_empty() || !work.waits.is_empty() {
            self.run_in_order(&mut order, work)?;
        }
        taken.keep();
        Ok(())
    }

    /// Makes work wait for what has to be done before an `access` to the frame: on the GPU where the result is to be put
    /// into [`Work::waits`], otherwise on this thread.
    pub(super) fn ready(
        &self,
        frame: &Frame,
        access: Access,
        wait: Duration,
    ) -> Result<Option<WaitSemaphore>, Error> {
        if let (Level::Explicit, Some(vulkan)) = (self.level(), self.vulkan()) {
            match sync::pending(frame, access) {
                Ok(fence) => return Ok(WaitSemaphore::new(vulkan, fence)?),
                // A kernel before 6.0 gives no fences of a dma-buf, but lets one wait for them.
                Err(dmaframe_vulkan::Error::Frame(dmaframe_core::Error::Unsupported { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match sync::wait(frame, access, wait)? {
            Waited::Signaled => Ok(None),
            Waited::Failed(errno) => Err(dmaframe_core::Error::FenceFailed { errno }.into()),
            Waited::TimedOut => Err(Error::Timeout {
                what: "the frame's acquire fence",
                waited: wait,
            }),
        }
    }

    /// Submits, and holds what the work uses until it is done.
    pub(super) fn run(&self, work: Work) -> Result<Submission, Error> {
        self.run_in_order(&mut self.order(), work)
    }

    /// With [`Gpu::order`] held, so that the counter is counted up in the order of submissions.
    fn run_in_order(&self, order: &mut Order, work: Work) -> Result<Submission, Error> {
        if self.tracker().core().is_lost() {
            return Err(gone("work was lost before"));
        }
        let signal = match (self.level() >= Level::Release, self.vulkan()) {
            (true, Some(vulkan)) if work.fence || !work.frames.is_empty() => {
                Some(Arc::new(SignalSemaphore::new(vulkan)?))
            }
            _ => None,
        };
        sys::wait_for(self.queue(), &work.waits);
        let submitted = scoped(self.device(), "Queue::submit", || {
            self.queue().submit(work.commands);
        });
        if let Err(error) = submitted {
            sys::forget_waits(self.queue(), &work.waits);
            return Err(error);
        }
        let mut holds = Holds {
            frames: work.frames,
            keep: work.keep,
        };
        holds.keep.push(Box::new(work.waits));
        if let Some(signal) = &signal {
            holds.keep.push(Box::new(Arc::clone(signal)));
        }
        let core = Arc::clone(self.tracker().core());
        if let Some(carried) = order.waiting.take() {
            core.marked(carried);
        }
        let Some(mark) = self.counter_mark() else {
            let mark = self.callback_mark();
            self.tracker().hold(mark.clone(), holds, None);
            let fence = Done::None;
            return Ok(Submission { core, mark, fence });
        };
        if let (Mark::Counter(value), Some(timeline), None, false) =
            (&mark, &core.timeline, &signal, self.export_blocks())
        {
            // Nobody needs a fence: the next submission marks the end, or the one who waits for it (`flush`).
            sys::signal(self.queue(), timeline.handle(), Some(*value));
            order.waiting = Some(*value);
            self.tracker().hold(mark.clone(), holds, None);
            let fence = Done::None;
            return Ok(Submission { core, mark, fence });
        }
        let later = self.mark_later(&mark, signal.clone());
        let fence = if self.export_blocks() {
            let late = self.tracker().hold(mark.clone(), holds, Some(later));
            late.filter(|_| signal.is_some()).map_or(Done::None, Done::Later)
        } else {
            let fence = later()?;
            if let Some(fence) = &fence {
                release(std::mem::take(&mut holds.frames), fence);
            }
            self.tracker().hold(mark.clone(), holds, None);
            fence.map_or(Done::None, |fence| Done::Here(Arc::new(fence)))
        };
        Ok(Submission { core, mark, fence })
    }

    /// The counter's next value, where there is a counter.
    fn counter_mark(&self) -> Option<Mark> {
        let counted = self.tracker().core().timeline.is_some();
        counted.then(|| Mark::Counter(self.next_value()))
    }

    /// wgpu's own word, which comes when the device is polled.
    fn callback_mark(&self) -> Mark {
        let done = Arc::new(AtomicBool::new(false));
        let guard = OnDrop(Arc::clone(&done));
        self.queue().on_submitted_work_done(move || drop(guard));
        Mark::Callback(done)
    }

    /// Has the end of everything submitted so far marked, and takes its fence out.
    ///
    /// That is a submission of its own, after the work: a signal added before the work could be carried, and given, by
    /// another thread's submission. wgpu chains its submissions, and lavapipe blocks in one until what comes before it in
    /// the chain has begun. So there it is left to the tracker's thread, with the export, which blocks too.
    fn mark_later(&self, mark: &Mark, signal: Option<Arc<SignalSemaphore>>) -> Export {
        let (device, queue) = (self.device().clone(), self.queue().clone());
        let (core, mark) = (Arc::clone(self.tracker().core()), mark.clone());
        Box::new(move || {
            if let (Mark::Counter(value), Some(timeline)) = (&mark, &core.timeline) {
                sys::signal(&queue, timeline.handle(), Some(*value));
            }
            if let Some(signal) = &signal {
                sys::signal(&queue, signal.handle(), None);
            }
            scoped(&device, "Queue::submit", || {
                queue.submit([]);
            })?;
            if let Mark::Counter(value) = mark {
                core.marked(value);
            }
            let Some(signal) = signal else {
                return Ok(None);
            };
            if !sys::is_alive(&device) {
                // Taking a fence out of a semaphore that nothing signals would block for ever, or worse.
                return Err(gone("the work was not submitted"));
            }
            Ok(Some(sys::export(&signal)?))
        })
    }

    /// For applications that submit themselves: holds a frame until everything submitted so far is done. Call it after
    /// the submission that reads the frame; from [`Level::Release`] on the frame goes home at once, with a fence.
    ///
    /// Before the submission, [`Self::acquire`] the import, or wait for the frame's fences.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OtherDevice`]; the frame goes home.
    pub fn track(&self, tracked: impl Into<Tracked>) -> Result<Submission, Error> {
        let Tracked { frame, import } = tracked.into();
        if import.as_ref().is_some_and(|(gpu, _)| !gpu.is_same(self)) {
            return Err(Error::OtherDevice);
        }
        let mut work = Work {
            frames: vec![(frame, Access::Read)],
            ..Work::default()
        };
        let mut order = self.order();
        if let Some((_, kept)) = import {
            work.commands.extend(Taken::of_acquired(self, &kept).give_back()?);
            work.keep.push(Box::new(kept));
        }
        self.run_in_order(&mut order, work)
    }

    /// Holds a frame until the work in `encoder` is done: for code that records into an application's encoder and does
    /// not see its submission. If the encoder is dropped, the frame goes home.
    pub fn track_encoder(&self, encoder: &wgpu::CommandEncoder, frame: impl Into<Frame>) {
        let done = Arc::new(AtomicBool::new(false));
        let guard = OnDrop(Arc::clone(&done));
        encoder.on_submitted_work_done(move || drop(guard));
        let holds = Holds {
            frames: vec![(frame.into(), Access::Read)],
            ..Holds::default()
        };
        self.tracker().hold(Mark::Callback(done), holds, None);
    }

    /// Keeps things until everything submitted so far is done.
    pub(super) fn hold_until_now_is_done<T: Any + Send>(&self, things: Vec<T>) {
        if things.is_empty() {
            return;
        }
        let holds = Holds {
            keep: vec![Box::new(things)],
            ..Holds::default()
        };
        self.tracker().hold(self.callback_mark(), holds, None);
    }

    /// How many submissions hold frames or imports.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.tracker().outstanding()
    }

    /// Waits until no submission holds anything: for shutting down. `false` at the deadline.
    pub fn settle(&self, deadline: impl Into<Deadline>) -> bool {
        self.tracker().settle(0, deadline.into())
    }

    /// Waits until at most `most` submissions hold anything: for a producer that would run ahead of the GPU. `false` at
    /// the deadline.
    pub fn settle_to(&self, most: usize, deadline: impl Into<Deadline>) -> bool {
        self.tracker().settle(most, deadline.into())
    }
}

/// What submits a mark that waits in `order`, in a submission of its own.
pub(super) fn flush(device: &wgpu::Device, queue: &wgpu::Queue, order: &Arc<Mutex<Order>>) -> Flush {
    let (device, queue, order) = (device.clone(), queue.clone(), Arc::clone(order));
    Box::new(move |value| {
        let mut order = in_order(&order);
        if order.waiting != Some(value) {
            return Ok(false);
        }
        let submitted = scoped(&device, "Queue::submit", || {
            queue.submit([]);
        });
        match submitted {
            Ok(()) => {
                order.waiting = None;
                Ok(true)
            }
            Err(_) if !sys::is_alive(&device) => Err(gone("the work was not marked")),
            // wgpu still has it, for the next submission.
            Err(_) => Ok(false),
        }
    })
}

/// For the tracker's thread: sees what is done, and blocks for nothing.
pub(super) fn poll(device: &wgpu::Device) -> Polled {
    match device.poll(wgpu::PollType::Poll) {
        Ok(status) if status.is_queue_empty() => Polled::Empty,
        _ => Polled::Busy,
    }
}

/// A frame to hold, with or without its import.
#[derive(Debug)]
pub struct Tracked {
    frame: Frame,
    import: Option<(Gpu, Arc<Kept>)>,
}

impl From<Frame> for Tracked {
    fn from(frame: Frame) -> Self {
        Self { frame, import: None }
    }
}

impl From<Imported> for Tracked {
    fn from(imported: Imported) -> Self {
        let Imported { gpu, frame, kept, .. } = imported;
        Self {
            frame,
            import: Some((gpu, kept)),
        }
    }
}

/// Memory of other drivers' devices that this one takes over, and gives back when the last user is done with it.
///
/// With [`Gpu::order`] held. What was not given back when this is dropped was never submitted.
struct Taken<'a> {
    gpu: &'a Gpu,
    kept: Vec<Arc<Kept>>,
}

impl<'a> Taken<'a> {
    fn new<'b>(gpu: &'a Gpu, kept: impl IntoIterator<Item = &'b Arc<Kept>>) -> Self {
        let kept = kept.into_iter().filter(|kept| gpu.foreign() && kept.is_shared());
        let kept: Vec<_> = kept.cloned().collect();
        for kept in &kept {
            kept.users.fetch_add(1, Ordering::Relaxed);
        }
        Self { gpu, kept }
    }

    /// What [`Gpu::acquire`] took over before.
    fn of_acquired(gpu: &'a Gpu, kept: &Arc<Kept>) -> Self {
        let acquired = kept.users.load(Ordering::Relaxed) != 0;
        Self {
            gpu,
            kept: acquired.then(|| Arc::clone(kept)).into_iter().collect(),
        }
    }

    /// Those that nobody else uses.
    fn alone(&self) -> impl Iterator<Item = &Kept> + Clone {
        // The same import may be here twice.
        let count = |kept: &Arc<Kept>| self.kept.iter().filter(|k| Arc::ptr_eq(k, kept)).count();
        let first = |index: usize, kept: &Arc<Kept>| !self.kept[..index].iter().any(|k| Arc::ptr_eq(k, kept));
        let kept = self.kept.iter().enumerate();
        kept.filter(move |(index, kept)| {
            first(*index, kept) && kept.users.load(Ordering::Relaxed) == count(kept)
        })
        .map(|(_, kept)| &**kept)
    }

    fn take_over(&self) -> Result<Option<wgpu::CommandBuffer>, Error> {
        sys::take_over(self.gpu, self.alone())
    }

    fn give_back(&self) -> Result<ArrayVec<wgpu::CommandBuffer, 2>, Error> {
        sys::give_back(self.gpu, self.alone())
    }

    /// They stay taken over.
    fn keep(mut self) {
        self.kept.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for kept in &self.kept {
            kept.users.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
