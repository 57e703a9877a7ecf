//! Images.

use std::sync::Arc;

use arrayvec::ArrayVec;
use ash::vk;

use super::context::{Context, down, up};
use super::memory::{Memory, Needs};
use crate::error::Refusal;

/// How an image lies in memory.
#[derive(Clone, Copy)]
pub(crate) enum Tiling<'a> {
    /// `VK_IMAGE_TILING_LINEAR`, the driver's own pitch.
    Linear,
    /// A modifier and where each memory plane is.
    Explicit(u64, &'a [vk::SubresourceLayout]),
    /// The driver's choice of these modifiers.
    OneOf(&'a [u64]),
}

/// What to make.
#[derive(Clone, Copy)]
pub(crate) struct Spec<'a> {
    pub(crate) format: vk::Format,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) usage: vk::ImageUsageFlags,
    pub(crate) flags: vk::ImageCreateFlags,
    /// Formats it may be viewed in, if it is to have several: on a device that has image format lists.
    pub(crate) views: &'a [vk::Format],
    pub(crate) tiling: Tiling<'a>,
}

/// An image without memory, for memory shared as dma-buf; destroyed when dropped.
pub(crate) struct Image {
    context: Arc<Context>,
    handle: vk::Image,
}

pub(crate) const PLANE_ASPECTS: [vk::ImageAspectFlags; 3] = [
    vk::ImageAspectFlags::PLANE_0,
    vk::ImageAspectFlags::PLANE_1,
    vk::ImageAspectFlags::PLANE_2,
];

const MEMORY_ASPECTS: [vk::ImageAspectFlags; 4] = [
    vk::ImageAspectFlags::MEMORY_PLANE_0_EXT,
    vk::ImageAspectFlags::MEMORY_PLANE_1_EXT,
    vk::ImageAspectFlags::MEMORY_PLANE_2_EXT,
    vk::ImageAspectFlags::MEMORY_PLANE_3_EXT,
];

impl Image {
    pub(crate) fn new(context: &Arc<Context>, spec: Spec<'_>) -> Result<Self, Refusal> {
        let mut external = vk::ExternalMemoryImageCreateInfo::default()
            .handle_types(vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT);
        let (mut explicit, mut list);
        let mut views = vk::ImageFormatListCreateInfo::default().view_formats(spec.views);
        let mut info = vk::ImageCreateInfo::default()
            .image_type(vk::ImageType::TYPE_2D)
            .format(spec.format)
            .extent(vk::Extent3D {
                width: spec.width,
                height: spec.height,
                depth: 1,
            })
            .mip_levels(1)
            .array_layers(1)
            .samples(vk::SampleCountFlags::TYPE_1)
            .usage(spec.usage)
            .flags(spec.flags)
            .sharing_mode(vk::SharingMode::EXCLUSIVE)
            .initial_layout(vk::ImageLayout::UNDEFINED)
            .tiling(vk::ImageTiling::DRM_FORMAT_MODIFIER_EXT)
            .push_next(&mut external);
        if !spec.views.is_empty() {
            info = info.push_next(&mut views);
        }
        match spec.tiling {
            Tiling::Linear => info.tiling = vk::ImageTiling::LINEAR,
            Tiling::Explicit(modifier, planes) => {
                explicit = vk::ImageDrmFormatModifierExplicitCreateInfoEXT::default()
                    .drm_format_modifier(modifier)
                    .plane_layouts(planes);
                info = info.push_next(&mut explicit);
            }
            Tiling::OneOf(modifiers) => {
                list = vk::ImageDrmFormatModifierListCreateInfoEXT::default().drm_format_modifiers(modifiers);
                info = info.push_next(&mut list);
            }
        }
        // SAFETY: `info` and its chain live until the call returns.
        let handle =
            unsafe { context.device.create_image(&info, None) }.map_err(Refusal::vk("vkCreateImage"))?;
        up(&context.live.images);
        Ok(Self {
            context: Arc::clone(context),
            handle,
        })
    }

    /// Requirements of the whole image, or of memory plane `plane` of a disjoint one.
    pub(crate) fn needs(&self, plane: Option<usize>) -> Needs {
        let mut of_plane = vk::ImagePlaneMemoryRequirementsInfo::default();
        let mut info = vk::ImageMemoryRequirementsInfo2::default().image(self.handle);
        if let Some(aspect) = plane.and_then(|index| MEMORY_ASPECTS.get(index)) {
            of_plane.plane_aspect = *aspect;
            info = info.push_next(&mut of_plane);
        }
        let mut dedicated = vk::MemoryDedicatedRequirements::default();
        let mut found = vk::MemoryRequirements2::default().push_next(&mut dedicated);
        // SAFETY: a live image; the chains live until the call returns.
        unsafe {
            self.context
                .device
                .get_image_memory_requirements2(&info, &mut found)
        };
        Needs::new(found.memory_requirements, &dedicated)
    }

    /// Offset, pitch and size of the only plane of a plain linear image.
    pub(crate) fn linear_layout(&self) -> vk::SubresourceLayout {
        self.layout(vk::ImageAspectFlags::COLOR)
    }

    /// Offset and pitch of a memory plane of an image with a modifier.
    pub(crate) fn memory_plane(&self, plane: usize) -> Option<vk::SubresourceLayout> {
        MEMORY_ASPECTS.get(plane).map(|aspect| self.layout(*aspect))
    }

    fn layout(&self, aspect: vk::ImageAspectFlags) -> vk::SubresourceLayout {
        let of = vk::ImageSubresource::default().aspect_mask(aspect);
        // SAFETY: a live image with this aspect and one level and layer.
        unsafe { self.context.device.get_image_subresource_layout(self.handle, of) }
    }

    /// The modifier the driver chose.
    pub(crate) fn modifier(&self) -> Result<u64, Refusal> {
        let functions = self
            .context
            .modifiers
            .as_ref()
            .ok_or(Refusal::ExtensionOff(ash::ext::image_drm_format_modifier::NAME))?;
        let mut found = vk::ImageDrmFormatModifierPropertiesEXT::default();
        // SAFETY: a live image made with modifier tiling.
        unsafe { functions.get_image_drm_format_modifier_properties(self.handle, &mut found) }
            .map_err(Refusal::vk("vkGetImageDrmFormatModifierPropertiesEXT"))?;
        Ok(found.drm_format_modifier)
    }

    /// Binds memory at an offset that the requirements allow.
    pub(crate) fn bind(self, memory: Memory, offset: u64) -> Result<BoundImage, Refusal> {
        // SAFETY: neither has been bound before: `bind` takes both; the caller has checked offset and size.
        unsafe {
            self.context
                .device
                .bind_image_memory(self.handle, memory.handle(), offset)
        }
        .map_err(Refusal::vk("vkBindImageMemory"))?;
        let mut memories = ArrayVec::new();
        memories.push(memory);
        Ok(BoundImage {
            image: self,
            memories,
        })
    }

    /// Binds one memory for each memory plane of a disjoint image.
    pub(crate) fn bind_planes(self, memories: ArrayVec<Memory, 4>) -> Result<BoundImage, Refusal> {
        let mut aspects: ArrayVec<_, 4> = (0..memories.len())
            .map(|plane| vk::BindImagePlaneMemoryInfo::default().plane_aspect(MEMORY_ASPECTS[plane]))
            .collect();
        let infos: ArrayVec<_, 4> = aspects
            .iter_mut()
            .zip(&memories)
            .map(|(aspect, memory)| {
                vk::BindImageMemoryInfo::default()
                    .image(self.handle)
                    .memory(memory.handle())
                    .push_next(aspect)
            })
            .collect();
        // SAFETY: as in `bind`, for each plane.
        unsafe { self.context.device.bind_image_memory2(&infos) }
            .map_err(Refusal::vk("vkBindImageMemory2"))?;
        Ok(BoundImage {
            image: self,
            memories,
        })
    }

    pub(crate) fn handle(&self) -> vk::Image {
        self.handle
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        down(&self.context.live.images);
        // SAFETY: work that uses it holds the import that holds this, until it is done; null is allowed.
        unsafe { self.context.device.destroy_image(self.handle, None) };
    }
}

/// An image with memory. The image goes first.
pub(crate) struct BoundImage {
    image: Image,
    memories: ArrayVec<Memory, 4>,
}

impl BoundImage {
    pub(crate) fn handle(&self) -> vk::Image {
        self.image.handle
    }

    /// Gives the handles up without destroying them.
    pub(crate) fn into_handles(mut self) -> (vk::Image, ArrayVec<vk::DeviceMemory, 4>) {
        let image = std::mem::take(&mut self.image.handle);
        let memories = std::mem::take(&mut self.memories);
        (
            image,
            memories
                .into_iter()
                .map(|memory| memory.into_handle().0)
                .collect(),
        )
    }
}

impl std::fmt::Debug for BoundImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.image.handle)
    }
}
