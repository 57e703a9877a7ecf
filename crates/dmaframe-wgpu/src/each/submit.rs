//! Submitting work that uses frames, and seeing its end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dmaframe_core::{Access, Deadline, Frame, Waited};
use dmaframe_vulkan::raw::{SignalSemaphore, WaitSemaphore};
use dmaframe_vulkan::sync;

use super::marker::Marker;
use super::order::{Left, Turn};
use super::ownership::{Acquired, Taken, Tracked};
use super::scope::scoped;
use super::submission::{Done, Submission, gone};
use super::{Gpu, Imported, sys, wgpu};
use crate::track::{Holds, Mark, Marked, OnDrop, release};
use crate::{Error, Level};

/// Work for the queue, with what it uses.
#[derive(Default)]
pub(super) struct Work {
    /// In this order, as one submission.
    pub(super) commands: Vec<wgpu::CommandBuffer>,
    /// What the GPU waits for first ([`Gpu::ready`] makes them).
    pub(super) waits: Vec<WaitSemaphore>,
    /// Frames that are released for when the work is done ([`release`]), and what it does with them.
    pub(super) frames: Vec<(Frame, Access)>,
    /// What is dropped when the work is done.
    pub(super) keep: Vec<Box<dyn Any + Send>>,
    /// The work's fence is wanted even if no frame needs it.
    pub(super) fence: bool,
}

impl Gpu {
    /// Submits command buffers that read imported frames.
    ///
    /// The work waits for the frames' fences: on the GPU at [`Level::Explicit`], otherwise on this thread,
    /// [`ImportOptions::wait`](crate::ImportOptions::wait) at most. The frames are held until the work is done; from
    /// [`Level::Release`] on those in dma-bufs go home at once, with the work's fence, which is put on the dma-bufs too. The
    /// imports may be dropped when this returns. wgpu's callbacks, which it may call from here, may submit too.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::OtherDevice`], [`Error::Destroyed`], [`Error::Wgpu`]; nothing was submitted then.
    /// [`Error::DeviceLost`]: the frames go home when nothing that was submitted before can use them any more.
    pub fn submit(
        &self,
        imports: &[&Imported],
        commands: impl IntoIterator<Item = wgpu::CommandBuffer>,
    ) -> Result<Submission, Error> {
        let mut work = self.reads(imports)?;
        let turn = self.turn();
        let taken = Taken::new(self, imports.iter().map(|imported| &imported.kept));
        work.commands.extend(taken.take_over()?);
        work.commands.extend(commands);
        work.commands.extend(taken.give_back()?);
        drop(taken);
        self.run_in_order(&turn, work)
    }

    /// What reading these frames needs.
    fn reads(&self, imports: &[&Imported]) -> Result<Work, Error> {
        let mut work = Work::default();
        for imported in imports {
            if !imported.gpu.is_same(self) {
                return Err(Error::OtherDevice);
            }
            if imported.kept.is_held_by_work() {
                work.keep.push(imported.kept.until_read());
            }
            if imported.is_copy() {
                continue;
            }
            let wait = self.ready(&imported.frame, Access::Read, imported.wait)?;
            work.waits.extend(wait);
            work.frames.push((imported.frame.clone(), Access::Read));
        }
        Ok(work)
    }

    /// For applications that submit themselves: makes everything submitted from here on wait for a frame's fences, as
    /// [`Self::submit`] does, and takes the memory over. What it gives goes to [`Self::track`] after the submission, or to
    /// [`Self::track_encoder`]: either gives the memory back.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn acquire(&self, imported: &Imported) -> Result<Acquired, Error> {
        let mut work = self.reads(&[imported])?;
        work.frames.clear();
        let turn = self.turn();
        let taken = Taken::new(self, [&imported.kept]);
        work.commands.extend(taken.take_over()?);
        if !work.commands.is_empty() || !work.waits.is_empty() {
            self.run_in_order(&turn, work)?;
        }
        taken.keep();
        Ok(Acquired::new(imported))
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
        self.run_in_order(&self.turn(), work)
    }

    /// With a [`Turn`], so that the counter is counted up in the order of submissions.
    pub(super) fn run_in_order(&self, turn: &Turn<'_>, work: Work) -> Result<Submission, Error> {
        let core = Arc::clone(self.tracker().core());
        if core.is_lost() {
            return Err(gone("work was lost before"));
        }
        let signal = match (self.level() >= Level::Release, self.vulkan()) {
            (true, Some(vulkan)) if work.fence || !work.frames.is_empty() => {
                Some(Arc::new(SignalSemaphore::new(vulkan)?))
            }
            _ => None,
        };
        let holds = Holds {
            frames: work.frames,
            keep: work.keep,
        };
        let mut flight = InFlight::new(self, turn, work.waits, holds);
        sys::wait_for(self.queue(), &flight.waits);
        let submitted = scoped(self.device(), "Queue::submit", || {
            self.queue().submit(work.commands);
        });
        if let Err(error) = submitted {
            return Err(match self.vulkan().is_some() && !sys::is_alive(self.device()) {
                true => {
                    core.doom();
                    gone(&error.to_string())
                }
                false => error,
            });
        }
        flight.gone();
        if core.timeline.is_none() {
            let mark = self.callback_mark();
            self.tracker().hold(mark.clone(), flight.land(), None);
            let fence = Done::None;
            return Ok(Submission { core, mark, fence });
        }
        // Of work that was submitted in the middle of this: its mark comes after both.
        let waiting = turn.left().waiting;
        let value = waiting.unwrap_or_else(|| self.next_value());
        let mark = Mark::Counter(value);
        if signal.is_none() && !self.export_blocks() {
            // Nobody needs a fence: the next submission marks the end, or the one who waits for it (`flush`).
            if let (Some(timeline), None) = (&core.timeline, waiting) {
                sys::signal(self.queue(), timeline.handle(), Some(value));
                turn.left().waiting = Some(value);
            }
            self.tracker().hold(mark.clone(), flight.land(), None);
            let fence = Done::None;
            return Ok(Submission { core, mark, fence });
        }
        if let Some(signal) = &signal {
            flight.keep(Arc::clone(signal));
        }
        let wanted = signal.is_some();
        let marker = Marker::new(self, value, signal, waiting.is_some());
        if self.export_blocks() {
            let export = Box::new(move || marker.mark());
            let late = self.tracker().hold(mark.clone(), flight.land(), Some(export));
            let fence = late.filter(|_| wanted).map_or(Done::None, Done::Later);
            return Ok(Submission { core, mark, fence });
        }
        turn.left().waiting = None;
        let fence = match marker.mark() {
            Marked::Yes(None) => Done::None,
            Marked::Yes(Some(Ok(fence))) => {
                release(&mut flight.holds.frames, &fence);
                Done::Here(Arc::new(fence))
            }
            // They go home without it, when the work is done.
            Marked::Yes(Some(Err(error))) => Done::Failed(error),
            Marked::No { error, kept: false } => return Err(error),
            Marked::No { error, kept: true } => {
                turn.put_back(Left::waiting(value), &core);
                self.tracker().hold(mark, flight.land(), None);
                return Err(error);
            }
        };
        self.tracker().hold(mark.clone(), flight.land(), None);
        Ok(Submission { core, mark, fence })
    }

    /// wgpu's own word, which comes when the device is polled.
    fn callback_mark(&self) -> Mark {
        let done = Arc::new(AtomicBool::new(false));
        let guard = OnDrop(Arc::clone(&done));
        self.queue().on_submitted_work_done(move || drop(guard));
        Mark::Callback(done)
    }

    /// For applications that submit themselves: holds a frame until everything submitted so far is done. Call it after
    /// the submission that reads the frame; from [`Level::Release`] on one in a dma-buf goes home at once, with a fence.
    ///
    /// Before the submission, [`Self::acquire`] the import and give what comes of it to this, or wait for the frame's fences
    /// and give it the frame.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OtherDevice`]; the frame goes home.
    pub fn track(&self, tracked: impl Into<Tracked>) -> Result<Submission, Error> {
        tracked.into().track(self)
    }

    /// Holds a frame until the work in `encoder` is done: for code that records into an application's encoder and does
    /// not see its submission. What [`Self::acquire`] took over is given back then, before the frame goes home. If the
    /// encoder is dropped, that happens at once.
    pub fn track_encoder(&self, encoder: &wgpu::CommandEncoder, tracked: impl Into<Tracked>) {
        let done = Arc::new(AtomicBool::new(false));
        let guard = OnDrop(Arc::clone(&done));
        encoder.on_submitted_work_done(move || drop(guard));
        let holds = tracked.into().held_by_encoder();
        self.tracker().hold(Mark::Callback(done), holds, None);
    }

    /// Keeps things until everything submitted so far is done.
    pub(super) fn hold_until_now_is_done<T: Any + Send>(&self, things: Vec<T>) {
        if !things.is_empty() {
            self.hold_until_now(Holds {
                keep: vec![Box::new(things)],
                ..Holds::default()
            });
        }
    }

    /// Never panics: while a panic of somebody else's goes by, that would be the process's end.
    fn hold_until_now(&self, holds: Holds) {
        match catch_unwind(AssertUnwindSafe(|| self.callback_mark())) {
            Ok(mark) => drop(self.tracker().hold(mark, holds, None)),
            // Nobody says when it is not used any more.
            Err(_) => std::mem::forget(holds),
        }
    }

    /// How many submissions hold frames or imports.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.tracker().outstanding()
    }

    /// Waits until no submission holds anything: for shutting down. `false` at the deadline. Not for wgpu's callbacks: called
    /// from a submission, they would wait for that one.
    pub fn settle(&self, deadline: impl Into<Deadline>) -> bool {
        self.tracker().settle(0, deadline.into())
    }

    /// Waits until at most `most` submissions hold anything: for a producer that would run ahead of the GPU. `false` at
    /// the deadline.
    pub fn settle_to(&self, most: usize, deadline: impl Into<Deadline>) -> bool {
        self.tracker().settle(most, deadline.into())
    }
}

/// What work uses, from before its submission to where its end is known. Dropped between the two, by an error or by a panic
/// (of an application's callback, too), it is held until wgpu has no work left that was submitted so far: nobody knows
/// whether the GPU has this, or has taken the semaphores to wait for.
struct InFlight<'a> {
    gpu: &'a Gpu,
    turn: &'a Turn<'a>,
    waits: Vec<WaitSemaphore>,
    holds: Holds,
    /// What was to go with this submission, until it has gone.
    carried: Left,
    landed: bool,
}

impl<'a> InFlight<'a> {
    fn new(gpu: &'a Gpu, turn: &'a Turn<'a>, waits: Vec<WaitSemaphore>, holds: Holds) -> Self {
        Self {
            gpu,
            turn,
            waits,
            holds,
            carried: std::mem::take(&mut *turn.left()),
            landed: false,
        }
    }

    /// It was submitted, with what it carried.
    fn gone(&mut self) {
        if let Some(value) = self.carried.waiting.take() {
            self.gpu.tracker().core().marked(value);
        }
        self.holds.keep.append(&mut self.carried.strays);
    }

    fn keep(&mut self, thing: impl Any + Send) {
        self.holds.keep.push(Box::new(thing));
    }

    /// What it uses, for where its end is known.
    fn land(mut self) -> Holds {
        self.landed = true;
        self.all()
    }

    fn all(&mut self) -> Holds {
        let waits = std::mem::take(&mut self.waits);
        if !waits.is_empty() {
            self.holds.keep.push(Box::new(waits));
        }
        std::mem::take(&mut self.holds)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        self.turn
            .put_back(std::mem::take(&mut self.carried), self.gpu.tracker().core());
        sys::forget_waits(self.gpu.queue(), &self.waits);
        let holds = self.all();
        self.gpu.hold_until_now(holds);
    }
}
