//! Questions to a physical device.

use std::ffi::CStr;

use ash::vk;

use super::context::Identity;
use crate::extensions::Extensions;

/// Name, driver, version.
pub(crate) fn identity(instance: &ash::Instance, physical: vk::PhysicalDevice) -> Identity {
    let mut driver = vk::PhysicalDeviceDriverProperties::default();
    // SAFETY: the device belongs to the instance.
    let basic = unsafe { instance.get_physical_device_properties(physical) };
    // The driver structure is Vulkan 1.2; a 1.1 device leaves it alone only if it is not chained.
    if basic.api_version >= vk::API_VERSION_1_2 {
        let mut props = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
        // SAFETY: as above; the chain lives through the call.
        unsafe { instance.get_physical_device_properties2(physical, &mut props) };
    }
    Identity {
        api_version: basic.api_version,
        driver: driver.driver_id,
        driver_version: basic.driver_version,
        kind: basic.device_type,
        name: text(basic.device_name_as_c_str().ok()),
    }
}

pub(crate) fn text(s: Option<&CStr>) -> String {
    s.map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

/// Driver name and version text, as the driver writes them.
pub(crate) fn driver_text(instance: &ash::Instance, physical: vk::PhysicalDevice) -> String {
    let mut driver = vk::PhysicalDeviceDriverProperties::default();
    let mut props = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
    // SAFETY: the device belongs to the instance; the caller asks 1.2 devices only.
    unsafe { instance.get_physical_device_properties2(physical, &mut props) };
    let (name, info) = (
        text(driver.driver_name_as_c_str().ok()),
        text(driver.driver_info_as_c_str().ok()),
    );
    format!("{name} {info}")
}

/// Kind and device UUID.
pub(crate) fn kind_and_uuid(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
) -> (vk::PhysicalDeviceType, [u8; 16]) {
    let mut ids = vk::PhysicalDeviceIDProperties::default();
    let mut props = vk::PhysicalDeviceProperties2::default().push_next(&mut ids);
    // SAFETY: the device belongs to the instance; the structure is Vulkan 1.1's.
    unsafe { instance.get_physical_device_properties2(physical, &mut props) };
    (props.properties.device_type, ids.device_uuid)
}

/// Device numbers of the primary and the render node, as (major, minor).
pub(crate) type Nodes = (Option<(u32, u32)>, Option<(u32, u32)>);

/// For a device that supports `VK_EXT_physical_device_drm`.
pub(crate) fn drm_nodes(instance: &ash::Instance, physical: vk::PhysicalDevice) -> Nodes {
    let mut drm = vk::PhysicalDeviceDrmPropertiesEXT::default();
    let mut props = vk::PhysicalDeviceProperties2::default().push_next(&mut drm);
    // SAFETY: the device belongs to the instance and supports the extension.
    unsafe { instance.get_physical_device_properties2(physical, &mut props) };
    let pair = |has: vk::Bool32, major: i64, minor: i64| {
        let numbers = (u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
        (has == vk::TRUE).then_some(numbers)
    };
    (
        pair(drm.has_primary, drm.primary_major, drm.primary_minor),
        pair(drm.has_render, drm.render_major, drm.render_minor),
    )
}

/// `minImportedHostPointerAlignment`, for a device that supports `VK_EXT_external_memory_host`.
pub(crate) fn host_alignment(instance: &ash::Instance, physical: vk::PhysicalDevice) -> u64 {
    let mut host = vk::PhysicalDeviceExternalMemoryHostPropertiesEXT::default();
    let mut props = vk::PhysicalDeviceProperties2::default().push_next(&mut host);
    // SAFETY: the device belongs to the instance and supports the extension.
    unsafe { instance.get_physical_device_properties2(physical, &mut props) };
    host.min_imported_host_pointer_alignment
}

/// The features this crate can use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Features {
    pub(crate) ycbcr: bool,
    pub(crate) timeline: bool,
}

pub(crate) fn features(instance: &ash::Instance, physical: vk::PhysicalDevice, version: u32) -> Features {
    let mut ycbcr = vk::PhysicalDeviceSamplerYcbcrConversionFeatures::default();
    let mut timeline = vk::PhysicalDeviceTimelineSemaphoreFeatures::default();
    let mut all = vk::PhysicalDeviceFeatures2::default().push_next(&mut ycbcr);
    if version >= vk::API_VERSION_1_2 {
        all = all.push_next(&mut timeline);
    }
    // SAFETY: the device belongs to the instance; the chain lives through the call.
    unsafe { instance.get_physical_device_features2(physical, &mut all) };
    Features {
        ycbcr: ycbcr.sampler_ycbcr_conversion == vk::TRUE,
        timeline: timeline.timeline_semaphore == vk::TRUE,
    }
}

/// The known extensions a physical device supports.
pub(crate) fn extensions(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
) -> Result<Extensions, vk::Result> {
    // SAFETY: the device belongs to the instance.
    let list = unsafe { instance.enumerate_device_extension_properties(physical) }?;
    Ok(Extensions::from_names(
        list.iter().filter_map(|e| e.extension_name_as_c_str().ok()),
    ))
}

/// A queue family that computes and copies, graphics preferred (images are rendered to as well).
pub(crate) fn queue_family(instance: &ash::Instance, physical: vk::PhysicalDevice) -> Option<u32> {
    // SAFETY: the device belongs to the instance.
    let families = unsafe { instance.get_physical_device_queue_family_properties(physical) };
    let with = |flags| {
        let found = families.iter().position(|f| f.queue_flags.contains(flags));
        found.and_then(|index| u32::try_from(index).ok())
    };
    with(vk::QueueFlags::GRAPHICS | vk::QueueFlags::COMPUTE).or_else(|| with(vk::QueueFlags::COMPUTE))
}

/// One modifier a format can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModifierEntry {
    pub(crate) modifier: u64,
    pub(crate) planes: u32,
    pub(crate) features: vk::FormatFeatureFlags,
}

/// The modifiers of a format, by the first version of the structure: a driver of 2025 leaves the second one as it got
/// it. The device must support `VK_EXT_image_drm_format_modifier`.
pub(crate) fn modifiers(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
    format: vk::Format,
) -> Vec<ModifierEntry> {
    let mut count = vk::DrmFormatModifierPropertiesListEXT::default();
    let mut props = vk::FormatProperties2::default().push_next(&mut count);
    // SAFETY: the device belongs to the instance; a null array asks for the count.
    unsafe { instance.get_physical_device_format_properties2(physical, format, &mut props) };
    let len = count.drm_format_modifier_count as usize;
    let mut entries = vec![vk::DrmFormatModifierPropertiesEXT::default(); len];
    let mut list =
        vk::DrmFormatModifierPropertiesListEXT::default().drm_format_modifier_properties(&mut entries);
    let mut props = vk::FormatProperties2::default().push_next(&mut list);
    // SAFETY: as above; the array has as many elements as the count says.
    unsafe { instance.get_physical_device_format_properties2(physical, format, &mut props) };
    let found = (list.drm_format_modifier_count as usize).min(len);
    entries.truncate(found);
    entries
        .iter()
        .map(|e| ModifierEntry {
            modifier: e.drm_format_modifier,
            planes: e.drm_format_modifier_plane_count,
            features: e.drm_format_modifier_tiling_features,
        })
        .collect()
}

/// Features of the plain tilings: (linear, optimal, buffer).
pub(crate) fn format_features(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
    format: vk::Format,
) -> vk::FormatProperties {
    // SAFETY: the device belongs to the instance.
    unsafe { instance.get_physical_device_format_properties(physical, format) }
}

/// What an image of these properties can be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageLimits {
    pub(crate) max: vk::Extent3D,
    pub(crate) external: vk::ExternalMemoryFeatureFlags,
}

/// `None` when the driver cannot make such an image. `views`: the formats it may be viewed in, if it is to have several; the
/// device has image format lists then. `modifier` is `None` for plain linear tiling.
pub(crate) fn image_limits(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
    (format, views): (vk::Format, &[vk::Format]),
    modifier: Option<u64>,
    usage: vk::ImageUsageFlags,
    flags: vk::ImageCreateFlags,
) -> Result<Option<ImageLimits>, vk::Result> {
    let mut list = vk::ImageFormatListCreateInfo::default().view_formats(views);
    let mut with_modifier = vk::PhysicalDeviceImageDrmFormatModifierInfoEXT::default()
        .drm_format_modifier(modifier.unwrap_or(0))
        .sharing_mode(vk::SharingMode::EXCLUSIVE);
    let mut external = vk::PhysicalDeviceExternalImageFormatInfo::default()
        .handle_type(vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT);
    let mut info = vk::PhysicalDeviceImageFormatInfo2::default()
        .format(format)
        .ty(vk::ImageType::TYPE_2D)
        .tiling(vk::ImageTiling::LINEAR)
        .usage(usage)
        .flags(flags)
        .push_next(&mut external);
    if modifier.is_some() {
        info = info
            .tiling(vk::ImageTiling::DRM_FORMAT_MODIFIER_EXT)
            .push_next(&mut with_modifier);
    }
    if !views.is_empty() {
        info = info.push_next(&mut list);
    }
    let mut found = vk::ExternalImageFormatProperties::default();
    let mut props = vk::ImageFormatProperties2::default().push_next(&mut found);
    // SAFETY: the device belongs to the instance; both chains live through the call.
    match unsafe { instance.get_physical_device_image_format_properties2(physical, &info, &mut props) } {
        Ok(()) => {
            let max = props.image_format_properties.max_extent;
            let external = found.external_memory_properties.external_memory_features;
            Ok(Some(ImageLimits { max, external }))
        }
        Err(vk::Result::ERROR_FORMAT_NOT_SUPPORTED) => Ok(None),
        Err(result) => Err(result),
    }
}

/// What the driver does with memory of this kind for buffers of this usage.
pub(crate) fn buffer_sharing(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
    usage: vk::BufferUsageFlags,
    handle: vk::ExternalMemoryHandleTypeFlags,
) -> vk::ExternalMemoryFeatureFlags {
    let info = vk::PhysicalDeviceExternalBufferInfo::default()
        .usage(usage)
        .handle_type(handle);
    let mut props = vk::ExternalBufferProperties::default();
    // SAFETY: the device belongs to the instance.
    unsafe { instance.get_physical_device_external_buffer_properties(physical, &info, &mut props) };
    props.external_memory_properties.external_memory_features
}

/// What the driver does with SYNC_FD semaphores.
pub(crate) fn sync_fd(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
) -> vk::ExternalSemaphoreFeatureFlags {
    let info = vk::PhysicalDeviceExternalSemaphoreInfo::default()
        .handle_type(vk::ExternalSemaphoreHandleTypeFlags::SYNC_FD);
    let mut props = vk::ExternalSemaphoreProperties::default();
    // SAFETY: the device belongs to the instance.
    unsafe { instance.get_physical_device_external_semaphore_properties(physical, &info, &mut props) };
    props.external_semaphore_features
}
