//! A wgpu device with what is known about it.

use std::fmt;
use std::sync::Arc;

use super::{sys, wgpu};
use crate::Level;

/// A wgpu device and queue, and the Vulkan device inside. A clone is another handle.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// `None` on another backend than Vulkan.
    vulkan: Option<dmaframe_vulkan::Gpu>,
    level: Level,
    limits: (u64, u64),
}

impl Gpu {
    /// Works on anybody's device: nothing is changed on it.
    #[must_use]
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let vulkan = sys::adopt(device);
        let level = match &vulkan {
            Some(gpu) if gpu.extensions().dmabuf() => Level::Plain,
            _ => Level::Upload,
        };
        let limits = device.limits();
        Self(Arc::new(Inner {
            device: device.clone(),
            queue: queue.clone(),
            vulkan,
            level,
            limits: (
                u64::from(limits.max_storage_buffer_binding_size),
                limits.max_buffer_size,
            ),
        }))
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// The Vulkan device inside; `None` on another backend.
    #[must_use]
    pub fn vulkan(&self) -> Option<&dmaframe_vulkan::Gpu> {
        self.0.vulkan.as_ref()
    }

    /// The longest storage binding and buffer that wgpu allows here, in bytes.
    pub(super) fn limits(&self) -> (u64, u64) {
        self.0.limits
    }

    /// How well this device can be synchronised with.
    #[must_use]
    pub fn level(&self) -> Level {
        self.0.level
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu")
            .field("level", &self.0.level)
            .finish_non_exhaustive()
    }
}
