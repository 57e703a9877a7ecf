//! Buffers whose consumers' fences have not signalled yet.
//!
//! GStreamer has no fences of its own: a buffer that drops goes back to its pool and is written again, by a V4L2 driver
//! without even a look at implicit fences. So a buffer is kept until the release fence of its frame has signalled. Most
//! frames come back with nothing pending and never get here; the first that does starts one thread for the process.
//!
//! Where that thread cannot start (no descriptor, no process left), the buffer waits all the same, and nobody waits for
//! it: whoever imports a buffer or waits at a sink looks after it, and tries to start the thread again ([`tend`]).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use dmaframe_core::Fence;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use crate::sys::lock;

/// How often fences without a descriptor are looked at, and all of them without a thread.
const TICK: Duration = Duration::from_millis(2);
/// How long who waits at a sink may sleep while nothing is pending without a thread: another thread may drop a frame
/// meanwhile, and has no way to wake all sinks.
const LOOK: Duration = Duration::from_secs(1);

type Held = Box<dyn Send>;

/// All of the process.
struct Waiting {
    list: Mutex<Vec<(Fence, Held)>>,
    /// What wakes the thread, once it runs.
    thread: OnceLock<Arc<OwnedFd>>,
    starting: Mutex<()>,
    /// There may be something in the list without a thread.
    unattended: AtomicBool,
}

static WAITING: Waiting = Waiting {
    list: Mutex::new(Vec::new()),
    thread: OnceLock::new(),
    starting: Mutex::new(()),
    unattended: AtomicBool::new(false),
};

/// Drops `held` when the fence has signalled, with or without an error. Does not block.
pub(crate) fn drop_after(fence: Fence, held: impl Send + 'static) {
    if fence.is_trivial() || fence.is_done().unwrap_or(false) {
        return drop(held);
    }
    let fence = fence.into_pollable();
    lock(&WAITING.list).push((fence, Box::new(held)));
    if !WAITING.wake() {
        WAITING.unattended.store(true, Ordering::Release);
    }
}

/// Looks after what waits without a thread, and says when to call it again while waiting for something else. Costs one
/// load where there is a thread, or nothing to wait for.
pub(crate) fn tend() -> Duration {
    if !WAITING.unattended.swap(false, Ordering::AcqRel) || WAITING.wake() {
        return LOOK;
    }
    let mut list = lock(&WAITING.list);
    let done = take_done(&mut list);
    let left = !list.is_empty();
    drop(list);
    drop(done);
    if left {
        WAITING.unattended.store(true, Ordering::Release);
    }
    if left { TICK } else { LOOK }
}

impl Waiting {
    /// Wakes the thread, which is started if it does not run. `false` when it cannot be.
    fn wake(&'static self) -> bool {
        let wake = self.thread.get().or_else(|| self.start());
        if let Some(wake) = wake {
            let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
        }
        wake.is_some()
    }

    fn start(&'static self) -> Option<&'static Arc<OwnedFd>> {
        let _alone = lock(&self.starting);
        if self.thread.get().is_none() {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            let wake = Arc::new(rustix::event::eventfd(0, flags).ok()?);
            let thread = std::thread::Builder::new().name("dmaframe-fences".to_owned());
            let theirs = Arc::clone(&wake);
            thread.spawn(move || run(self, &theirs)).ok()?;
            let _ = self.thread.set(wake);
        }
        self.thread.get()
    }
}

/// What need not wait any more: to be dropped without the lock, since that runs GStreamer's code.
fn take_done(list: &mut Vec<(Fence, Held)>) -> Vec<(Fence, Held)> {
    let mut done = Vec::new();
    let mut index = 0;
    while index < list.len() {
        // A fence the kernel will not be asked about is looked at again.
        if list[index].0.is_done().unwrap_or(false) {
            done.push(list.swap_remove(index));
        } else {
            index += 1;
        }
    }
    done
}

fn run(waiting: &Waiting, wake: &OwnedFd) {
    loop {
        let _ = rustix::io::read(wake, &mut [0; 8]);
        let mut list = lock(&waiting.list);
        let done = take_done(&mut list);
        let mut ticking = false;
        let mut files = Vec::new();
        for (fence, _) in list.iter() {
            match fence {
                // A duplicate, so that the list can change while this thread sleeps.
                Fence::SyncFile(file) => match file.as_fd().try_clone_to_owned() {
                    Ok(file) => files.push(file),
                    Err(_) => ticking = true,
                },
                _ => ticking = true,
            }
        }
        drop(list);
        drop(done);
        let mut polled: Vec<_> = files
            .iter()
            .map(|file| PollFd::new(file, PollFlags::IN))
            .collect();
        polled.push(PollFd::new(wake, PollFlags::IN));
        let timeout = ticking.then(|| Timespec {
            tv_sec: 0,
            tv_nsec: TICK.subsec_nanos().into(),
        });
        let _ = rustix::event::poll(&mut polled, timeout.as_ref());
    }
}
