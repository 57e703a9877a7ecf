//! Ownership transfers between the frame's other users and this device.

use arrayvec::ArrayVec;
use ash::vk;

/// Barriers to record in one `vkCmdPipelineBarrier`. The safe copies of [`Commands`](crate::Commands) record their own.
///
/// With `VK_EXT_queue_family_foreign` on, they transfer ownership from and to `QUEUE_FAMILY_FOREIGN_EXT`: caches of
/// drivers that have some are flushed, and tiled layouts' hidden state is resolved. On a toolkit's device, where the
/// extension is off, buffers get none and images only their layout change: naming the foreign family there would be
/// an error (VUID-VkBufferMemoryBarrier-srcQueueFamilyIndex-09099).
#[derive(Clone, Debug, Default)]
pub struct Barriers {
    /// For buffers.
    pub buffers: ArrayVec<vk::BufferMemoryBarrier<'static>, 4>,
    /// For images.
    pub images: ArrayVec<vk::ImageMemoryBarrier<'static>, 4>,
}

impl Barriers {
    /// Whether there is nothing to record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffers.is_empty() && self.images.is_empty()
    }
}

pub(crate) fn of_buffer(
    buffer: vk::Buffer,
    families: (u32, u32),
    access: (vk::AccessFlags, vk::AccessFlags),
) -> vk::BufferMemoryBarrier<'static> {
    vk::BufferMemoryBarrier::default()
        .buffer(buffer)
        .offset(0)
        .size(vk::WHOLE_SIZE)
        .src_queue_family_index(families.0)
        .dst_queue_family_index(families.1)
        .src_access_mask(access.0)
        .dst_access_mask(access.1)
}

pub(crate) fn of_image(
    image: vk::Image,
    aspect: vk::ImageAspectFlags,
    families: (u32, u32),
    layouts: (vk::ImageLayout, vk::ImageLayout),
    access: (vk::AccessFlags, vk::AccessFlags),
) -> vk::ImageMemoryBarrier<'static> {
    vk::ImageMemoryBarrier::default()
        .image(image)
        .subresource_range(crate::sys::commands::whole(aspect))
        .src_queue_family_index(families.0)
        .dst_queue_family_index(families.1)
        .old_layout(layouts.0)
        .new_layout(layouts.1)
        .src_access_mask(access.0)
        .dst_access_mask(access.1)
}
