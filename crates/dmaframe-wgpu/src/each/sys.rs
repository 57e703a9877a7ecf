//! What goes below wgpu's own interface.

use dmaframe_vulkan::raw::{self, RawDevice};
use dmaframe_vulkan::{Extensions, Gpu};

use super::wgpu;
use wgpu::hal::api::Vulkan;

/// The Vulkan device inside; `None` on another backend, and below Vulkan 1.1.
pub(super) fn adopt(device: &wgpu::Device) -> Option<Gpu> {
    // SAFETY: the guard is only read from, and dropped before this returns.
    let hal = unsafe { device.as_hal::<Vulkan>() }?;
    let raw = RawDevice {
        instance: hal.shared_instance().raw_instance().clone(),
        physical_device: hal.raw_physical_device(),
        device: hal.raw_device().clone(),
        queue_family: hal.queue_family_index(),
        extensions: Extensions::from_names(hal.enabled_device_extensions().iter().copied()),
        owner: Box::new(device.clone()),
    };
    drop(hal);
    // SAFETY: one hal device's own handles, extensions and family; the clone in `owner` keeps it alive.
    unsafe { raw::adopt(raw) }.ok()
}
