//! A device of our own.

use super::scope::now;
use super::{Gpu, sys, version, wgpu};
use crate::Error;

/// Opens a device as `request_device` does, and enables what frames can use besides: `external_semaphore_fd`,
/// `queue_family_foreign`, `image_drm_format_modifier` and `external_memory_host`, each where the driver has it.
///
/// The level that comes of it is [`Gpu::level`]'s to say: a driver may have an extension and not do what is wanted of it.
/// On another backend than Vulkan it is the same as `request_device`.
///
/// # Errors
/// [`Error::Wgpu`] when the adapter has not what the descriptor asks for, or the driver fails.
pub fn open_device(adapter: &wgpu::Adapter, descriptor: &wgpu::DeviceDescriptor<'_>) -> Result<Gpu, Error> {
    let refused = |text: String| Error::Wgpu {
        call: "open_device",
        text,
    };
    let missing = descriptor.required_features - adapter.features();
    if !missing.is_empty() {
        return Err(refused(format!("the adapter has no {missing:?}")));
    }
    let experimental = wgpu::Features::all_experimental_mask() & descriptor.required_features;
    if !experimental.is_empty() && !descriptor.experimental_features.is_enabled() {
        return Err(refused(format!("{experimental:?} are experimental")));
    }
    if !descriptor.required_limits.check_limits(&adapter.limits()) {
        let limits = adapter.limits();
        return Err(refused(format!("limits beyond the adapter's: {limits:?}")));
    }
    let opened = match sys::open(adapter, descriptor) {
        Some(opened) => opened,
        None => now(adapter.request_device(descriptor))
            .ok_or_else(|| refused("request_device is not ready at once".into()))?
            .map_err(|error| error.to_string()),
    };
    let (device, queue) = opened.map_err(refused)?;
    Ok(Gpu::new(&device, &queue))
}

/// Opens the best Vulkan device there is, by [`open_device`], for work without a window: what wgpu's own
/// `request_adapter` prefers, with limits that every device has.
///
/// # Errors
/// [`Error::Wgpu`] when there is none, and as [`open_device`].
pub fn open_best() -> Result<Gpu, Error> {
    let options = wgpu::RequestAdapterOptions::default();
    Ok(open(&version::instance(), &options)?.0)
}

/// As [`open_best`], a device that can draw into this surface, and its adapter, which knows what the surface takes.
///
/// # Errors
/// As [`open_best`].
pub fn open_for(
    instance: &wgpu::Instance,
    surface: &wgpu::Surface<'_>,
) -> Result<(Gpu, wgpu::Adapter), Error> {
    let options = wgpu::RequestAdapterOptions {
        compatible_surface: Some(surface),
        ..Default::default()
    };
    open(instance, &options)
}

fn open(
    instance: &wgpu::Instance,
    options: &wgpu::RequestAdapterOptions<'_, '_>,
) -> Result<(Gpu, wgpu::Adapter), Error> {
    let refused = |text: String| Error::Wgpu {
        call: "request_adapter",
        text,
    };
    let adapter = now(instance.request_adapter(options))
        .ok_or_else(|| refused("it is not ready at once".into()))?
        .map_err(|error| refused(error.to_string()))?;
    let limits = wgpu::Limits::downlevel_defaults().using_resolution(adapter.limits());
    let gpu = open_device(
        &adapter,
        &wgpu::DeviceDescriptor {
            label: Some("dmaframe"),
            required_limits: limits,
            ..Default::default()
        },
    )?;
    Ok((gpu, adapter))
}
