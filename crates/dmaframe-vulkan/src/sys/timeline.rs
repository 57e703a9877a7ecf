//! The counter of a queue's finished submissions.

use std::sync::Arc;

use ash::vk;

use super::context::Context;
use crate::error::Error;

/// A timeline semaphore, which many threads may wait for; destroyed when dropped.
pub(crate) struct Timeline {
    context: Arc<Context>,
    handle: vk::Semaphore,
}

impl Timeline {
    /// On a device with the `timelineSemaphore` feature.
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self, Error> {
        let mut kind = vk::SemaphoreTypeCreateInfo::default().semaphore_type(vk::SemaphoreType::TIMELINE);
        let info = vk::SemaphoreCreateInfo::default().push_next(&mut kind);
        // SAFETY: `info` and its chain live until the call returns.
        let handle = unsafe { context.device.create_semaphore(&info, None) }
            .map_err(Error::vk("vkCreateSemaphore"))?;
        Ok(Self {
            context: Arc::clone(context),
            handle,
        })
    }

    /// How far the device has come.
    pub(crate) fn value(&self) -> Result<u64, Error> {
        // SAFETY: a live timeline semaphore.
        unsafe { self.context.device.get_semaphore_counter_value(self.handle) }
            .map_err(Error::vk("vkGetSemaphoreCounterValue"))
    }

    /// Waits until it has come to `value`; `false` when `timeout_ns` passed first.
    pub(crate) fn wait(&self, value: u64, timeout_ns: u64) -> Result<bool, Error> {
        let (semaphores, values) = ([self.handle], [value]);
        let info = vk::SemaphoreWaitInfo::default()
            .semaphores(&semaphores)
            .values(&values);
        // SAFETY: a live timeline semaphore; the arrays live until the call returns.
        match unsafe { self.context.device.wait_semaphores(&info, timeout_ns) } {
            Ok(()) => Ok(true),
            Err(vk::Result::TIMEOUT) => Ok(false),
            Err(result) => Err(Error::vk("vkWaitSemaphores")(result)),
        }
    }

    /// It is not destroyed: work that signals it may run.
    pub(crate) fn leak(&mut self) {
        self.handle = vk::Semaphore::null();
    }

    pub(crate) fn handle(&self) -> vk::Semaphore {
        self.handle
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        // SAFETY: the queue that owns it has waited for its submissions, or it is null.
        unsafe { self.context.device.destroy_semaphore(self.handle, None) };
    }
}
