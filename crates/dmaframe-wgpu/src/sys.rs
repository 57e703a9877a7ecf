//! The counter of finished submissions, on the Vulkan device inside a wgpu device of any version.

use dmaframe_vulkan::Gpu;
use dmaframe_vulkan::ash::vk;

/// A timeline semaphore that submissions to somebody else's queue count up; any thread may wait for it.
pub(crate) struct Timeline {
    gpu: Gpu,
    handle: vk::Semaphore,
}

/// What a wait came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The value was reached.
    Yes,
    /// Not yet.
    No,
    /// The device is lost: it never will be.
    Lost,
}

impl Timeline {
    /// `None` when the driver refuses.
    ///
    /// # Safety
    /// The device was made for Vulkan 1.2 or later, with the `timelineSemaphore` feature.
    pub(crate) unsafe fn new(gpu: &Gpu) -> Option<Self> {
        let mut kind = vk::SemaphoreTypeCreateInfo::default().semaphore_type(vk::SemaphoreType::TIMELINE);
        let info = vk::SemaphoreCreateInfo::default().push_next(&mut kind);
        // SAFETY: the feature is on (the caller's promise); the chain lives until the call returns.
        let handle = unsafe { gpu.raw_device().create_semaphore(&info, None) }.ok()?;
        Some(Self {
            gpu: gpu.clone(),
            handle,
        })
    }

    pub(crate) fn handle(&self) -> vk::Semaphore {
        self.handle
    }

    /// How far the device has come.
    pub(crate) fn value(&self) -> Result<u64, Reached> {
        // SAFETY: a live timeline semaphore.
        let value = unsafe { self.gpu.raw_device().get_semaphore_counter_value(self.handle) };
        value.map_err(|result| match result {
            vk::Result::ERROR_DEVICE_LOST => Reached::Lost,
            _ => Reached::No,
        })
    }

    /// Waits until it has come to `value`.
    pub(crate) fn wait(&self, value: u64, timeout_ns: u64) -> Reached {
        let (semaphores, values) = ([self.handle], [value]);
        let info = vk::SemaphoreWaitInfo::default()
            .semaphores(&semaphores)
            .values(&values);
        // SAFETY: a live timeline semaphore; the arrays live until the call returns.
        match unsafe { self.gpu.raw_device().wait_semaphores(&info, timeout_ns) } {
            Ok(()) => Reached::Yes,
            Err(vk::Result::ERROR_DEVICE_LOST) => Reached::Lost,
            Err(_) => Reached::No,
        }
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        // SAFETY: the tracker drops it when no submission that signals it is outstanding, or when the device is lost.
        unsafe { self.gpu.raw_device().destroy_semaphore(self.handle, None) };
    }
}

impl std::fmt::Debug for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.handle)
    }
}
