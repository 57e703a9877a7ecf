//! What a device can do, as data.

mod sets;

use std::fmt;

use ash::{ext, vk};
use dmaframe_core::{Fourcc, Modifier};

use crate::extensions::Extensions;
use crate::formats;
use crate::gpu::Gpu;
use crate::sys::query;

/// A modifier a format can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModifierInfo {
    /// The modifier.
    pub modifier: Modifier,
    /// Memory planes an image with it has: more than the format's own where the modifier adds metadata.
    pub planes: u32,
    /// What images with it can be used for.
    pub features: vk::FormatFeatureFlags,
    /// Whether the driver imports such a dma-buf as an image that is sampled and copied from.
    pub importable: bool,
    /// Whether the driver imports such a dma-buf as an image that is rendered into.
    pub renderable: bool,
}

/// A format's row in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormatSupport {
    /// The format.
    pub fourcc: Fourcc,
    /// What Vulkan calls it.
    pub format: vk::Format,
    /// What plain linear images can be used for.
    pub linear: vk::FormatFeatureFlags,
    /// Whether the driver imports a dma-buf as such an image that is sampled and copied from.
    pub linear_importable: bool,
    /// Whether the driver imports a dma-buf as such an image that is rendered into.
    pub linear_renderable: bool,
    /// Modifiers; empty without `VK_EXT_image_drm_format_modifier`.
    pub modifiers: Vec<ModifierInfo>,
}

/// What a device can do. Prints itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The driver's name for the device.
    pub name: String,
    /// Which driver.
    pub driver: vk::DriverId,
    /// The driver's own description.
    pub driver_text: String,
    /// Vulkan version (major, minor, patch).
    pub api_version: (u32, u32, u32),
    /// Discrete, integrated, CPU ...
    pub kind: vk::PhysicalDeviceType,
    /// The device's UUID: equal in every API that talks to the same device.
    pub uuid: [u8; 16],
    /// `dev_t` of the primary DRM node.
    pub primary_node: Option<u64>,
    /// `dev_t` of the render node.
    pub render_node: Option<u64>,
    /// Extensions the hardware has.
    pub supported: Extensions,
    /// Extensions that are on.
    pub enabled: Extensions,
    /// Whether linear dma-bufs can be imported as buffers.
    pub buffer_import: bool,
    /// Whether buffers can be exported as dma-bufs.
    pub buffer_export: bool,
    /// Whether a sync_file can be waited for on the GPU.
    pub sync_fd_import: bool,
    /// Whether submitted work can be had as a sync_file.
    pub sync_fd_export: bool,
    /// `minImportedHostPointerAlignment` in bytes, where the host pointer route is on.
    pub host_pointer_alignment: Option<u64>,
    /// The table.
    pub formats: Vec<FormatSupport>,
}

impl Capabilities {
    pub(crate) fn of(gpu: &Gpu) -> Self {
        let context = &gpu.0;
        let (instance, physical) = (&context.instance, context.physical);
        let supported = query::extensions(instance, physical).unwrap_or_default();
        let version = context.identity.api_version;
        let (kind, uuid) = query::kind_and_uuid(instance, physical);
        let nodes = match supported.has(ext::physical_device_drm::NAME) {
            true => query::drm_nodes(instance, physical),
            false => (None, None),
        };
        let dev = |pair: Option<(u32, u32)>| pair.map(|(major, minor)| rustix::fs::makedev(major, minor));
        let dmabuf = context.extensions.dmabuf();
        let usage = vk::BufferUsageFlags::STORAGE_BUFFER | vk::BufferUsageFlags::TRANSFER_SRC;
        let buffers = query::buffer_sharing(
            instance,
            physical,
            usage,
            vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT,
        );
        let fences = context.sync_fd;
        let modifiers = supported.has(ext::image_drm_format_modifier::NAME);
        Self {
            name: context.identity.name.clone(),
            driver: context.identity.driver,
            driver_text: if version >= vk::API_VERSION_1_2 {
                query::driver_text(instance, physical)
            } else {
                String::new()
            },
            api_version: (
                vk::api_version_major(version),
                vk::api_version_minor(version),
                vk::api_version_patch(version),
            ),
            kind,
            uuid,
            primary_node: dev(nodes.0),
            render_node: dev(nodes.1),
            supported,
            enabled: context.extensions,
            buffer_import: dmabuf && buffers.contains(vk::ExternalMemoryFeatureFlags::IMPORTABLE),
            buffer_export: dmabuf && buffers.contains(vk::ExternalMemoryFeatureFlags::EXPORTABLE),
            sync_fd_import: fences.contains(vk::ExternalSemaphoreFeatureFlags::IMPORTABLE),
            sync_fd_export: fences.contains(vk::ExternalSemaphoreFeatureFlags::EXPORTABLE),
            host_pointer_alignment: context.external_host.as_ref().map(|_| context.host_alignment),
            formats: formats::known()
                .map(|(fourcc, format)| support(gpu, fourcc, format, modifiers))
                .filter(|row| !row.linear.is_empty() || !row.modifiers.is_empty())
                .collect(),
        }
    }

    /// Whether a DRM node (`st_rdev`) is this device. `false` also where the driver does not say.
    #[must_use]
    pub fn is_node(&self, dev: u64) -> bool {
        self.primary_node == Some(dev) || self.render_node == Some(dev)
    }
}

fn support(gpu: &Gpu, fourcc: Fourcc, format: vk::Format, modifiers: bool) -> FormatSupport {
    let (instance, physical) = (&gpu.0.instance, gpu.0.physical);
    let listed = match modifiers {
        true => query::modifiers(instance, physical, format),
        false => Vec::new(),
    };
    // The usages that imports have unless told.
    let sampled = vk::ImageUsageFlags::SAMPLED | vk::ImageUsageFlags::TRANSFER_SRC;
    let importable = |modifier, usage| {
        let none = vk::ImageCreateFlags::empty();
        let limits = query::image_limits(instance, physical, (format, &[]), modifier, usage, none);
        limits
            .ok()
            .flatten()
            .is_some_and(|l| l.external.contains(vk::ExternalMemoryFeatureFlags::IMPORTABLE))
    };
    let rendered = vk::ImageUsageFlags::COLOR_ATTACHMENT;
    FormatSupport {
        fourcc,
        format,
        linear: query::format_features(instance, physical, format).linear_tiling_features,
        linear_importable: importable(None, sampled),
        linear_renderable: importable(None, rendered),
        modifiers: listed
            .iter()
            .map(|entry| ModifierInfo {
                modifier: Modifier(entry.modifier),
                planes: entry.planes,
                features: entry.features,
                importable: importable(Some(entry.modifier), sampled),
                renderable: importable(Some(entry.modifier), rendered),
            })
            .collect(),
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.api_version;
        let yes = |on: bool| if on { "yes" } else { "no" };
        let node = |dev: Option<u64>| {
            dev.map_or("none".to_owned(), |dev| {
                format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev))
            })
        };
        writeln!(
            f,
            "{} ({}), Vulkan {major}.{minor}.{patch}",
            self.name,
            self.driver_text.trim()
        )?;
        write!(f, "  uuid ")?;
        for byte in self.uuid {
            write!(f, "{byte:02x}")?;
        }
        writeln!(
            f,
            ", DRM primary {}, render {}",
            node(self.primary_node),
            node(self.render_node)
        )?;
        for name in Extensions::known() {
            let state = match (self.supported.has(name), self.enabled.has(name)) {
                (_, true) => "on",
                (true, false) => "off (supported)",
                (false, false) => "not supported",
            };
            writeln!(f, "  {:<36} {state}", name.to_string_lossy())?;
        }
        writeln!(
            f,
            "  dma-buf as buffer: import {}, export {}; SYNC_FD: wait {}, signal {}; host pointer: {}",
            yes(self.buffer_import),
            yes(self.buffer_export),
            yes(self.sync_fd_import),
            yes(self.sync_fd_export),
            self.host_pointer_alignment
                .map_or("no".to_owned(), |align| format!("multiples of {align}"))
        )?;
        for row in &self.formats {
            write!(
                f,
                "  {:<5}{:<40}",
                row.fourcc.to_string(),
                format!("{:?}", row.format)
            )?;
            if row.modifiers.is_empty() {
                write!(f, " no modifiers; plain linear: {}", letters(row.linear))?;
            }
            for entry in &row.modifiers {
                let import = if entry.importable { "" } else { ", not importable" };
                write!(
                    f,
                    " {} x{} {}{import}",
                    entry.modifier,
                    entry.planes,
                    letters(entry.features)
                )?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Sampled, linear Filter, Storage, Render, Blend, Transfer from and to, Disjoint.
fn letters(features: vk::FormatFeatureFlags) -> String {
    use vk::FormatFeatureFlags as F;
    let table = [
        (F::SAMPLED_IMAGE, "sample"),
        (F::SAMPLED_IMAGE_FILTER_LINEAR, "filter"),
        (F::STORAGE_IMAGE, "storage"),
        (F::COLOR_ATTACHMENT, "render"),
        (F::TRANSFER_SRC, "copy-from"),
        (F::TRANSFER_DST, "copy-to"),
        (F::DISJOINT, "disjoint"),
    ];
    let names: Vec<_> = table
        .iter()
        .filter(|(flag, _)| features.contains(*flag))
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        "nothing".into()
    } else {
        names.join("+")
    }
}
