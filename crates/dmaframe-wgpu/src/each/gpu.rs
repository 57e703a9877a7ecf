//! A wgpu device with what is known about it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dmaframe_vulkan::ash::{ext, vk};

use super::order::{Order, Turn};
use super::{marker, sys, version, wgpu};
use crate::track::Tracker;
use crate::{FenceExport, GpuOptions, Level};

/// A wgpu device and queue, and the Vulkan device inside. A clone is another handle.
///
/// Everything made from it keeps it alive, and with it the wgpu device. Dropping the last of them waits for the work that is
/// outstanding, at most a second. Work goes through wgpu's own queue and its locks,
/// so an application may submit and present from other threads at any time.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

/// A [`Gpu`] that is not kept.
pub(super) struct WeakGpu(Weak<Inner>);

impl WeakGpu {
    pub(super) fn upgrade(&self) -> Option<Gpu> {
        self.0.upgrade().map(Gpu)
    }
}

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// `None` on another backend than Vulkan.
    vulkan: Option<dmaframe_vulkan::Gpu>,
    level: Level,
    limits: (u64, u64),
    /// Ownership can be transferred from and to other drivers' devices.
    foreign: bool,
    export_blocks: bool,
    broken_exports: bool,
    /// Uploads are read where the CPU wrote them.
    in_place: bool,
    /// The counter's last value, given out in somebody's turn.
    counter: AtomicU64,
    order: Arc<Order>,
    tracker: Tracker,
}

impl Gpu {
    /// Works on anybody's device: nothing is changed on it.
    ///
    /// Its level comes from the extensions that are on, and from what the driver says it can do with them.
    #[must_use]
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        Self::with_options(device, queue, GpuOptions::default())
    }

    /// [`Self::new`] with part of what the device can do left out.
    #[must_use]
    #[allow(clippy::useless_conversion, reason = "this limit is 32 bits wide in wgpu 28")]
    pub fn with_options(device: &wgpu::Device, queue: &wgpu::Queue, options: GpuOptions) -> Self {
        let adopted = if options.vulkan { sys::adopt(device) } else { None };
        let (vulkan, timeline) = adopted.map_or((None, None), |(gpu, timeline)| (Some(gpu), timeline));
        let level = match (&vulkan, &timeline) {
            (Some(gpu), Some(_)) => level(gpu),
            (Some(gpu), None) => level(gpu).min(Level::Plain),
            _ => Level::Upload,
        };
        let lavapipe = vulkan
            .as_ref()
            .is_some_and(|gpu| gpu.driver() == vk::DriverId::MESA_LLVMPIPE);
        let unified = vulkan
            .as_ref()
            .is_some_and(dmaframe_vulkan::Gpu::has_unified_memory);
        let foreign = vulkan
            .as_ref()
            .is_some_and(|gpu| gpu.extensions().has(ext::queue_family_foreign::NAME));
        let limits = device.limits();
        let (polled, order) = (device.clone(), Arc::<Order>::default());
        let flush = marker::flush(device, queue, &order);
        Self(Arc::new(Inner {
            device: device.clone(),
            queue: queue.clone(),
            vulkan,
            level,
            limits: (
                u64::from(limits.max_storage_buffer_binding_size),
                limits.max_buffer_size,
            ),
            foreign,
            export_blocks: match options.export {
                FenceExport::Auto => lavapipe,
                FenceExport::Inline => false,
                FenceExport::Thread => true,
            },
            broken_exports: options.broken_exports,
            in_place: options.in_place && unified,
            counter: AtomicU64::new(0),
            order,
            tracker: Tracker::new(timeline, Box::new(move || marker::poll(&polled)), flush),
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

    /// How well this device can be synchronised with.
    #[must_use]
    pub fn level(&self) -> Level {
        self.0.level
    }

    /// Whether both are on one device. wgpu's own `==` compares numbers that begin anew with each of its instances.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let raw = |gpu: &Self| gpu.vulkan().map(|vulkan| vulkan.raw_device().handle());
        self.device() == other.device() && raw(self) == raw(other)
    }

    /// The longest storage binding and buffer that wgpu allows here, in bytes.
    pub(super) fn limits(&self) -> (u64, u64) {
        self.0.limits
    }

    pub(super) fn foreign(&self) -> bool {
        self.0.foreign
    }

    /// Whether marking the end of work, and exporting its fence, is left to the tracker's thread.
    pub(super) fn export_blocks(&self) -> bool {
        self.0.export_blocks
    }

    pub(super) fn broken_exports(&self) -> bool {
        self.0.broken_exports
    }

    pub(super) fn reads_in_place(&self) -> bool {
        self.0.in_place
    }

    pub(super) fn downgrade(&self) -> WeakGpu {
        WeakGpu(Arc::downgrade(&self.0))
    }

    pub(super) fn tracker(&self) -> &Tracker {
        &self.0.tracker
    }

    pub(super) fn order(&self) -> &Arc<Order> {
        &self.0.order
    }

    /// Keep it from a submission to its mark.
    pub(super) fn turn(&self) -> Turn<'_> {
        self.0.order.turn()
    }

    /// The counter's next value; with a [`Turn`].
    pub(super) fn next_value(&self) -> u64 {
        self.0.counter.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// An extension alone is not enough: the driver says whether it does sync_files.
fn level(gpu: &dmaframe_vulkan::Gpu) -> Level {
    if !gpu.extensions().dmabuf() {
        return Level::Upload;
    }
    match sys::sync_fd(gpu) {
        (true, true) if version::GPU_WAITS => Level::Explicit,
        (_, true) => Level::Release,
        _ => Level::Plain,
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu")
            .field("level", &self.0.level)
            .field("tracker", &self.0.tracker)
            .finish_non_exhaustive()
    }
}
