//! A device and the function tables that go with it.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ash::{ext, khr, vk};

use crate::Extensions;
use crate::error::Refusal;

/// What all objects of one device share, and the last to go.
pub(crate) struct Context {
    pub(crate) instance: ash::Instance,
    pub(crate) physical: vk::PhysicalDevice,
    pub(crate) device: ash::Device,
    pub(crate) family: u32,
    pub(crate) extensions: Extensions,
    pub(crate) external_fd: Option<khr::external_memory_fd::Device>,
    pub(crate) semaphore_fd: Option<khr::external_semaphore_fd::Device>,
    pub(crate) external_host: Option<ext::external_memory_host::Device>,
    pub(crate) modifiers: Option<ext::image_drm_format_modifier::Device>,
    pub(crate) memory: vk::PhysicalDeviceMemoryProperties,
    pub(crate) identity: Identity,
    pub(crate) host_alignment: u64,
    /// What the driver does with sync_files; nothing where the extension is off.
    pub(crate) sync_fd: vk::ExternalSemaphoreFeatureFlags,
    pub(crate) live: Live,
    /// Somebody has the device's own queue.
    pub(crate) queue_taken: AtomicBool,
    /// The device's owner: destroys it when dropped, after everything above.
    owner: Owner,
}

/// Which driver it is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) api_version: u32,
    pub(crate) driver: vk::DriverId,
    /// As the driver counts; Mesa's are Vulkan version numbers.
    pub(crate) driver_version: u32,
    pub(crate) kind: vk::PhysicalDeviceType,
    pub(crate) name: String,
}

/// Objects alive, by kind.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) buffers: AtomicUsize,
    pub(crate) images: AtomicUsize,
    pub(crate) memories: AtomicUsize,
    pub(crate) semaphores: AtomicUsize,
}

/// Who keeps the device alive.
pub(crate) enum Owner {
    /// We made it.
    Ours(#[allow(dead_code, reason = "held for its drop")] Box<super::loader::Opened>),
    /// Somebody else's, kept alive by this value.
    Theirs(#[allow(dead_code, reason = "held for its drop")] Box<dyn Any + Send + Sync>),
}

impl Context {
    /// # Safety
    /// `device` belongs to `physical` of `instance`, both made for Vulkan 1.1 or later; `extensions` are enabled on
    /// it; `family` is a queue family it was made with; all stay valid as long as `owner` lives.
    pub(crate) unsafe fn new(
        instance: ash::Instance,
        physical: vk::PhysicalDevice,
        device: ash::Device,
        family: u32,
        extensions: Extensions,
        owner: Owner,
    ) -> Self {
        let external_fd = extensions
            .has(khr::external_memory_fd::NAME)
            .then(|| khr::external_memory_fd::Device::new(&instance, &device));
        let semaphore_fd = extensions
            .has(khr::external_semaphore_fd::NAME)
            .then(|| khr::external_semaphore_fd::Device::new(&instance, &device));
        let external_host = extensions
            .has(ext::external_memory_host::NAME)
            .then(|| ext::external_memory_host::Device::new(&instance, &device));
        let modifiers = extensions
            .has(ext::image_drm_format_modifier::NAME)
            .then(|| ext::image_drm_format_modifier::Device::new(&instance, &device));
        // SAFETY: `physical` is one of `instance`'s (the caller's promise).
        let memory = unsafe { instance.get_physical_device_memory_properties(physical) };
        let identity = super::query::identity(&instance, physical);
        let host_alignment = match &external_host {
            Some(_) => super::query::host_alignment(&instance, physical),
            None => 0,
        };
        let sync_fd = match &semaphore_fd {
            Some(_) => super::query::sync_fd(&instance, physical),
            None => vk::ExternalSemaphoreFeatureFlags::empty(),
        };
        Self {
            instance,
            physical,
            device,
            family,
            extensions,
            external_fd,
            semaphore_fd,
            external_host,
            modifiers,
            memory,
            identity,
            host_alignment,
            sync_fd,
            live: Live::default(),
            queue_taken: AtomicBool::new(false),
            owner,
        }
    }

    /// The first memory type of `bits` that has `flags`.
    pub(crate) fn memory_type(&self, bits: u32, flags: vk::MemoryPropertyFlags) -> Option<u32> {
        let types = self.memory.memory_types_as_slice().iter().enumerate();
        types
            .filter(|(index, _)| bits & (1 << index) != 0)
            .find(|(_, kind)| kind.property_flags.contains(flags))
            .and_then(|(index, _)| u32::try_from(index).ok())
    }

    /// Whether CPU and device have one memory, and some of it that both may use.
    pub(crate) fn is_unified(&self) -> bool {
        let one = matches!(
            self.identity.kind,
            vk::PhysicalDeviceType::INTEGRATED_GPU | vk::PhysicalDeviceType::CPU
        );
        let both = vk::MemoryPropertyFlags::DEVICE_LOCAL
            | vk::MemoryPropertyFlags::HOST_VISIBLE
            | vk::MemoryPropertyFlags::HOST_COHERENT;
        one && self.memory_type(u32::MAX, both).is_some()
    }

    pub(crate) fn need_sync_fd(&self, export: bool) -> Result<(), Refusal> {
        self.extensions.need(khr::external_semaphore_fd::NAME)?;
        let (feature, operation) = match export {
            true => (vk::ExternalSemaphoreFeatureFlags::EXPORTABLE, "export"),
            false => (vk::ExternalSemaphoreFeatureFlags::IMPORTABLE, "import"),
        };
        match self.sync_fd.contains(feature) {
            true => Ok(()),
            false => Err(Refusal::NoSyncFd { operation }),
        }
    }

    /// Mesa's software driver, whose quirks are known by version.
    pub(crate) fn is_lavapipe(&self) -> bool {
        self.identity.driver == vk::DriverId::MESA_LLVMPIPE
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.owner, Owner::Ours(_))
    }

    /// The queue family outside, for ownership transfers with other drivers; `None` where the extension is off.
    pub(crate) fn foreign(&self) -> Option<u32> {
        self.extensions
            .has(ext::queue_family_foreign::NAME)
            .then_some(vk::QUEUE_FAMILY_FOREIGN_EXT)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu")
            .field("name", &self.identity.name)
            .field("driver", &self.identity.driver)
            .field("queue_family", &self.family)
            .finish_non_exhaustive()
    }
}

pub(crate) fn up(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn down(counter: &AtomicUsize) {
    counter.fetch_sub(1, Ordering::Relaxed);
}
