//! Memory of the driver's own, as dma-bufs that frames are made of: the GPU renders or computes, others read.
//!
//! Make a few, keep them as slots of a [`ReturnQueue`](dmaframe_core::ReturnQueue), write a free one, and give out a
//! frame of it with the submission's fence. CPU views of such frames copy rows out, since the GPU can write them.
//!
//! Where the memory is to come from elsewhere (udmabuf, a display, an encoder), import it as target instead:
//! [`Importer::target_buffer`](crate::Importer::target_buffer).

use std::sync::Arc;

use arrayvec::ArrayVec;
use ash::{ext, vk};
use dmaframe_core::{Access, Buffer as FrameBuffer, Fourcc, Layout, Modifier, Object, Plane, Size};

use crate::error::{Error, Refusal, Route};
use crate::formats;
use crate::gpu::Gpu;
use crate::import::{BufferImport, ImageImport, PlaneImage};
use crate::sys::image::{Image, Spec, Tiling};
use crate::sys::memory::{Buffer, Dedicated, Memory};
use crate::sys::query;

const DMA_BUF: vk::ExternalMemoryHandleTypeFlags = vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT;

/// Row pitch of exported buffers: what every known device takes for linear pictures.
const PITCH: u32 = 256;

/// One slot of an export pool: the same memory for Vulkan and as a frame's buffer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exported<T> {
    /// To write with.
    pub import: Arc<T>,
    /// To make frames of. Proved to be a dma-buf, of its true size.
    pub buffer: Arc<FrameBuffer>,
}

/// A linear picture in a `VkBuffer`, rows 256 bytes apart, for compute shaders and copies. Any format of the core's
/// table.
///
/// # Errors
/// [`Error::Refused`], [`Error::Frame`] for a format without geometry, [`Error::DeviceLost`].
pub fn buffer(
    gpu: &Gpu,
    fourcc: Fourcc,
    size: Size,
    usage: vk::BufferUsageFlags,
    generation: u64,
) -> Result<Exported<BufferImport>, Error> {
    let layout = Layout::linear(fourcc, size, PITCH).map_err(dmaframe_core::Error::from)?;
    make_buffer(gpu, &layout, usage, generation).map_err(Error::refused(Route::Export))
}

fn make_buffer(
    gpu: &Gpu,
    layout: &Layout,
    usage: vk::BufferUsageFlags,
    generation: u64,
) -> Result<Exported<BufferImport>, Refusal> {
    let context = &gpu.0;
    context.extensions.need_dmabuf()?;
    let sharing = query::buffer_sharing(&context.instance, context.physical, usage, DMA_BUF);
    if !sharing.contains(vk::ExternalMemoryFeatureFlags::EXPORTABLE) {
        return Err(Refusal::NotShareable { operation: "export" });
    }
    let made = Buffer::new(context, layout.object_len(0), usage, DMA_BUF)?;
    let needs = made.needs();
    // Linear pictures are for others, CPUs among them, to which a GPU's own memory is slow or out of reach.
    let liked = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_CACHED;
    let memory = Memory::exportable(context, needs, Dedicated::Buffer(made.handle()), liked)?;
    let object = Arc::new(Object::new(memory.export()?, 0)?);
    let frame = FrameBuffer::new(
        layout.fourcc(),
        layout.modifier(),
        layout.size(),
        [object],
        layout.planes(),
        generation,
    )?;
    let import = BufferImport::of_bound(gpu, made.bind(memory)?, layout);
    Ok(Exported {
        import: Arc::new(import),
        buffer: Arc::new(frame),
    })
}

/// A picture in a `VkImage`, for rendering. The driver picks one of `modifiers` that it lists for the usage; where it
/// knows no modifiers, only [`Modifier::LINEAR`] can be had.
///
/// # Errors
/// [`Error::Refused`]: [`Refusal::ModifierNotListed`] names the first modifier asked for when none is listed.
pub fn image(
    gpu: &Gpu,
    fourcc: Fourcc,
    size: Size,
    usage: vk::ImageUsageFlags,
    modifiers: &[Modifier],
    generation: u64,
) -> Result<Exported<ImageImport>, Error> {
    make_image(gpu, fourcc, size, usage, modifiers, generation).map_err(Error::refused(Route::Export))
}

fn make_image(
    gpu: &Gpu,
    fourcc: Fourcc,
    size: Size,
    usage: vk::ImageUsageFlags,
    wanted: &[Modifier],
    generation: u64,
) -> Result<Exported<ImageImport>, Refusal> {
    let context = &gpu.0;
    context.extensions.need_dmabuf()?;
    let unsupported = |format| Refusal::FormatUnsupported {
        fourcc,
        format,
        usage: "exported image",
    };
    let format = formats::vk_format(fourcc).ok_or_else(|| unsupported(vk::Format::UNDEFINED))?;
    if size.width == 0 || size.height == 0 || fourcc.info().is_none_or(|info| info.planes().len() != 1) {
        return Err(unsupported(format));
    }
    let not_listed = |_| Refusal::ModifierNotListed {
        fourcc,
        modifier: wanted.first().copied().unwrap_or(Modifier::LINEAR),
    };
    let choice = modifiers(gpu, format, size, usage, wanted);
    let tiling = match &choice {
        Some(list) if list.is_empty() => return Err(not_listed(())),
        Some(list) => Tiling::OneOf(list),
        None if wanted.contains(&Modifier::LINEAR) && can_be(gpu, format, None, size, usage) => {
            Tiling::Linear
        }
        None => return Err(not_listed(())),
    };
    let (width, height) = (size.width, size.height);
    let flags = vk::ImageCreateFlags::empty();
    let image = Image::new(
        context,
        Spec {
            format,
            width,
            height,
            usage,
            flags,
            views: &[],
            tiling,
        },
    )?;
    let needs = image.needs(None);
    let liked = vk::MemoryPropertyFlags::DEVICE_LOCAL;
    let memory = Memory::exportable(context, needs, Dedicated::Image(image.handle()), liked)?;
    let object = Arc::new(Object::new(memory.export()?, 0)?);
    let (modifier, places) = match choice {
        Some(_) => {
            let modifier = image.modifier()?;
            let planes = query::modifiers(&context.instance, context.physical, format)
                .iter()
                .find(|e| e.modifier == modifier)
                .map_or(1, |e| e.planes);
            let places = (0..planes as usize).filter_map(|plane| image.memory_plane(plane));
            (Modifier(modifier), places.collect::<ArrayVec<_, 4>>())
        }
        None => (Modifier::LINEAR, [image.linear_layout()].into_iter().collect()),
    };
    let planes: ArrayVec<_, 4> = places
        .iter()
        .map(|place| Plane {
            object: 0,
            offset: place.offset,
            stride: u32::try_from(place.row_pitch).unwrap_or(u32::MAX),
        })
        .collect();
    let frame = FrameBuffer::new(fourcc, modifier, size, [object], &planes, generation)?;
    let mut images = ArrayVec::new();
    images.push(PlaneImage::new(
        image.bind(memory, 0)?,
        format,
        (width, height),
        width,
    ));
    let how = (Access::Write, usage);
    let import = ImageImport::assemble(gpu, images, frame.layout(), Route::Export, how);
    Ok(Exported {
        import: Arc::new(import),
        buffer: Arc::new(frame),
    })
}

/// Those of `wanted` that the driver lists and can export; `None` where it knows no modifiers.
fn modifiers(
    gpu: &Gpu,
    format: vk::Format,
    size: Size,
    usage: vk::ImageUsageFlags,
    wanted: &[Modifier],
) -> Option<Vec<u64>> {
    let context = &gpu.0;
    if !context.extensions.has(ext::image_drm_format_modifier::NAME) {
        return None;
    }
    let listed = query::modifiers(&context.instance, context.physical, format);
    let both = listed
        .iter()
        .map(|e| e.modifier)
        .filter(|m| wanted.contains(&Modifier(*m)) && can_be(gpu, format, Some(*m), size, usage));
    Some(both.collect())
}

fn can_be(
    gpu: &Gpu,
    format: vk::Format,
    modifier: Option<u64>,
    size: Size,
    usage: vk::ImageUsageFlags,
) -> bool {
    let context = &gpu.0;
    let none = vk::ImageCreateFlags::empty();
    let limits = query::image_limits(
        &context.instance,
        context.physical,
        (format, &[]),
        modifier,
        usage,
        none,
    );
    limits.ok().flatten().is_some_and(|found| {
        found
            .external
            .contains(vk::ExternalMemoryFeatureFlags::EXPORTABLE)
            && found.max.width >= size.width
            && found.max.height >= size.height
    })
}
