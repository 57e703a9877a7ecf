//! Making the images of an import: what is asked of the driver first, and in which of three ways.

use arrayvec::ArrayVec;
use ash::{ext, vk};
use dmaframe_core::{Access, Buffer as FrameBuffer, Layout};

use super::image::PlaneImage;
use super::object;
use crate::error::{Refusal, Route};
use crate::formats;
use crate::gpu::Gpu;
use crate::sys::image::{BoundImage, Image, Spec, Tiling};
use crate::sys::memory::{self, Dedicated, Memory};
use crate::sys::query;

/// What an import as images needs to know besides the frame.
#[derive(Clone, Copy)]
pub(super) struct Want {
    pub(super) usage: vk::ImageUsageFlags,
    pub(super) access: Access,
    pub(super) multi_planar: bool,
}

/// The images of a frame, and by which route they came.
pub(super) fn images(
    gpu: &Gpu,
    frame: &FrameBuffer,
    want: Want,
) -> Result<(ArrayVec<PlaneImage, 4>, Route), Refusal> {
    if !frame.is_dmabuf() {
        return Err(Refusal::NotDmabuf);
    }
    gpu.0.extensions.need_dmabuf()?;
    let layout = frame.layout();
    // Only what comes from the foreign family comes in a layout that is known. From nowhere, a driver may begin the metadata
    // of compression anew: the picture would be lost, and the producer's memory written. (Of the implicit modifier no image is
    // made at all.)
    let compressed = layout.modifier().may_be_compressed() && !layout.modifier().is_implicit();
    if want.access == Access::Read && gpu.0.foreign().is_none() && compressed {
        return Err(Refusal::ExtensionOff(ext::queue_family_foreign::NAME));
    }
    let colour_planes = layout.info().planes().len();
    let modifiers = gpu.0.extensions.need(ext::image_drm_format_modifier::NAME);
    let mut images = ArrayVec::new();
    let route = if want.multi_planar || colour_planes == 1 {
        match modifiers {
            Ok(()) => images.push(whole(gpu, frame, want)?),
            Err(refusal) if want.multi_planar || !layout.modifier().is_linear() => return Err(refusal),
            Err(_) => images.push(plain(gpu, frame, 0, want)?),
        }
        if colour_planes == 1 {
            Route::Image
        } else {
            Route::MultiPlanarImage
        }
    } else {
        if let (Err(refusal), false) = (&modifiers, layout.modifier().is_linear()) {
            return Err(refusal.clone());
        }
        for plane in 0..colour_planes {
            images.push(match modifiers {
                Ok(()) => single(gpu, frame, plane, want)?,
                Err(_) => plain(gpu, frame, plane, want)?,
            });
        }
        Route::Image
    };
    Ok((images, route))
}

/// An image without memory, and whether the driver wants memory of its own for it. The driver is asked before anything is
/// made: it says yes in `vkCreateImage` to modifiers it does not have.
fn make(gpu: &Gpu, layout: &Layout, spec: Spec<'_>) -> Result<(Image, bool), Refusal> {
    let dedicated = limits(gpu, layout, &spec)?;
    Ok((Image::new(&gpu.0, spec)?, dedicated))
}

fn limits(gpu: &Gpu, layout: &Layout, spec: &Spec<'_>) -> Result<bool, Refusal> {
    let context = &gpu.0;
    let Spec {
        format,
        width,
        height,
        ..
    } = *spec;
    let modifier = match spec.tiling {
        Tiling::Explicit(modifier, _) => Some(modifier),
        Tiling::Linear | Tiling::OneOf(_) => None,
    };
    let found = query::image_limits(
        &context.instance,
        context.physical,
        (format, spec.views),
        modifier,
        spec.usage,
        spec.flags,
    )
    .map_err(Refusal::vk("vkGetPhysicalDeviceImageFormatProperties2"))?;
    let Some(found) = found else {
        return Err(Refusal::FormatUnsupported {
            fourcc: layout.fourcc(),
            format,
            usage: "dma-buf image of the wanted usage",
        });
    };
    if !found
        .external
        .contains(vk::ExternalMemoryFeatureFlags::IMPORTABLE)
    {
        return Err(Refusal::NotShareable { operation: "import" });
    }
    if width > found.max.width || height > found.max.height {
        return Err(Refusal::TooLarge {
            width,
            height,
            max_width: found.max.width,
            max_height: found.max.height,
        });
    }
    Ok(found
        .external
        .contains(vk::ExternalMemoryFeatureFlags::DEDICATED_ONLY))
}

/// The driver's entry for the layout's modifier, which must have so many memory planes.
fn listed(
    gpu: &Gpu,
    layout: &Layout,
    format: vk::Format,
    planes: usize,
) -> Result<query::ModifierEntry, Refusal> {
    let context = &gpu.0;
    let (fourcc, modifier) = (layout.fourcc(), layout.modifier());
    let entries = query::modifiers(&context.instance, context.physical, format);
    let entry = entries
        .into_iter()
        .find(|e| e.modifier == modifier.0 && !modifier.is_implicit())
        .ok_or(Refusal::ModifierNotListed { fourcc, modifier })?;
    if entry.planes as usize != planes {
        return Err(Refusal::PlaneCount {
            fourcc,
            modifier,
            driver: entry.planes,
            frame: u32::try_from(planes).unwrap_or(u32::MAX),
        });
    }
    Ok(entry)
}

fn no_format(layout: &Layout, usage: &'static str) -> Refusal {
    Refusal::FormatUnsupported {
        fourcc: layout.fourcc(),
        format: vk::Format::UNDEFINED,
        usage,
    }
}

fn place(layout: &Layout, plane: usize) -> vk::SubresourceLayout {
    let plane = layout.planes()[plane];
    vk::SubresourceLayout {
        offset: plane.offset,
        row_pitch: u64::from(plane.stride),
        ..Default::default()
    }
}

fn import(
    gpu: &Gpu,
    frame: &FrameBuffer,
    index: usize,
    image: &Image,
    needs: (memory::Needs, u64),
    dedicated: bool,
    want: Want,
) -> Result<Memory, Refusal> {
    let own = (Dedicated::Image(image.handle()), dedicated);
    object::import(&gpu.0, frame, index, needs, own, want.access)
}

/// Gives the image the object's memory, whose modifier's places count from its start.
fn bind(
    gpu: &Gpu,
    frame: &FrameBuffer,
    index: usize,
    image: Image,
    dedicated: bool,
    want: Want,
) -> Result<BoundImage, Refusal> {
    let needs = image.needs(None);
    let memory = import(gpu, frame, index, &image, (needs, needs.size), dedicated, want)?;
    image.bind(memory, 0)
}

/// All planes as one image with a modifier: single-plane formats with their metadata planes, or multi-planar ones.
fn whole(gpu: &Gpu, frame: &FrameBuffer, want: Want) -> Result<PlaneImage, Refusal> {
    let layout = frame.layout();
    let (width, height) = (layout.size().width, layout.size().height);
    let format = formats::vk_format(layout.fourcc()).ok_or_else(|| no_format(layout, "image"))?;
    let colour = layout.info().planes();
    // Packed 4:2:2 has two pixels in a block; planar formats have them in the sub-sampled planes.
    let odd = colour.iter().any(|p| {
        width % (u32::from(p.h_sub.max(1)) * u32::from(p.block_width.max(1))) != 0
            || height % u32::from(p.v_sub.max(1)) != 0
    });
    if odd {
        // VUID-VkImageCreateInfo-format-04712, -04713.
        return Err(Refusal::FormatUnsupported {
            fourcc: layout.fourcc(),
            format,
            usage: "sub-sampled image of an odd size",
        });
    }
    let entry = listed(gpu, layout, format, layout.planes().len())?;
    let objects = distinct(frame);
    let disjoint = objects.len() > 1;
    let refused = || Refusal::Disjoint {
        fourcc: layout.fourcc(),
        objects: objects.len(),
    };
    let mut flags = vk::ImageCreateFlags::empty();
    if disjoint {
        // lavapipe 26.1 lists DISJOINT and crashes when the second plane is bound.
        if !entry.features.contains(vk::FormatFeatureFlags::DISJOINT) || gpu.0.is_lavapipe() {
            return Err(refused());
        }
        flags |= vk::ImageCreateFlags::DISJOINT;
    }
    let places: ArrayVec<_, 4> = (0..layout.planes().len())
        .map(|plane| place(layout, plane))
        .collect();
    let alone = Spec {
        format,
        width,
        height,
        usage: want.usage,
        flags,
        views: &[],
        tiling: Tiling::Explicit(entry.modifier, &places),
    };
    // Planes can be viewed on their own where the driver makes images that allow it.
    let mut views = plane_views(gpu, layout, format);
    let viewed = Spec {
        flags: flags | vk::ImageCreateFlags::MUTABLE_FORMAT,
        views: &views,
        ..alone
    };
    let (image, dedicated) = match (!views.is_empty()).then(|| limits(gpu, layout, &viewed)) {
        Some(Ok(dedicated)) => (Image::new(&gpu.0, viewed)?, dedicated),
        _ => {
            views.clear();
            make(gpu, layout, alone)?
        }
    };
    // The list names the image's own format first.
    let views = views.into_iter().skip(1).collect();
    let bound = if disjoint {
        let mut memories = ArrayVec::new();
        for (index, plane) in layout.planes().iter().enumerate() {
            let needs = image.needs(Some(index));
            // Memory of an image's own is for all of it: VUID-VkMemoryDedicatedAllocateInfo-image-01797.
            if needs.only_dedicated {
                return Err(refused());
            }
            let (object, shared) = (plane.object, (Dedicated::No, false));
            let size = (needs, needs.size);
            memories.push(object::import(&gpu.0, frame, object, size, shared, want.access)?);
        }
        image.bind_planes(memories)?
    } else {
        bind(gpu, frame, 0, image, dedicated, want)?
    };
    let planes = u32::try_from(colour.len()).unwrap_or(1);
    Ok(PlaneImage::new(bound, format, (width, height), width).with_planes(planes, views))
}

/// The formats that an image of this multi-planar format and its planes may be viewed in, its own first. None for one plane,
/// and without `VkImageFormatListCreateInfo`, which images with modifiers need for it.
fn plane_views(gpu: &Gpu, layout: &Layout, format: vk::Format) -> ArrayVec<vk::Format, 4> {
    let planes = layout.info().planes().len();
    let context = &gpu.0;
    let list = context.identity.api_version >= vk::API_VERSION_1_2
        || context.extensions.has(ash::khr::image_format_list::NAME);
    if planes == 1 || !list {
        return ArrayVec::new();
    }
    let formats = (0..planes).map(|plane| formats::plane_format(layout.fourcc(), plane));
    let all: Option<ArrayVec<_, 3>> = formats.take(3).collect();
    all.map_or_else(ArrayVec::new, |all| [format].into_iter().chain(all).collect())
}

fn distinct(frame: &FrameBuffer) -> ArrayVec<dmaframe_core::Identity, 4> {
    let mut seen = ArrayVec::new();
    for identity in frame.identities() {
        if !seen.contains(&identity) {
            seen.push(identity);
        }
    }
    seen
}

/// One colour plane as an image of its own, with the frame's modifier.
fn single(gpu: &Gpu, frame: &FrameBuffer, plane: usize, want: Want) -> Result<PlaneImage, Refusal> {
    let layout = frame.layout();
    let (width, height) = plane_size(layout, plane);
    let format =
        formats::plane_format(layout.fourcc(), plane).ok_or_else(|| no_format(layout, "image per plane"))?;
    if layout.planes().len() != layout.info().planes().len() {
        // Metadata planes belong to the whole image.
        return Err(Refusal::PlaneCount {
            fourcc: layout.fourcc(),
            modifier: layout.modifier(),
            driver: 1,
            frame: u32::try_from(layout.planes().len()).unwrap_or(u32::MAX),
        });
    }
    let entry = listed(gpu, layout, format, 1)?;
    let spec = Spec {
        format,
        width,
        height,
        usage: want.usage,
        flags: vk::ImageCreateFlags::empty(),
        views: &[],
        tiling: Tiling::Explicit(entry.modifier, &[place(layout, plane)]),
    };
    let (image, dedicated) = make(gpu, layout, spec)?;
    let bound = bind(gpu, frame, layout.planes()[plane].object, image, dedicated, want)?;
    Ok(PlaneImage::new(bound, format, (width, height), width))
}

/// One plane as a plain linear image, made as wide as the stride so that the driver's own pitch can meet it.
fn plain(gpu: &Gpu, frame: &FrameBuffer, plane: usize, want: Want) -> Result<PlaneImage, Refusal> {
    let layout = frame.layout();
    let (width, height) = plane_size(layout, plane);
    let format =
        formats::plane_format(layout.fourcc(), plane).ok_or_else(|| no_format(layout, "linear image"))?;
    let at = layout.planes()[plane];
    let texel = u32::from(layout.info().planes()[plane].block_bytes).max(1);
    let mismatch = |driver| Refusal::PitchMismatch {
        plane,
        driver,
        frame: u64::from(at.stride),
    };
    if layout.info().planes()[plane].block_width != 1 {
        return Err(no_format(layout, "linear image"));
    }
    if at.stride % texel != 0 {
        return Err(mismatch(u64::from(at.stride / texel * texel)));
    }
    let padded = at.stride / texel;
    let spec = Spec {
        format,
        width: padded,
        height,
        usage: want.usage,
        flags: vk::ImageCreateFlags::empty(),
        views: &[],
        tiling: Tiling::Linear,
    };
    let (image, dedicated) = make(gpu, layout, spec)?;
    let found = image.linear_layout();
    if found.row_pitch != u64::from(at.stride) {
        return Err(mismatch(found.row_pitch));
    }
    let needs = image.needs(None);
    let offset = at
        .offset
        .checked_sub(found.offset)
        .filter(|o| o % needs.alignment.max(1) == 0);
    let offset = offset.ok_or(Refusal::OffsetAlignment {
        plane,
        offset: at.offset,
        alignment: needs.alignment,
    })?;
    if (dedicated || needs.dedicated) && offset != 0 {
        // Memory of the image's own is bound at its start.
        return Err(Refusal::OffsetAlignment {
            plane,
            offset: at.offset,
            alignment: u64::MAX,
        });
    }
    let size = offset.saturating_add(needs.size);
    let memory = import(gpu, frame, at.object, &image, (needs, size), dedicated, want)?;
    Ok(PlaneImage::new(
        image.bind(memory, offset)?,
        format,
        (width, height),
        padded,
    ))
}

fn plane_size(layout: &Layout, plane: usize) -> (u32, u32) {
    let format = layout.info().planes()[plane];
    let size = layout.size();
    (
        size.width.div_ceil(u32::from(format.h_sub.max(1))),
        format.rows(size.height),
    )
}
