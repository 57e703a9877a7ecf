//! Who is told when submitted work is done: frames go home, imports and semaphores may go.
//!
//! wgpu tells nobody until somebody polls, and an idle application does not. A thread of our own waits for the work
//! instead. It runs only while something is outstanding (and a moment longer, so that a steady stream does not start one
//! for each frame), and takes none of wgpu's locks while it waits.

mod mark;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use dmaframe_core::{Access, Deadline, Fence, Frame};

use crate::Error;
use crate::sys::Timeline;
use mark::STEP;
pub(crate) use mark::{Core, Flush, LateFence, Mark, Marked, OnDrop, Polled};

/// How long the thread leaves it to the next submission to carry a mark, before it has it submitted by itself.
const CARRY: Duration = Duration::from_micros(50);
/// How long the thread stays when there is nothing to wait for.
const LINGER: Duration = Duration::from_secs(1);
/// How long a device's end waits for its work.
const END: Duration = Duration::from_secs(1);

/// Has the end of submitted work marked, and takes its fence out if one was asked for. May block until the work is done:
/// that is some driver's way.
pub(crate) type Export = Box<dyn FnOnce() -> Marked + Send>;

/// What outstanding work uses.
#[derive(Default)]
pub(crate) struct Holds {
    /// Frames, and what the work does with them.
    pub(crate) frames: Vec<(Frame, Access)>,
    /// What is dropped when the work is done.
    pub(crate) keep: Vec<Box<dyn Any + Send>>,
}

/// Says to everybody concerned that the frames are free when `fence` signals, and drops them. Those stay, to be held until
/// the work is done, of which somebody would not be told: in the CPU's memory, or without a descriptor for their lease.
pub(crate) fn release(frames: &mut Vec<(Frame, Access)>, fence: &Fence) {
    let told: Vec<_> = frames
        .extract_if(.., |(frame, access)| tell(frame, fence, *access))
        .collect();
    // A lease may panic: the others have been told by then.
    drop(told);
}

/// Whether everybody who may write the frame's memory next knows the fence.
fn tell(frame: &Frame, fence: &Fence, access: Access) -> bool {
    // Nothing but our handle keeps a holder of the only other one from writing memory that takes no fences.
    let Some(dmabuf) = frame.as_dmabuf() else {
        return false;
    };
    let Ok(lease) = fence.try_clone() else {
        return false;
    };
    frame.release_after(lease);
    // A dma-buf that takes none either (an old kernel) leaves it to the lease.
    let _ = dmabuf.attach_fence(fence, access);
    true
}

struct Entry {
    core: Arc<Core>,
    mark: Mark,
    export: Option<(Export, Arc<LateFence>)>,
    holds: Holds,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    running: bool,
    /// The thread, while it runs.
    thread: Option<ThreadId>,
    closed: bool,
    /// Entries that the thread has taken out and is releasing.
    releasing: usize,
}

#[derive(Default)]
struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outstanding work of one device.
///
/// Its end waits for the work, [`END`] at most (what has not begun by then, for a fence that does not come, is left to the
/// thread). Else the thread would be the last to have the device, and would destroy it whenever the work is done: while the
/// process ends, for one, and drivers' destructors have run.
pub(crate) struct Tracker {
    mailbox: Arc<Mailbox>,
    core: Arc<Core>,
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracker({} outstanding)", self.mailbox.lock().entries.len())
    }
}

impl Tracker {
    pub(crate) fn new(
        timeline: Option<Timeline>,
        poll: Box<dyn Fn() -> Polled + Send + Sync>,
        flush: Flush,
    ) -> Self {
        Self {
            mailbox: Arc::default(),
            core: Arc::new(Core::new(timeline, poll, flush)),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Holds `holds` until the work is done. With `export` its fence is had first, on the thread, and the frames go home
    /// with it.
    pub(crate) fn hold(&self, mark: Mark, holds: Holds, export: Option<Export>) -> Option<Arc<LateFence>> {
        let late = export.map(|export| (export, Arc::<LateFence>::default()));
        let fence = late.as_ref().map(|(_, fence)| Arc::clone(fence));
        let mut state = self.mailbox.lock();
        state.entries.push_back(Entry {
            core: Arc::clone(&self.core),
            mark,
            export: late,
            holds,
        });
        if !state.running {
            let mailbox = Arc::clone(&self.mailbox);
            let spawned = std::thread::Builder::new()
                .name("dmaframe-wgpu".into())
                .spawn(move || run(&mailbox));
            // Without a thread the entry waits for the next one that can be had.
            state.running = spawned.is_ok();
            state.thread = spawned.ok().map(|thread| thread.thread().id());
        }
        drop(state);
        self.mailbox.changed.notify_all();
        fence
    }

    /// How much work is outstanding.
    pub(crate) fn outstanding(&self) -> usize {
        let state = self.mailbox.lock();
        state.entries.len() + state.releasing
    }

    /// Waits until no more than this is outstanding. `false` at the deadline.
    pub(crate) fn settle(&self, most: usize, deadline: Deadline) -> bool {
        let mut state = self.mailbox.lock();
        while state.entries.len() + state.releasing > most {
            let left = deadline.remaining().unwrap_or(STEP).min(STEP);
            if left.is_zero() {
                return false;
            }
            let waited = self.mailbox.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let mut state = self.mailbox.lock();
        state.closed = true;
        let ours = state.thread == Some(std::thread::current().id());
        drop(state);
        self.mailbox.changed.notify_all();
        // What the thread itself drops may have been a device's last handle.
        if !ours {
            self.settle(0, Deadline::after(END));
        }
    }
}

/// The thread. It owns nothing of a device while it has nothing to wait for.
fn run(mailbox: &Mailbox) {
    loop {
        let mut state = mailbox.lock();
        if let Some(index) = state.entries.iter().position(|entry| entry.export.is_some()) {
            let entry = &mut state.entries[index];
            let export = entry.export.take();
            let core = Arc::clone(&entry.core);
            let mut frames = std::mem::take(&mut entry.holds.frames);
            // The entry stays in the list, and where it is, meanwhile.
            drop(state);
            if let Some((export, late)) = export {
                hand_out(export, &late, &mut frames, &core);
            }
            drop(core);
            if let Some(entry) = mailbox.lock().entries.get_mut(index) {
                entry.holds.frames = frames;
            }
            mailbox.changed.notify_all();
            continue;
        }
        if let Some(index) = state.entries.iter().position(|e| e.core.is_over(&e.mark)) {
            let entry = state.entries.remove(index);
            state.releasing += 1;
            drop(state);
            quietly(|| drop(entry));
            finished(mailbox);
            continue;
        }
        // Callbacks need polling; a counter can be waited for.
        let callback = |entry: &&Entry| matches!(entry.mark, Mark::Callback(_));
        let unmarked = |entry: &&Entry| !entry.core.is_marked(&entry.mark);
        let (next, to_mark) = match state.entries.iter().find(callback) {
            // It may be an encoder's that is never submitted: the end of other work is marked meanwhile, the last one's
            // for all.
            Some(entry) => (Some(entry), state.entries.iter().rfind(unmarked)),
            None => (state.entries.front(), state.entries.front().filter(unmarked)),
        };
        let to_mark = to_mark.map(|entry| entry.mark.clone());
        match next.map(|entry| (Arc::clone(&entry.core), entry.mark.clone())) {
            Some((core, mark)) => {
                drop(state);
                if let Some(to_mark) = to_mark {
                    std::thread::sleep(CARRY);
                    core.flush(&to_mark);
                }
                core.step(&mark, STEP);
            }
            None if linger(mailbox, state) => {}
            None => return,
        }
    }
}

/// Marks the work's end, gets its fence, and lets the frames go home with it; without one they stay.
fn hand_out(export: Export, late: &LateFence, frames: &mut Vec<(Frame, Access)>, core: &Core) {
    let lost = |text: &str| Marked::No {
        error: Error::DeviceLost { text: text.into() },
        kept: false,
    };
    let marked = match core.is_lost() {
        true => lost("work was lost before"),
        false => std::panic::catch_unwind(std::panic::AssertUnwindSafe(export))
            .unwrap_or_else(|_| lost("wgpu panicked")),
    };
    match marked {
        Marked::Yes(Some(Ok(fence))) => {
            quietly(|| release(frames, &fence));
            late.set(Ok(fence));
        }
        Marked::Yes(None) => {}
        Marked::Yes(Some(Err(error))) => late.set(Err(error)),
        // What is not marked is never seen to be done; the work itself was submitted.
        Marked::No { error, .. } => {
            core.doom();
            late.set(Err(error));
        }
    }
}

/// A lease is somebody else's code: its panic must not end the thread that others wait for.
fn quietly(work: impl FnOnce()) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
}

fn finished(mailbox: &Mailbox) {
    mailbox.lock().releasing -= 1;
    mailbox.changed.notify_all();
}

/// Waits for new entries. `false` when the thread is to end.
fn linger(mailbox: &Mailbox, mut state: MutexGuard<'_, State>) -> bool {
    let end = Instant::now() + LINGER;
    while state.entries.is_empty() && !state.closed {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let waited = mailbox.changed.wait_timeout(state, left);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    state.running = !state.entries.is_empty();
    state.running
}
