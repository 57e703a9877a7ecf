//! Frames as textures: for tiled layouts, and for the texture units' filtering.

use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_core::Frame;
use dmaframe_vulkan::ash::vk;
use dmaframe_vulkan::{ImageImport, formats};

use super::imported::{Kept, Shared};
use super::importer::{Tried, refused};
use super::{Gpu, Source, sys, version, wgpu};
use crate::{Error, Refusal, Route};

/// One texture for each plane.
pub(super) fn import(gpu: &Gpu, frame: &Frame) -> Result<Tried, Error> {
    let Some(vulkan) = gpu.vulkan() else {
        return Ok(Tried::Refused(Refusal::NotVulkan));
    };
    let import = wgpu_formats(gpu, frame).and_then(|formats| {
        let import = ImageImport::from_dmabuf(vulkan, frame, sys::SAMPLED, Route::Image)?;
        Ok((import, formats))
    });
    let (import, formats) = match import {
        Ok(both) => both,
        Err(refusal) => return refused(Route::Image, refusal),
    };
    let (planes, handles) = sys::textures(gpu.device(), import, &formats, gpu.foreign())?;
    let shared = Shared {
        images: handles,
        ..Shared::default()
    };
    let kept = Kept::new(Route::Image, Source::Textures(planes), shared);
    if gpu.foreign() && !version::KEEPS_CONTENTS {
        // wgpu begins with a transition from nowhere. It is brought about now, and the images given back: from here on
        // each use takes them over as they are.
        let commands = sys::give_back(gpu, std::iter::once(&kept), false)?;
        gpu.run(super::submit::Work {
            commands: commands.into_iter().collect(),
            ..Default::default()
        })?;
    }
    Ok(Tried::Taken(Arc::new(kept)))
}

/// Whether a texture's first use leaves its contents: wgpu has to be told in which layout it comes, and that is known only of
/// what is taken over from the foreign family.
fn keeps_contents(foreign: bool) -> bool {
    version::KEEPS_CONTENTS && foreign
}

/// The planes' formats, when wgpu has them here, and pictures so large.
fn wgpu_formats(gpu: &Gpu, frame: &Frame) -> Result<ArrayVec<wgpu::TextureFormat, 4>, Refusal> {
    let layout = frame.layout();
    let colour = layout.info().planes().len();
    if layout.planes().len() != colour && !keeps_contents(gpu.foreign()) {
        // The transition from nowhere would reset compression metadata, and with it the picture.
        return Err(Refusal::PlaneCount {
            fourcc: layout.fourcc(),
            modifier: layout.modifier(),
            driver: u32::try_from(colour).unwrap_or(u32::MAX),
            frame: u32::try_from(layout.planes().len()).unwrap_or(u32::MAX),
        });
    }
    let unsupported = |format, usage| Refusal::FormatUnsupported {
        fourcc: layout.fourcc(),
        format,
        usage,
    };
    // Some have it beside the pixels, in the same plane. Of the implicit modifier no driver makes an image.
    let modifier = layout.modifier();
    if modifier.may_be_compressed() && !modifier.is_implicit() && !keeps_contents(gpu.foreign()) {
        return Err(unsupported(
            vk::Format::UNDEFINED,
            "wgpu texture that begins with compressed pixels",
        ));
    }
    let mut found = ArrayVec::new();
    for (index, plane) in layout.info().planes().iter().enumerate() {
        let format = formats::plane_format(layout.fourcc(), index)
            .ok_or(unsupported(vk::Format::UNDEFINED, "texture"))?;
        let wgpu_format = texture_format(format).ok_or(unsupported(vk::Format::UNDEFINED, "wgpu texture"))?;
        if !gpu.device().features().contains(wgpu_format.required_features()) {
            return Err(unsupported(format, "wgpu texture without its feature"));
        }
        let texel = u32::from(plane.block_bytes).max(1);
        let width = (layout.planes().get(index)).map_or(0, |plane| plane.stride / texel);
        let limit = gpu.device().limits().max_texture_dimension_2d;
        let height = layout.rows(index);
        // On some devices the texture is as wide as the stride.
        if width > limit || height > limit {
            return Err(Refusal::TooLarge {
                width,
                height,
                max_width: limit,
                max_height: limit,
            });
        }
        found.push(wgpu_format);
    }
    Ok(found)
}

/// What wgpu calls it.
fn texture_format(format: vk::Format) -> Option<wgpu::TextureFormat> {
    use wgpu::TextureFormat as T;
    Some(match format {
        vk::Format::R8_UNORM => T::R8Unorm,
        vk::Format::R8G8_UNORM => T::Rg8Unorm,
        vk::Format::R16_UNORM => T::R16Unorm,
        vk::Format::R16G16_UNORM => T::Rg16Unorm,
        vk::Format::B8G8R8A8_UNORM => T::Bgra8Unorm,
        vk::Format::R8G8B8A8_UNORM => T::Rgba8Unorm,
        vk::Format::A2B10G10R10_UNORM_PACK32 => T::Rgb10a2Unorm,
        vk::Format::R16G16B16A16_UNORM => T::Rgba16Unorm,
        vk::Format::R16G16B16A16_SFLOAT => T::Rgba16Float,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_images_are_refused_where_their_first_use_would_come_from_nowhere() {
        // On a toolkit's device nothing is taken over, whatever the version.
        assert!(!keeps_contents(false));
        assert_eq!(keeps_contents(true), version::KEEPS_CONTENTS);
    }
}
