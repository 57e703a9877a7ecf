//! Marking the end of work, and taking its fence out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use dmaframe_vulkan::raw::SignalSemaphore;

use super::order::{Left, Order};
use super::scope::scoped;
use super::submission::gone;
use super::{Gpu, sys, wgpu};
use crate::Error;
use crate::track::{Core, Flush, Marked, Polled};

/// Has the end of everything submitted so far marked, and takes its fence out.
///
/// That is a submission of its own, after the work: a signal added before the work could be carried, and given, by
/// another thread's submission. wgpu chains its submissions, and lavapipe blocks in one until what comes before it in
/// the chain has begun. So there it is left to the tracker's thread, with the export, which blocks too.
pub(super) struct Marker {
    device: wgpu::Device,
    queue: wgpu::Queue,
    core: Arc<Core>,
    order: Arc<Order>,
    value: u64,
    signal: Option<Arc<SignalSemaphore>>,
    /// wgpu has the counter's signal already.
    given: bool,
    /// For tests.
    broken: bool,
}

impl Marker {
    pub(super) fn new(gpu: &Gpu, value: u64, signal: Option<Arc<SignalSemaphore>>, given: bool) -> Self {
        Self {
            device: gpu.device().clone(),
            queue: gpu.queue().clone(),
            core: Arc::clone(gpu.tracker().core()),
            order: Arc::clone(gpu.order()),
            value,
            signal,
            given,
            broken: gpu.broken_exports(),
        }
    }

    pub(super) fn mark(self) -> Marked {
        if let (Some(timeline), false) = (&self.core.timeline, self.given) {
            sys::signal(&self.queue, timeline.handle(), Some(self.value));
        }
        if let Some(signal) = &self.signal {
            sys::signal(&self.queue, signal.handle(), None);
        }
        let submitted = scoped(&self.device, "Queue::submit", || {
            self.queue.submit([]);
        });
        if let Err(error) = submitted {
            let kept = self.is_kept();
            if !sys::is_alive(&self.device) {
                self.core.doom();
            }
            return Marked::No { error, kept };
        }
        let Some(signal) = &self.signal else {
            self.core.marked(self.value);
            return Marked::Yes(None);
        };
        if !sys::is_alive(&self.device) {
            self.core.doom();
            // Taking a fence out of a semaphore that nothing signals would block for ever, or worse.
            return Marked::No {
                error: gone("the work was not submitted"),
                kept: false,
            };
        }
        self.core.marked(self.value);
        let exported = match self.broken {
            true => Err(dmaframe_core::Error::Os {
                call: "vkGetSemaphoreFdKHR",
                object: "fence",
                errno: rustix::io::Errno::MFILE,
            }
            .into()),
            false => sys::export(signal).map_err(Error::from),
        };
        Marked::Yes(Some(exported))
    }

    /// Takes the signals back from wgpu. What it keeps stays alive until a submission has taken it; whether it keeps the
    /// counter's.
    fn is_kept(&self) -> bool {
        if let Some(signal) = &self.signal
            && !sys::forget_signal(&self.queue, signal.handle())
        {
            self.order.left().strays.push(Box::new(Arc::clone(signal)));
        }
        let Some(timeline) = &self.core.timeline else {
            return false;
        };
        // One that was given before is somebody else's too.
        let kept = self.given || !sys::forget_signal(&self.queue, timeline.handle());
        if kept {
            self.order.left().strays.push(Box::new(Arc::clone(&self.core)));
        }
        kept
    }
}

/// What submits a mark that waits in `order`, in a submission of its own.
pub(super) fn flush(device: &wgpu::Device, queue: &wgpu::Queue, order: &Arc<Order>) -> Flush {
    let (device, queue, order) = (device.clone(), queue.clone(), Arc::clone(order));
    Box::new(move |value, core| {
        let turn = order.turn();
        if turn.left().waiting != Some(value) {
            return Ok(false);
        }
        turn.left().waiting = None;
        // A panic may be an application's, which wgpu called back.
        let submitted = catch_unwind(AssertUnwindSafe(|| {
            scoped(&device, "Queue::submit", || {
                queue.submit([]);
            })
        }));
        if let Ok(Ok(())) = submitted {
            return Ok(true);
        }
        // wgpu still has it, for the next submission.
        turn.put_back(Left::waiting(value), core);
        match sys::is_alive(&device) {
            true => Ok(false),
            false => Err(gone("the work was not marked")),
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
