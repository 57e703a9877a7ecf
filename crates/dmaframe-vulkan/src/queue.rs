//! Submitting work on a queue of our own.
//!
//! Enough to copy frames and to run commands recorded by the caller; nothing of what is used is freed before the
//! device is done with it, whatever the caller drops.

mod end;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use ash::vk;
use dmaframe_core::{Access, Deadline, Frame};

use crate::commands::Commands;
use crate::error::Error;
use crate::gpu::Gpu;
use crate::import::{BufferImport, ImageImport};
use crate::submission::Submission;
use crate::sys::commands::{CommandBuffer, RawQueue};
use crate::sys::query;
use crate::sys::semaphore::Semaphore;
use crate::sys::timeline::Timeline;
use end::{finished_by, outlasted};

/// A queue of the device's family. Clones share it.
///
/// Frames that submitted work uses are held until the work is seen to be done, which any call on the queue may see, and
/// [`Queue::poll`] does nothing else: an application that stops submitting keeps polling, or hands frames back at once
/// with [`Submission::hand_back`].
///
/// Dropping the last handle waits for the work.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Inner>);

pub(crate) struct Inner {
    gpu: Gpu,
    raw: RawQueue,
    timeline: Timeline,
    state: Mutex<State>,
    let_go: Condvar,
}

struct State {
    free: Vec<Slot>,
    busy: VecDeque<Slot>,
    last: u64,
    /// Semaphores without payload, for waiting and for exporting.
    spare: Vec<Semaphore>,
    /// Slots there are, free, recording, busy or letting go.
    made: usize,
    /// Submissions that are done, and whose holds a thread is dropping.
    letting_go: Vec<(u64, ThreadId)>,
}

/// What one submission keeps.
pub(crate) struct Slot {
    pub(crate) commands: CommandBuffer,
    pub(crate) holds: Vec<Hold>,
    pub(crate) waits: Vec<Semaphore>,
    pub(crate) signal: Option<Semaphore>,
    serial: u64,
}

/// Something that stays alive until the work that uses it is done.
#[derive(Debug)]
pub(crate) enum Hold {
    Frame(Frame, Access),
    Buffer(#[allow(dead_code, reason = "held for its drop")] Arc<BufferImport>),
    Image(#[allow(dead_code, reason = "held for its drop")] Arc<ImageImport>),
}

/// Submissions in flight at most.
const SLOTS: usize = 16;
/// How long one wait for another thread is.
const LOOK: Duration = Duration::from_millis(20);

impl Gpu {
    /// The queue of a device that [`OpenOptions::open`](crate::OpenOptions::open) made.
    ///
    /// # Errors
    /// [`Error::Busy`] the second time, and on an adopted device, whose queue others use
    /// ([`raw::queue`](crate::raw::queue)). [`Error::Unsupported`] below Vulkan 1.2.
    pub fn queue(&self) -> Result<Queue, Error> {
        match crate::sys::own_queue(&self.0) {
            // Refused, it is free for the next try.
            Some(raw) => Queue::new(self, raw).inspect_err(|_| crate::sys::give_queue_back(&self.0)),
            None => Err(Error::Busy {
                what: "the device's queue",
            }),
        }
    }
}

impl Queue {
    pub(crate) fn new(gpu: &Gpu, raw: RawQueue) -> Result<Self, Error> {
        let context = &gpu.0;
        let version = context.identity.api_version;
        if version < vk::API_VERSION_1_2
            || !query::features(&context.instance, context.physical, version).timeline
        {
            return Err(Error::Unsupported {
                what: "Vulkan 1.2 with timeline semaphores",
                found: context.identity.name.clone(),
            });
        }
        let inner = Inner {
            timeline: Timeline::new(context)?,
            raw,
            gpu: gpu.clone(),
            state: Mutex::new(State {
                free: Vec::with_capacity(SLOTS),
                busy: VecDeque::with_capacity(SLOTS),
                last: 0,
                spare: Vec::new(),
                made: 0,
                letting_go: Vec::with_capacity(SLOTS),
            }),
            let_go: Condvar::new(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The device.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.0.gpu
    }

    /// Records and submits. Returns as soon as the driver has the work; waits, until the deadline at most, only when
    /// 16 submissions are in flight.
    ///
    /// Fences named in `record` are waited for by the GPU. When `record` fails nothing is submitted.
    ///
    /// # Errors
    /// What `record` gives; [`Error::Timeout`], [`Error::DeviceLost`], [`Error::Vk`].
    pub fn submit(
        &self,
        deadline: impl Into<Deadline>,
        record: impl FnOnce(&mut Commands<'_>) -> Result<(), Error>,
    ) -> Result<Submission, Error> {
        let mut recording = Recording {
            queue: self,
            slot: Some(self.slot(deadline.into())?),
        };
        let recorded = recording.record(record);
        let Some(mut slot) = recording.slot.take() else {
            unreachable!("only drop takes it out before");
        };
        let mut state = self.state();
        let serial = state.last + 1;
        let submitted = recorded.and_then(|()| {
            self.0.raw.submit(
                &slot.commands,
                &slot.waits,
                slot.signal.as_ref(),
                &self.0.timeline,
                serial,
            )
        });
        match submitted {
            Ok(()) => {
                state.last = serial;
                slot.serial = serial;
                state.busy.push_back(slot);
                Ok(Submission::new(self, serial))
            }
            Err(error) => {
                drop(state);
                self.abandon(slot);
                Err(error)
            }
        }
    }

    /// Looks how far the device has come, and lets go of what finished work held. Does not block.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]: everything has been let go of then, since nothing runs any more.
    pub fn poll(&self) -> Result<(), Error> {
        self.retire().map(drop)
    }

    /// Submissions not seen to be done.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.state().busy.len()
    }

    /// Whether [`Submission::fence`] can be had here.
    #[must_use]
    pub fn can_export_fences(&self) -> bool {
        self.0.gpu.0.need_sync_fd(true).is_ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, deadline: Deadline) -> Result<Slot, Error> {
        loop {
            self.retire()?;
            let mut state = self.state();
            if let Some(slot) = state.free.pop() {
                return Ok(slot);
            }
            if state.made < SLOTS {
                let commands = CommandBuffer::new(&self.0.gpu.0)?;
                state.made += 1;
                return Ok(Slot {
                    commands,
                    holds: Vec::new(),
                    waits: Vec::new(),
                    signal: None,
                    serial: 0,
                });
            }
            let oldest = state.busy.front().map(|slot| slot.serial);
            drop(state);
            let late = Error::Timeout {
                what: "a free submission slot",
            };
            match oldest {
                Some(serial) => {
                    if !self.wait_until(serial, deadline)? {
                        return Err(late);
                    }
                }
                // All are being recorded by other threads.
                None if deadline.remaining().is_some_and(|left| left.is_zero()) => return Err(late),
                None => std::thread::yield_now(),
            }
        }
    }

    /// Back to the free ones without having been submitted.
    fn abandon(&self, mut slot: Slot) {
        // Semaphores that got a fence must not be used again before somebody waited for it: they go.
        slot.waits.clear();
        slot.signal = None;
        slot.holds.clear();
        self.state().free.push(slot);
    }

    /// The device's counter, after letting go of what is done.
    pub(crate) fn retire(&self) -> Result<u64, Error> {
        let value = self.0.timeline.value();
        let done = finished_by(&value);
        loop {
            let mut state = self.state();
            let Some(mut slot) = pop_done(&mut state.busy, done) else {
                break;
            };
            state.spare.append(&mut slot.waits);
            state.letting_go.push((slot.serial, std::thread::current().id()));
            drop(state);
            // Never exported: it has a payload that nobody waits for.
            let unused = slot.signal.take();
            let mut done = LettingGo {
                queue: self,
                slot: Some(slot),
            };
            // Frames' leases run here, outside the lock.
            if let Some(slot) = &mut done.slot {
                slot.holds.clear();
            }
            drop(unused);
        }
        value
    }

    /// Waits for another thread to have dropped what finished work held: who waited for the work counts on that.
    /// `false` at the deadline.
    pub(crate) fn wait_let_go(&self, serial: u64, deadline: Deadline) -> bool {
        // A lease that waits here for its own work would wait for itself.
        let here = std::thread::current().id();
        let held = |state: &mut State| {
            let mut others = state.letting_go.iter().filter(|(_, thread)| *thread != here);
            others.any(|(held, _)| *held == serial)
        };
        let mut state = self.state();
        while held(&mut state) {
            let left = deadline.remaining().unwrap_or(LOOK).min(LOOK);
            if left.is_zero() {
                return false;
            }
            let waited = self.0.let_go.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Blocks until the device has come to `serial`; `false` at the deadline.
    pub(crate) fn wait_until(&self, serial: u64, deadline: Deadline) -> Result<bool, Error> {
        self.0.timeline.wait(serial, nanoseconds(deadline))
    }

    /// What a submission keeps, unless it has been seen to be done. `change` runs under the lock: it drops nothing that
    /// could run a lease.
    pub(crate) fn with_slot<R>(&self, serial: u64, change: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        let mut state = self.state();
        state
            .busy
            .iter_mut()
            .find(|slot| slot.serial == serial)
            .map(change)
    }

    pub(crate) fn spare(&self) -> Option<Semaphore> {
        self.state().spare.pop()
    }
}

/// The oldest submission, if the device has come so far.
fn pop_done(busy: &mut VecDeque<Slot>, done: u64) -> Option<Slot> {
    if busy.front()?.serial <= done {
        busy.pop_front()
    } else {
        None
    }
}

/// A slot whose work is done. A lease that panics does not lose it.
struct LettingGo<'a> {
    queue: &'a Queue,
    slot: Option<Slot>,
}

impl Drop for LettingGo<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            let mut state = self.queue.state();
            state.letting_go.retain(|(serial, _)| *serial != slot.serial);
            state.free.push(slot);
            drop(state);
            self.queue.0.let_go.notify_all();
        }
    }
}

/// A slot between taking and submitting; a panic in the caller's code does not lose it.
struct Recording<'a> {
    queue: &'a Queue,
    slot: Option<Slot>,
}

impl Recording<'_> {
    fn record(&mut self, record: impl FnOnce(&mut Commands<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let Some(slot) = &mut self.slot else { return Ok(()) };
        slot.commands.begin()?;
        let mut commands = Commands::new(self.queue, slot);
        record(&mut commands)?;
        commands.finish()
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.queue.abandon(slot);
        }
    }
}

fn nanoseconds(deadline: Deadline) -> u64 {
    deadline.remaining().map_or(u64::MAX, |left| {
        u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
    })
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.last != 0 && !outlasted(|| self.timeline.wait(state.last, u64::MAX)) {
            // Nobody can say when it is done: what it uses stays for ever, and the queue is nobody else's.
            let left = State {
                free: Vec::new(),
                busy: VecDeque::new(),
                letting_go: Vec::new(),
                spare: Vec::new(),
                ..*state
            };
            std::mem::forget((std::mem::replace(state, left), self.gpu.clone()));
            self.timeline.leak();
            return;
        }
        crate::sys::give_queue_back(&self.gpu.0);
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        write!(
            f,
            "Queue({} in flight, {} submitted)",
            state.busy.len(),
            state.last
        )
    }
}
