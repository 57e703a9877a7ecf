//! Opening a device of our own.

use std::ffi::{CStr, c_void};
use std::path::Path;
use std::sync::Arc;

use ash::{ext, khr, vk};

use super::context::{Context, Owner};
use crate::error::Error;
use crate::extensions::Extensions;
use crate::validation::{Message, ValidationLog};

/// An instance and device of our own; dropping destroys both.
pub(crate) struct Opened {
    entry: ash::Entry,
    instance: ash::Instance,
    device: Option<ash::Device>,
    messenger: Option<(ext::debug_utils::Instance, vk::DebugUtilsMessengerEXT)>,
    /// The callback's user data: the driver has a pointer to it until the messenger is gone.
    _log: Option<Arc<ValidationLog>>,
}

/// What a physical device was found to be.
pub(crate) struct Candidate {
    pub(crate) physical: vk::PhysicalDevice,
    pub(crate) extensions: Extensions,
    pub(crate) family: u32,
}

const LAYER: &CStr = c"VK_LAYER_KHRONOS_validation";

impl Opened {
    /// `wanted` is what the caller looks for, should there be no driver at all.
    pub(crate) fn instance(
        loader: Option<&Path>,
        log: Option<Arc<ValidationLog>>,
        wanted: &str,
    ) -> Result<Self, Error> {
        let entry = match loader {
            // SAFETY: running the initialisers of a Vulkan loader the caller named is what loading one means.
            Some(path) => unsafe { ash::Entry::load_from(path) },
            // SAFETY: as above, for the system's own.
            None => unsafe { ash::Entry::load() },
        };
        let entry = entry.map_err(|error| Error::Loader {
            reason: error.to_string(),
        })?;
        // SAFETY: no arguments but the entry itself.
        let version = unsafe { entry.try_enumerate_instance_version() }
            .map_err(Error::vk("vkEnumerateInstanceVersion"))?
            .unwrap_or(vk::API_VERSION_1_0);
        if version < vk::API_VERSION_1_1 {
            return Err(Error::Unsupported {
                what: "Vulkan 1.1",
                found: "a 1.0 loader".into(),
            });
        }
        let app = vk::ApplicationInfo::default()
            .engine_name(c"dmaframe")
            .api_version(version.min(vk::API_VERSION_1_3));
        let enabled = [vk::ValidationFeatureEnableEXT::SYNCHRONIZATION_VALIDATION];
        let mut features = vk::ValidationFeaturesEXT::default().enabled_validation_features(&enabled);
        let layers = [LAYER.as_ptr()];
        let names = [
            ext::debug_utils::NAME.as_ptr(),
            ext::validation_features::NAME.as_ptr(),
        ];
        let mut info = vk::InstanceCreateInfo::default().application_info(&app);
        if log.is_some() {
            info = info
                .enabled_layer_names(&layers)
                .enabled_extension_names(&names)
                .push_next(&mut features);
        }
        // SAFETY: `info` and what it points to live until the call returns.
        let instance = unsafe { entry.create_instance(&info, None) }.map_err(|result| match result {
            vk::Result::ERROR_INCOMPATIBLE_DRIVER => Error::NoDevice {
                found: "no driver".into(),
                wanted: wanted.into(),
            },
            vk::Result::ERROR_LAYER_NOT_PRESENT => Error::Unsupported {
                what: "VK_LAYER_KHRONOS_validation",
                found: "it is not installed".into(),
            },
            result => Error::vk("vkCreateInstance")(result),
        })?;
        let mut opened = Self {
            entry,
            instance,
            device: None,
            messenger: None,
            _log: log.clone(),
        };
        if let Some(log) = log {
            opened.listen(&log)?;
        }
        Ok(opened)
    }

    fn listen(&mut self, log: &Arc<ValidationLog>) -> Result<(), Error> {
        let utils = ext::debug_utils::Instance::new(&self.entry, &self.instance);
        let info = vk::DebugUtilsMessengerCreateInfoEXT::default()
            .message_severity(
                vk::DebugUtilsMessageSeverityFlagsEXT::ERROR | vk::DebugUtilsMessageSeverityFlagsEXT::WARNING,
            )
            .message_type(
                vk::DebugUtilsMessageTypeFlagsEXT::VALIDATION | vk::DebugUtilsMessageTypeFlagsEXT::GENERAL,
            )
            .pfn_user_callback(Some(on_message))
            .user_data(Arc::as_ptr(log).cast_mut().cast());
        // SAFETY: the user data is kept by `_log` until the messenger is destroyed.
        let messenger = unsafe { utils.create_debug_utils_messenger(&info, None) }
            .map_err(Error::vk("vkCreateDebugUtilsMessengerEXT"))?;
        self.messenger = Some((utils, messenger));
        Ok(())
    }

    pub(crate) fn physical_devices(&self) -> Result<Vec<vk::PhysicalDevice>, Error> {
        // SAFETY: a live instance.
        unsafe { self.instance.enumerate_physical_devices() }.map_err(Error::vk("vkEnumeratePhysicalDevices"))
    }

    /// Makes the device, with every extension of the candidate that the crate knows.
    pub(crate) fn device(&mut self, candidate: &Candidate) -> Result<ash::Device, Error> {
        let priority = [1.0];
        let queues = [vk::DeviceQueueCreateInfo::default()
            .queue_family_index(candidate.family)
            .queue_priorities(&priority)];
        let version = super::query::identity(&self.instance, candidate.physical).api_version;
        // Part of the core since 1.2, where naming it is allowed but pointless.
        let names: Vec<_> = candidate
            .extensions
            .iter()
            .filter(|name| version < vk::API_VERSION_1_2 || *name != khr::image_format_list::NAME)
            .map(CStr::as_ptr)
            .collect();
        let found = super::query::features(&self.instance, candidate.physical, version);
        let mut ycbcr =
            vk::PhysicalDeviceSamplerYcbcrConversionFeatures::default().sampler_ycbcr_conversion(found.ycbcr);
        let mut timeline =
            vk::PhysicalDeviceTimelineSemaphoreFeatures::default().timeline_semaphore(found.timeline);
        let mut info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&names)
            .push_next(&mut ycbcr);
        if found.timeline {
            info = info.push_next(&mut timeline);
        }
        // SAFETY: the candidate came from this instance; `info` and what it points to live until the call returns.
        let device = unsafe { self.instance.create_device(candidate.physical, &info, None) }
            .map_err(Error::vk("vkCreateDevice"))?;
        self.device = Some(device.clone());
        Ok(device)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: everything made from the device keeps the context, and so this; nothing uses these handles after.
        unsafe {
            if let Some(device) = self.device.take() {
                // A lost device cannot be waited for, and then nothing runs on it either.
                let _ = device.device_wait_idle();
                device.destroy_device(None);
            }
            if let Some((utils, messenger)) = self.messenger.take() {
                utils.destroy_debug_utils_messenger(messenger, None);
            }
            self.instance.destroy_instance(None);
        }
    }
}

unsafe extern "system" fn on_message(
    severity: vk::DebugUtilsMessageSeverityFlagsEXT,
    _: vk::DebugUtilsMessageTypeFlagsEXT,
    data: *const vk::DebugUtilsMessengerCallbackDataEXT<'_>,
    log: *mut c_void,
) -> vk::Bool32 {
    // SAFETY: the layer passes a valid structure, and the log that `listen` registered, which is still alive.
    let (data, log) = unsafe { (&*data, &*log.cast_const().cast::<ValidationLog>()) };
    // SAFETY: null or a string, by the same contract.
    let (id, text) = unsafe { (data.message_id_name_as_c_str(), data.message_as_c_str()) };
    let string = |s: Option<&CStr>| s.map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    log.push(Message {
        error: severity.contains(vk::DebugUtilsMessageSeverityFlagsEXT::ERROR),
        id: string(id),
        text: string(text),
    });
    vk::FALSE
}

/// What a device has to be.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) node: Option<u64>,
    pub(crate) name: Option<&'a str>,
    pub(crate) uuid: Option<[u8; 16]>,
}

/// A physical device that fits.
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) kind: vk::PhysicalDeviceType,
    pub(crate) uuid: [u8; 16],
    pub(crate) candidate: Candidate,
}

/// The physical devices that fit, best first, and the others with why they do not.
pub(crate) fn ranked(opened: &Opened, wanted: Wanted<'_>) -> Result<(Vec<Found>, Vec<String>), Error> {
    let Wanted { node, name, uuid } = wanted;
    let instance = &opened.instance;
    let mut passed_over = Vec::new();
    let mut fitting = Vec::new();
    for physical in opened.physical_devices()? {
        let identity = super::query::identity(instance, physical);
        let mut pass = |why: &str| passed_over.push(format!("{} ({why})", identity.name));
        if identity.api_version < vk::API_VERSION_1_1 {
            pass("older than Vulkan 1.1");
            continue;
        }
        let extensions = super::query::extensions(instance, physical)
            .map_err(Error::vk("vkEnumerateDeviceExtensionProperties"))?;
        let Some(family) = super::query::queue_family(instance, physical) else {
            pass("no queue that computes");
            continue;
        };
        if name.is_some_and(|part| !identity.name.contains(part)) {
            pass("another name");
            continue;
        }
        if let Some(node) = node {
            let nodes = match extensions.has(ext::physical_device_drm::NAME) {
                true => super::query::drm_nodes(instance, physical),
                false => (None, None),
            };
            let is = |pair: Option<(u32, u32)>| pair.is_some_and(|(a, b)| rustix::fs::makedev(a, b) == node);
            if !is(nodes.0) && !is(nodes.1) {
                pass("another DRM node, or none");
                continue;
            }
        }
        let (kind, its_uuid) = super::query::kind_and_uuid(instance, physical);
        if uuid.is_some_and(|wanted| wanted != its_uuid) {
            pass("another UUID");
            continue;
        }
        fitting.push(Found {
            name: identity.name,
            kind,
            uuid: its_uuid,
            candidate: Candidate {
                physical,
                extensions,
                family,
            },
        });
    }
    // Stable: among equals the loader's order holds.
    fitting.sort_by_key(|found| match found.kind {
        vk::PhysicalDeviceType::DISCRETE_GPU => 0,
        vk::PhysicalDeviceType::INTEGRATED_GPU => 1,
        vk::PhysicalDeviceType::VIRTUAL_GPU => 2,
        vk::PhysicalDeviceType::CPU => 3,
        _ => 4,
    });
    Ok((fitting, passed_over))
}

/// The best physical device that fits.
pub(crate) fn choose(opened: &Opened, wanted: Wanted<'_>) -> Result<Candidate, Error> {
    let (fitting, passed_over) = ranked(opened, wanted)?;
    let best = fitting.into_iter().next();
    best.map(|found| found.candidate).ok_or_else(|| Error::NoDevice {
        found: if passed_over.is_empty() {
            "none".into()
        } else {
            passed_over.join(", ")
        },
        wanted: wanted.to_string(),
    })
}

impl std::fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { node: Some(node), .. } => write!(f, "DRM node {node:#x}"),
            Self { uuid: Some(uuid), .. } => write!(f, "UUID {:032x}", u128::from_be_bytes(*uuid)),
            Self { name: Some(name), .. } => write!(f, "name {name:?}"),
            _ => f.write_str("any"),
        }
    }
}

/// Makes the device of a candidate.
pub(crate) fn finish(
    mut opened: Opened,
    mut candidate: Candidate,
    without: &[&'static CStr],
) -> Result<Context, Error> {
    let on = candidate.extensions.iter().filter(|name| !without.contains(name));
    candidate.extensions = Extensions::from_names(on);
    let device = opened.device(&candidate)?;
    let instance = opened.instance.clone();
    // SAFETY: device, family and extensions are those just made; `opened` destroys both only when it is dropped.
    Ok(unsafe {
        Context::new(
            instance,
            candidate.physical,
            device,
            candidate.family,
            candidate.extensions,
            Owner::Ours(Box::new(opened)),
        )
    })
}
