//! A device with more extensions than wgpu asks for.

use dmaframe_vulkan::Extensions;

use super::super::{version, wgpu};
use wgpu::hal::api::Vulkan;

/// Opens a device with everything on that [`Extensions`] knows and the driver has. `None` on another backend.
///
/// The caller has checked the descriptor against the adapter.
pub(in super::super) fn open(
    adapter: &wgpu::Adapter,
    descriptor: &wgpu::DeviceDescriptor<'_>,
) -> Option<Result<(wgpu::Device, wgpu::Queue), String>> {
    // SAFETY: the guard is only used for the calls below.
    let hal = unsafe { adapter.as_hal::<Vulkan>() }?;
    let known: Vec<_> = Extensions::known()
        .filter(|name| hal.physical_device_capabilities().supports_extension(name))
        .collect();
    let more = Box::new(
        move |arguments: wgpu::hal::vulkan::CreateDeviceCallbackArgs<'_, '_, '_>| {
            for name in known {
                if !arguments.extensions.contains(&name) {
                    arguments.extensions.push(name);
                }
            }
        },
    );
    // SAFETY: features and limits are the adapter's own; extensions are only added, ones that the driver has and that
    // need no feature; what they depend on is part of Vulkan 1.1 and 1.2 or in the list too.
    let opened = unsafe { version::open(&hal, descriptor, more) };
    drop(hal);
    Some(match opened {
        // SAFETY: made from this adapter's hal half just now, for this descriptor.
        Ok(opened) => unsafe { adapter.create_device_from_hal::<Vulkan>(opened, descriptor) }
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    })
}
