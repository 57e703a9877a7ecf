//! Every Vulkan call of the crate, behind types whose safe methods cannot be misused: handles are destroyed once, after
//! what they are bound to, and before their device.
//!
//! The argument that all blocks here share: a handle comes from the same device it is used with, because each type
//! keeps its [`Context`]; structures passed by reference outlive the call that reads them.

pub(crate) mod commands;
pub(crate) mod context;
pub(crate) mod crew;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod loader;
pub(crate) mod memory;
pub(crate) mod query;
pub(crate) mod semaphore;
pub(crate) mod timeline;

use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The queue of a device of our own, once at a time.
pub(crate) fn own_queue(context: &Arc<context::Context>) -> Option<commands::RawQueue> {
    if !context.is_ours() || context.queue_taken.swap(true, Ordering::Acquire) {
        return None;
    }
    // SAFETY: the device was made here with queue 0 of its family, and the flag lets one user have it at a time.
    Some(unsafe { commands::RawQueue::new(context, 0) })
}

/// The user of [`own_queue`] is gone.
pub(crate) fn give_queue_back(context: &context::Context) {
    context.queue_taken.store(false, Ordering::Release);
}
