//! Roles and pixel formats: libcamera's names for what frames and bitstreams call otherwise.

use std::fmt;

use dmaframe_core::format::PlaneFormat;
use dmaframe_core::{Codec, ColorInfo, Fourcc, Layout, LayoutError, Modifier, Plane, Size};
use libcamera::stream::StreamRole;

/// What a stream is for: libcamera proposes a format and size by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A preview.
    ViewFinder,
    /// Video of high quality.
    VideoRecording,
    /// Single pictures of high quality.
    StillCapture,
    /// The sensor's own samples, mostly Bayer.
    Raw,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ViewFinder => "viewfinder",
            Self::VideoRecording => "video",
            Self::StillCapture => "still",
            Self::Raw => "raw",
        })
    }
}

impl From<Role> for StreamRole {
    fn from(role: Role) -> Self {
        match role {
            Role::ViewFinder => Self::ViewFinder,
            Role::VideoRecording => Self::VideoRecording,
            Role::StillCapture => Self::StillCapture,
            Role::Raw => Self::Raw,
        }
    }
}

/// A pixel format as libcamera names it: DRM's code and modifier, with codes and modifiers of its own for packed Bayer
/// and for encoded pictures.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelFormat {
    /// The code.
    pub fourcc: u32,
    /// The modifier.
    pub modifier: u64,
}

/// `MIPI_FORMAT_MOD_CSI2_PACKED` of libcamera's `formats.h`: vendor 0x0b, value 1.
const CSI2_PACKED: u64 = (0x0b << 56) | 1;
/// `IPU3_FORMAT_MOD_PACKED`: 25 samples of 10 bits in 32 bytes. In DRM the same number is a tiling of Intel's GPUs
/// (`I915_FORMAT_MOD_4_TILED_MTL_RC_CCS`), so it must never leave libcamera as a modifier.
const IPU3_PACKED: u64 = (0x01 << 56) | 13;
/// Vendor bytes that libcamera uses for MIPI's and Raspberry Pi's modifiers. In DRM they are other vendors'.
const VENDORS: [u64; 2] = [0x0b, 0x0c];

/// Codes that libcamera spells otherwise than the table of frames' formats.
const SPELLED: [(u32, Fourcc); 4] = [
    (u32::from_le_bytes(*b"BA14"), Fourcc::SGRBG14),
    (u32::from_le_bytes(*b"GR16"), Fourcc::SGRBG16),
    (u32::from_le_bytes(*b"GB16"), Fourcc::SGBRG16),
    (u32::from_le_bytes(*b"BYR2"), Fourcc::SBGGR16),
];

fn spelled(fourcc: Fourcc) -> u32 {
    let theirs = SPELLED.iter().find(|(_, ours)| *ours == fourcc);
    theirs.map_or(fourcc.0, |(theirs, _)| *theirs)
}

/// Packed Bayer: libcamera's code with [`CSI2_PACKED`], and the one code that V4L2 has for both together.
const PACKED: [(Fourcc, Fourcc); 12] = [
    (Fourcc::SRGGB10, Fourcc::SRGGB10P),
    (Fourcc::SGRBG10, Fourcc::SGRBG10P),
    (Fourcc::SGBRG10, Fourcc::SGBRG10P),
    (Fourcc::SBGGR10, Fourcc::SBGGR10P),
    (Fourcc::SRGGB12, Fourcc::SRGGB12P),
    (Fourcc::SGRBG12, Fourcc::SGRBG12P),
    (Fourcc::SGBRG12, Fourcc::SGBRG12P),
    (Fourcc::SBGGR12, Fourcc::SBGGR12P),
    (Fourcc::SRGGB14, Fourcc::SRGGB14P),
    (Fourcc::SGRBG14, Fourcc::SGRBG14P),
    (Fourcc::SGBRG14, Fourcc::SGBRG14P),
    (Fourcc::SBGGR14, Fourcc::SBGGR14P),
];

impl PixelFormat {
    /// A linear format of frames.
    #[must_use]
    pub fn linear(fourcc: Fourcc) -> Self {
        match PACKED.iter().find(|(_, packed)| *packed == fourcc) {
            Some((plain, _)) => Self {
                fourcc: spelled(*plain),
                modifier: CSI2_PACKED,
            },
            None => Self {
                fourcc: spelled(fourcc),
                modifier: Modifier::LINEAR.0,
            },
        }
    }

    /// An encoded format.
    #[must_use]
    pub fn encoded(codec: Codec) -> Self {
        Self {
            fourcc: codec.0,
            modifier: 0,
        }
    }

    /// The frame's format, if it is one of the table's.
    #[must_use]
    pub fn frame(self) -> Option<(Fourcc, Modifier)> {
        let ours = SPELLED.iter().find(|(theirs, _)| *theirs == self.fourcc);
        let fourcc = ours.map_or(Fourcc(self.fourcc), |(_, ours)| *ours);
        if self.modifier == CSI2_PACKED {
            let (_, packed) = PACKED.iter().find(|(plain, _)| *plain == fourcc)?;
            return Some((*packed, Modifier::LINEAR));
        }
        let foreign = VENDORS.contains(&(self.modifier >> 56)) || self.modifier == IPU3_PACKED;
        (!foreign && fourcc.info().is_some()).then_some((fourcc, Modifier(self.modifier)))
    }

    /// The codec, if it is an encoded format.
    #[must_use]
    pub fn codec(self) -> Option<Codec> {
        let codecs = [Codec::MJPEG, Codec::JPEG, Codec::H264, Codec::HEVC];
        codecs
            .into_iter()
            .find(|codec| codec.0 == self.fourcc && self.modifier == 0)
    }

    pub(crate) fn from_libcamera(format: libcamera::pixel_format::PixelFormat) -> Self {
        let (fourcc, modifier) = format.to_raw();
        Self { fourcc, modifier }
    }

    pub(crate) fn to_libcamera(self) -> libcamera::pixel_format::PixelFormat {
        libcamera::pixel_format::PixelFormat::new(self.fourcc, self.modifier)
    }
}

impl From<Fourcc> for PixelFormat {
    fn from(fourcc: Fourcc) -> Self {
        Self::linear(fourcc)
    }
}

impl From<Codec> for PixelFormat {
    fn from(codec: Codec) -> Self {
        Self::encoded(codec)
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fourcc(self.fourcc).fmt(f)?;
        match self.modifier {
            0 => Ok(()),
            CSI2_PACKED => f.write_str(" (CSI-2 packed)"),
            IPU3_PACKED => f.write_str(" (IPU3 packed)"),
            other => write!(f, " (modifier {other:#018x})"),
        }
    }
}

impl fmt::Debug for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PixelFormat({self})")
    }
}

/// One stream to ask a camera for. What is left out libcamera chooses by the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct StreamRequest {
    pub(crate) role: Role,
    pub(crate) size: Option<Size>,
    pub(crate) format: Option<PixelFormat>,
    pub(crate) buffers: Option<u32>,
}

impl StreamRequest {
    /// A stream for `role`.
    pub const fn new(role: Role) -> Self {
        Self {
            role,
            size: None,
            format: None,
            buffers: None,
        }
    }

    /// Asks for this size; the camera takes the nearest it has.
    pub fn size(mut self, size: Size) -> Self {
        self.size = Some(size);
        self
    }

    /// Asks for this format; a camera that has not got it is an error.
    pub fn format(mut self, format: impl Into<PixelFormat>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// So many buffers; by default 6: two for the camera to fill, four for consumers. The camera may need more, or
    /// have fewer.
    pub fn buffers(mut self, count: u32) -> Self {
        self.buffers = Some(count);
        self
    }
}

/// A format that a camera offers for a role.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OfferedFormat {
    /// The pixel format.
    pub format: PixelFormat,
    /// The sizes, smallest first; of a range of sizes those that libcamera names. Empty where it names none.
    pub sizes: Vec<Size>,
}

/// A configured stream, as libcamera has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamFormat {
    /// What it was asked for.
    pub role: Role,
    /// The pixel format.
    pub format: PixelFormat,
    /// The picture's size.
    pub size: Size,
    /// Bytes from one row of the first plane to the next; 0 for encoded formats.
    pub stride: u32,
    /// Bytes of a whole picture with its padding, or the most that an encoded one has.
    pub frame_size: u32,
    /// Buffers the stream was configured for.
    pub buffers: u32,
    /// Colour, by H.273.
    pub color: ColorInfo,
}

impl StreamFormat {
    /// Where the picture lies in one dma-buf of [`frame_size`](Self::frame_size) bytes or more, planes one behind
    /// another: what buffers to import have to look like.
    ///
    /// # Errors
    /// [`LayoutError`] for formats that are in no table, encoded ones among them.
    pub fn layout(&self) -> Result<Layout, LayoutError> {
        let unknown = LayoutError::UnknownFormat {
            fourcc: Fourcc(self.format.fourcc),
        };
        let (fourcc, modifier) = self.format.frame().ok_or(unknown)?;
        let planes = contiguous(fourcc, self.size, self.stride, 0)?;
        let end = planes.iter().enumerate().map(|(index, plane)| {
            plane.offset + u64::from(plane.stride) * u64::from(rows(fourcc, index, self.size))
        });
        let size = end.max().unwrap_or(0).max(u64::from(self.frame_size));
        Layout::check(fourcc, modifier, self.size, &planes, &[size])
    }
}

fn rows(fourcc: Fourcc, plane: usize, size: Size) -> u32 {
    let planes = fourcc.info().map_or(&[][..], |info| info.planes());
    planes.get(plane).map_or(0, |plane| plane.rows(size.height))
}

/// Planes one behind another in one object, from `start` on.
pub(crate) fn contiguous(
    fourcc: Fourcc,
    size: Size,
    stride: u32,
    start: u64,
) -> Result<Vec<Plane>, LayoutError> {
    let info = fourcc.info().ok_or(LayoutError::UnknownFormat { fourcc })?;
    let mut offset = start;
    let mut planes = Vec::new();
    for (index, plane) in info.planes().iter().enumerate() {
        let stride = plane_stride(info.planes(), index, stride)?;
        planes.push(Plane {
            object: 0,
            offset,
            stride,
        });
        // A u32 times a u32; the sum of three of them overflows for no picture that a `u32` counts the bytes of.
        offset = offset
            .checked_add(u64::from(stride) * u64::from(plane.rows(size.height)))
            .ok_or(LayoutError::Overflow { plane: index })?;
    }
    Ok(planes)
}

/// The stride of a plane, of which libcamera says only the first one's: as many columns wide as that.
///
/// Source: `PixelFormatInfo::stride()`, which multiplies both by the same number of groups of pixels.
pub(crate) fn plane_stride(planes: &[PlaneFormat], index: usize, stride: u32) -> Result<u32, LayoutError> {
    let (Some(first), Some(plane)) = (planes.first(), planes.get(index)) else {
        return Ok(0);
    };
    // Bytes for each picture column are block_bytes / (block_width * h_sub); the quotient of the two planes' times the
    // first one's stride.
    let columns = |plane: &PlaneFormat| u64::from(plane.block_width) * u64::from(plane.h_sub);
    let bytes = u64::from(stride) * u64::from(plane.block_bytes) * columns(first);
    let found = bytes / (u64::from(first.block_bytes) * columns(plane)).max(1);
    u32::try_from(found).map_err(|_| LayoutError::Overflow { plane: index })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bayer_is_one_code_and_unknown_modifiers_are_no_format() {
        let packed = PixelFormat::linear(Fourcc::SRGGB10P);
        assert_eq!((packed.fourcc, packed.modifier), (Fourcc::SRGGB10.0, CSI2_PACKED));
        assert_eq!(packed.frame(), Some((Fourcc::SRGGB10P, Modifier::LINEAR)));
        assert_eq!(packed.to_string(), "RG10 (CSI-2 packed)");
        let compressed = PixelFormat {
            fourcc: Fourcc::SRGGB16.0,
            modifier: (0x0c << 56) | 1,
        };
        assert_eq!(compressed.frame(), None, "a Raspberry Pi's compressed Bayer");
        assert_eq!(
            PixelFormat::from(Fourcc::NV12).frame(),
            Some((Fourcc::NV12, Modifier::LINEAR))
        );
        assert_eq!(PixelFormat::from(Codec::MJPEG).codec(), Some(Codec::MJPEG));
        assert_eq!(PixelFormat::from(Codec::MJPEG).frame(), None);
    }

    /// Against libcamera's own names: a code that we spell otherwise would be refused by every camera.
    #[test]
    fn codes_are_libcameras() {
        let named = |name: &str| {
            let format: libcamera::pixel_format::PixelFormat = name.parse().unwrap();
            PixelFormat::from_libcamera(format)
        };
        for (theirs, ours) in [
            ("NV12", Fourcc::NV12),
            ("YUYV", Fourcc::YUYV),
            ("YUV420", Fourcc::YUV420),
            ("BGR888", Fourcc::BGR888),
            ("XRGB8888", Fourcc::XRGB8888),
            ("SRGGB10", Fourcc::SRGGB10),
            ("SGRBG12", Fourcc::SGRBG12),
            ("SGRBG14", Fourcc::SGRBG14),
            ("SBGGR16", Fourcc::SBGGR16),
            ("SGBRG16", Fourcc::SGBRG16),
            ("SGRBG16", Fourcc::SGRBG16),
            ("SGRBG14_CSI2P", Fourcc::SGRBG14P),
            ("SRGGB16", Fourcc::SRGGB16),
            ("SRGGB10_CSI2P", Fourcc::SRGGB10P),
            ("SGBRG12_CSI2P", Fourcc::SGBRG12P),
            ("SBGGR14_CSI2P", Fourcc::SBGGR14P),
            ("R8", Fourcc::R8),
        ] {
            let theirs = named(theirs);
            assert_eq!(theirs, PixelFormat::linear(ours), "{ours}");
            assert_eq!(theirs.frame(), Some((ours, Modifier::LINEAR)));
        }
        assert_eq!(named("MJPEG").codec(), Some(Codec::MJPEG));
        // What DRM has no name for, although it has the number.
        for name in ["SRGGB10_IPU3", "SGRBG10_IPU3", "SGBRG10_IPU3", "SBGGR10_IPU3"] {
            let packed = named(name);
            assert_eq!((packed.frame(), packed.codec()), (None, None), "{name}");
            assert!(packed.to_string().ends_with(" (IPU3 packed)"), "{packed}");
        }
    }

    #[test]
    fn other_planes_are_as_wide_as_the_first() {
        let strides = |fourcc: Fourcc, stride| {
            let planes = contiguous(fourcc, Size::new(640, 360), stride, 0).unwrap();
            planes.iter().map(|p| (p.offset, p.stride)).collect::<Vec<_>>()
        };
        assert_eq!(strides(Fourcc::NV12, 704), [(0, 704), (704 * 360, 704)]);
        assert_eq!(
            strides(Fourcc::YUV420, 704),
            [(0, 704), (704 * 360, 352), (704 * 360 + 352 * 180, 352)]
        );
        assert_eq!(strides(Fourcc::NV24, 640), [(0, 640), (640 * 360, 1280)]);
        assert_eq!(strides(Fourcc::BGR888, 1920), [(0, 1920)]);
    }
}
