//! Fourcc and `VkFormat`.
//!
//! Vulkan names components from the first byte (or, for `PACK` formats, from the most significant bit); DRM names
//! them from the most significant bit of a little-endian word. The table says each pair once.

use ash::vk;
use dmaframe_core::Fourcc;
use dmaframe_core::format::PlaneFormat;

/// The `VkFormat` whose texels are this fourcc's pixels; a multi-planar one for planar formats. `None` when Vulkan has
/// none (the buffer route takes those).
#[must_use]
pub fn vk_format(fourcc: Fourcc) -> Option<vk::Format> {
    TABLE
        .iter()
        .find(|(code, _)| *code == fourcc)
        .map(|(_, format)| *format)
}

/// The `VkFormat` of one plane on its own: R8 for luma, R8G8 for interleaved chroma, 16-bit ones for deeper samples.
/// For single-plane formats the same as [`vk_format`].
#[must_use]
pub fn plane_format(fourcc: Fourcc, plane: usize) -> Option<vk::Format> {
    let info = fourcc.info()?;
    if info.planes().len() == 1 {
        return vk_format(fourcc);
    }
    let PlaneFormat {
        block_width,
        block_bytes,
        ..
    } = *info.planes().get(plane)?;
    if block_width != 1 {
        // Samples that share bytes (NV15, P030) are no texels.
        return None;
    }
    match (block_bytes, info.depth > 8) {
        (1, false) => Some(vk::Format::R8_UNORM),
        (2, false) => Some(vk::Format::R8G8_UNORM),
        (2, true) => Some(vk::Format::R16_UNORM),
        (4, true) => Some(vk::Format::R16G16_UNORM),
        _ => None,
    }
}

/// Whether a Vulkan format is one of Y'CbCr's: of several planes, or with pixels that share samples.
pub(crate) fn is_ycbcr(format: vk::Format) -> bool {
    // Those of VK_KHR_sampler_ycbcr_conversion (of which the one-component ones, and the pairs, are ordinary), and of
    // VK_EXT_ycbcr_2plane_444_formats.
    let ordinary = [
        vk::Format::R10X6_UNORM_PACK16,
        vk::Format::R10X6G10X6_UNORM_2PACK16,
        vk::Format::R12X4_UNORM_PACK16,
        vk::Format::R12X4G12X4_UNORM_2PACK16,
    ];
    let within =
        |first: vk::Format, last: vk::Format| (first.as_raw()..=last.as_raw()).contains(&format.as_raw());
    !ordinary.contains(&format)
        && (within(
            vk::Format::G8B8G8R8_422_UNORM,
            vk::Format::G16_B16_R16_3PLANE_444_UNORM,
        ) || within(
            vk::Format::G8_B8R8_2PLANE_444_UNORM,
            vk::Format::G16_B16R16_2PLANE_444_UNORM,
        ))
}

/// Every fourcc with a `VkFormat` of its own.
pub fn known() -> impl Iterator<Item = (Fourcc, vk::Format)> {
    TABLE.iter().copied()
}

const TABLE: &[(Fourcc, vk::Format)] = &[
    (Fourcc::NV12, vk::Format::G8_B8R8_2PLANE_420_UNORM),
    (Fourcc::ARGB8888, vk::Format::B8G8R8A8_UNORM),
    (Fourcc::XRGB8888, vk::Format::B8G8R8A8_UNORM),
    (Fourcc::ABGR8888, vk::Format::R8G8B8A8_UNORM),
    (Fourcc::XBGR8888, vk::Format::R8G8B8A8_UNORM),
    (Fourcc::R8, vk::Format::R8_UNORM),
    (Fourcc::GR88, vk::Format::R8G8_UNORM),
    (Fourcc::R16, vk::Format::R16_UNORM),
    (Fourcc::GR1616, vk::Format::R16G16_UNORM),
    (Fourcc::RGB565, vk::Format::R5G6B5_UNORM_PACK16),
    (Fourcc::BGR565, vk::Format::B5G6R5_UNORM_PACK16),
    (Fourcc::RGB888, vk::Format::B8G8R8_UNORM),
    (Fourcc::BGR888, vk::Format::R8G8B8_UNORM),
    (Fourcc::ARGB2101010, vk::Format::A2R10G10B10_UNORM_PACK32),
    (Fourcc::XRGB2101010, vk::Format::A2R10G10B10_UNORM_PACK32),
    (Fourcc::ABGR2101010, vk::Format::A2B10G10R10_UNORM_PACK32),
    (Fourcc::XBGR2101010, vk::Format::A2B10G10R10_UNORM_PACK32),
    (Fourcc::ABGR16161616, vk::Format::R16G16B16A16_UNORM),
    (Fourcc::XBGR16161616, vk::Format::R16G16B16A16_UNORM),
    (Fourcc::ABGR16161616F, vk::Format::R16G16B16A16_SFLOAT),
    (Fourcc::XBGR16161616F, vk::Format::R16G16B16A16_SFLOAT),
    (Fourcc::NV16, vk::Format::G8_B8R8_2PLANE_422_UNORM),
    (Fourcc::NV24, vk::Format::G8_B8R8_2PLANE_444_UNORM),
    (
        Fourcc::P010,
        vk::Format::G10X6_B10X6R10X6_2PLANE_420_UNORM_3PACK16,
    ),
    (
        Fourcc::P012,
        vk::Format::G12X4_B12X4R12X4_2PLANE_420_UNORM_3PACK16,
    ),
    (Fourcc::P016, vk::Format::G16_B16R16_2PLANE_420_UNORM),
    (
        Fourcc::P210,
        vk::Format::G10X6_B10X6R10X6_2PLANE_422_UNORM_3PACK16,
    ),
    (Fourcc::YUV420, vk::Format::G8_B8_R8_3PLANE_420_UNORM),
    (Fourcc::YUV422, vk::Format::G8_B8_R8_3PLANE_422_UNORM),
    (Fourcc::YUV444, vk::Format::G8_B8_R8_3PLANE_444_UNORM),
    (Fourcc::YUYV, vk::Format::G8B8G8R8_422_UNORM),
    (Fourcc::UYVY, vk::Format::B8G8R8G8_422_UNORM),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_yuv_are_one_and_two_channels() {
        assert_eq!(plane_format(Fourcc::NV12, 0), Some(vk::Format::R8_UNORM));
        assert_eq!(plane_format(Fourcc::NV12, 1), Some(vk::Format::R8G8_UNORM));
        assert_eq!(plane_format(Fourcc::P010, 0), Some(vk::Format::R16_UNORM));
        assert_eq!(plane_format(Fourcc::P010, 1), Some(vk::Format::R16G16_UNORM));
        assert_eq!(plane_format(Fourcc::YUV420, 2), Some(vk::Format::R8_UNORM));
        assert_eq!(plane_format(Fourcc::YUV420, 3), None);
        assert_eq!(plane_format(Fourcc::NV15, 0), None);
        assert_eq!(
            plane_format(Fourcc::XRGB8888, 0),
            Some(vk::Format::B8G8R8A8_UNORM)
        );
    }

    #[test]
    fn formats_whose_pixels_share_samples_are_known() {
        for (fourcc, format) in known() {
            let planes = fourcc.info().unwrap().planes();
            let shares = planes.len() > 1 || planes[0].block_width > 1;
            assert_eq!(is_ycbcr(format), shares, "{fourcc} {format:?}");
        }
        assert!(!is_ycbcr(vk::Format::R10X6G10X6_UNORM_2PACK16));
    }

    #[test]
    fn every_mapped_code_is_in_the_core_table() {
        for (fourcc, _) in known() {
            assert!(fourcc.info().is_some(), "{fourcc}");
        }
    }
}
