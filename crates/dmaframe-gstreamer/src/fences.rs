//! Buffers whose consumers' fences have not signalled yet.
//!
//! GStreamer has no fences of its own: a buffer that drops goes back to its pool and is written again, by a V4L2 driver
//! without even a look at implicit fences. So a buffer is kept until the release fence of its frame has signalled. Most
//! frames come back with nothing pending and never get here; the first that does starts one thread for the process.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use dmaframe_core::Fence;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use crate::sys::lock;

/// How often fences without a descriptor are looked at.
const TICK: Duration = Duration::from_millis(2);

type Held = Box<dyn Send>;

struct Waiting {
    list: Mutex<Vec<(Fence, Held)>>,
    wake: OwnedFd,
}

/// Drops `held` when the fence has signalled, with or without an error. Does not block.
pub(crate) fn drop_after(fence: Fence, held: impl Send + 'static) {
    if fence.is_trivial() || fence.is_done().unwrap_or(false) {
        return drop(held);
    }
    let fence = fence.into_pollable();
    let Some(waiting) = waiting() else {
        // No thread, no descriptor left: wait here, too late is safe and too early is not.
        let _ = fence.wait(dmaframe_core::Deadline::NEVER);
        return drop(held);
    };
    lock(&waiting.list).push((fence, Box::new(held)));
    let _ = rustix::io::write(&waiting.wake, &1u64.to_ne_bytes());
}

fn waiting() -> Option<&'static Waiting> {
    static WAITING: OnceLock<Option<Waiting>> = OnceLock::new();
    static STARTED: OnceLock<bool> = OnceLock::new();
    let waiting = WAITING.get_or_init(|| {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = rustix::event::eventfd(0, flags).ok()?;
        Some(Waiting {
            list: Mutex::new(Vec::new()),
            wake,
        })
    });
    let waiting = waiting.as_ref()?;
    let started = STARTED.get_or_init(|| {
        let thread = std::thread::Builder::new().name("dmaframe-fences".to_owned());
        thread.spawn(move || run(waiting)).is_ok()
    });
    started.then_some(waiting)
}

fn run(waiting: &'static Waiting) {
    loop {
        let _ = rustix::io::read(&waiting.wake, &mut [0; 8]);
        let mut list = lock(&waiting.list);
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
        // Dropping runs GStreamer's code: not under the lock.
        drop(done);
        let mut polled: Vec<_> = files
            .iter()
            .map(|file| PollFd::new(file, PollFlags::IN))
            .collect();
        polled.push(PollFd::new(&waiting.wake, PollFlags::IN));
        let timeout = ticking.then(|| Timespec {
            tv_sec: 0,
            tv_nsec: TICK.subsec_nanos().into(),
        });
        let _ = rustix::event::poll(&mut polled, timeout.as_ref());
    }
}
