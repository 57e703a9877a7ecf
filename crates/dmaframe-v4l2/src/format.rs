//! The format a device delivers: asking, trying, setting, and where its planes lie.

use std::os::fd::AsFd;

use arrayvec::ArrayVec;
use dmaframe_core::{ColorInfo, Layout, Plane, Size};
use rustix::io::Errno;

use crate::color::RawColor;
use crate::device::Device;
use crate::error::Error;
use crate::pixelformat::{FrameFormat, PixelFormat};
use crate::sys::abi::{self, Plain};
use crate::sys::{self, AnyFormat, FormatCall};

/// Field order (`V4L2_FIELD_*`), open like every code of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// Whole pictures: the only order a frame has.
    Progressive,
    /// Two fields in one buffer, interleaved or one after the other, or fields in buffers of their own. The number is
    /// the kernel's.
    Interlaced(u32),
}

impl Field {
    /// From the kernel's number. 0 (`ANY`) is no answer a driver should give; taken as progressive, as everybody does.
    pub(crate) fn from_raw(raw: u32) -> Self {
        match raw {
            abi::FIELD_ANY | abi::FIELD_NONE => Self::Progressive,
            other => Self::Interlaced(other),
        }
    }
}

/// What to ask of a device. Whatever is left `None` stays as the device has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormatRequest {
    /// Pixel format.
    pub pixel_format: Option<PixelFormat>,
    /// Size in pixels; the driver takes the nearest it has.
    pub size: Option<Size>,
    /// Bytes per row wanted for the first plane; the driver takes it, a larger one, or its own.
    pub stride: Option<u32>,
}

impl FormatRequest {
    /// A pixel format and a size.
    #[must_use]
    pub fn new(pixel_format: PixelFormat, size: Size) -> Self {
        Self {
            pixel_format: Some(pixel_format),
            size: Some(size),
            stride: None,
        }
    }
}

/// One memory plane of a format (a dma-buf once there are buffers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryPlane {
    /// Bytes a buffer must have.
    pub size: u32,
    /// Bytes from one row to the next of the first colour plane in it; 0 for encoded formats.
    pub stride: u32,
}

/// A format as the driver reports it. Numbers in it are the driver's own claims, checked by
/// [`Format::layout`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Format {
    /// Pixel format.
    pub pixel_format: PixelFormat,
    /// Coded size in pixels.
    pub size: Size,
    /// Field order.
    pub field: Field,
    /// Colour, with the driver's defaults resolved by the rules of the kernel's headers.
    pub color: ColorInfo,
    /// The four colour fields as the driver set them.
    pub raw_color: RawColor,
    planes: ArrayVec<MemoryPlane, { abi::VIDEO_MAX_PLANES }>,
}

impl Format {
    /// The memory planes: 1 for contiguous and encoded formats.
    #[must_use]
    pub fn memory_planes(&self) -> &[MemoryPlane] {
        &self.planes
    }

    /// The colour planes of one buffer: which object each is in, its offset and stride.
    ///
    /// For contiguous planar formats V4L2 gives one stride and one size, and the rest follows from the rules in
    /// `Documentation/userspace-api/media/v4l/pixfmt-yuv-planar.rst`: chroma strides are the luma stride in proportion
    /// to the bytes of a row, and planes follow each other without a gap.
    ///
    /// # Errors
    /// [`Error::UnmappedFormat`] for a format no frame has, [`Error::Interlaced`], [`Error::PlaneCount`],
    /// [`Error::Layout`] when the driver's own sizes do not hold the planes.
    pub fn layout(&self, device: &Device) -> Result<Layout, Error> {
        let sizes: ArrayVec<u64, { abi::VIDEO_MAX_PLANES }> =
            self.planes.iter().map(|plane| plane.size.into()).collect();
        self.layout_at(device.path(), &sizes, &[])
    }

    /// [`Format::layout`] against the true sizes of a buffer's memory planes, with the data of each beginning `starts`
    /// bytes into it (0 where it does not say).
    pub(crate) fn layout_at(
        &self,
        device: &std::path::Path,
        sizes: &[u64],
        starts: &[u32],
    ) -> Result<Layout, Error> {
        let device = || device.to_owned();
        let Some(frame) = self.pixel_format.frame() else {
            return Err(Error::UnmappedFormat {
                device: device(),
                format: self.pixel_format,
            });
        };
        if self.field != Field::Progressive {
            return Err(Error::Interlaced {
                device: device(),
                field: self.field,
            });
        }
        let expected = usize::from(frame.memory_planes);
        if self.planes.len() != expected {
            return Err(Error::PlaneCount {
                device: device(),
                format: self.pixel_format,
                found: self.planes.len(),
                expected,
            });
        }
        let mut planes = self.planes_of(frame).map_err(|error| Error::Layout {
            device: device(),
            error,
        })?;
        for plane in &mut planes {
            plane.offset = plane
                .offset
                .saturating_add(starts.get(plane.object).copied().unwrap_or(0).into());
        }
        Layout::check(frame.fourcc, frame.modifier, self.size, &planes, sizes).map_err(|error| {
            Error::Layout {
                device: device(),
                error,
            }
        })
    }

    fn planes_of(&self, frame: FrameFormat) -> Result<ArrayVec<Plane, 4>, dmaframe_core::LayoutError> {
        use dmaframe_core::LayoutError;
        let info = frame
            .fourcc
            .info()
            .ok_or(LayoutError::UnknownFormat { fourcc: frame.fourcc })?;
        let first = info.planes()[0];
        let mut planes = ArrayVec::new();
        let mut offset = 0u64;
        for (index, format) in info.planes().iter().enumerate() {
            let overflow = LayoutError::Overflow { plane: index };
            let memory = if frame.memory_planes == 1 { 0 } else { index };
            // A driver may leave bytesperline 0 where there is no padding (old ones do, for planar formats).
            let given = match self.planes[memory].stride {
                0 => (if memory == index { *format } else { first }).row_bytes(self.size.width),
                stride => u64::from(stride),
            };
            let stride = if index == 0 || memory == index {
                given
            } else {
                // Bytes of a chroma row for each byte of a luma row: 1 for NV12, 1/2 for YU12, 2 for NV24.
                let of = u64::from(format.block_bytes) * u64::from(first.block_width);
                let per =
                    u64::from(format.block_width) * u64::from(format.h_sub) * u64::from(first.block_bytes);
                (given * of).div_ceil(per)
            };
            let stride = u32::try_from(stride).map_err(|_| overflow.clone())?;
            planes.push(Plane {
                object: memory,
                offset: if memory == index { 0 } else { offset },
                stride,
            });
            let len = u64::from(stride).checked_mul(u64::from(format.rows(self.size.height)));
            offset = len.and_then(|len| offset.checked_add(len)).ok_or(overflow)?;
        }
        Ok(planes)
    }

    fn from_sys(format: &AnyFormat) -> Self {
        let (pixel_format, size, field, raw_color, planes) = match format {
            AnyFormat::Single(pix) => (
                PixelFormat(pix.pixelformat),
                Size::new(pix.width, pix.height),
                pix.field,
                RawColor {
                    colorspace: pix.colorspace,
                    transfer: pix.xfer_func,
                    encoding: pix.ycbcr_enc,
                    quantization: pix.quantization,
                },
                std::iter::once(MemoryPlane {
                    size: pix.sizeimage,
                    stride: pix.bytesperline,
                })
                .collect(),
            ),
            AnyFormat::Multi(mp) => (
                PixelFormat(mp.pixelformat),
                Size::new(mp.width, mp.height),
                mp.field,
                RawColor {
                    colorspace: mp.colorspace,
                    transfer: mp.xfer_func.into(),
                    encoding: mp.ycbcr_enc.into(),
                    quantization: mp.quantization.into(),
                },
                // `take` ends at the array whatever count the driver claims.
                mp.plane_fmt
                    .iter()
                    .take(usize::from(mp.num_planes))
                    .map(|plane| MemoryPlane {
                        size: plane.sizeimage,
                        stride: plane.bytesperline,
                    })
                    .collect(),
            ),
        };
        let color = raw_color.resolve(pixel_format);
        Self {
            pixel_format,
            size,
            field: Field::from_raw(field),
            color,
            raw_color,
            planes,
        }
    }
}

/// Time between frames, in seconds, as a fraction (1/30 is 30 frames a second).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    /// Numerator, seconds.
    pub numerator: u32,
    /// Denominator.
    pub denominator: u32,
}

impl Interval {
    /// So many frames a second.
    #[must_use]
    pub const fn fps(frames: u32) -> Self {
        Self {
            numerator: 1,
            denominator: frames,
        }
    }

    /// Frames a second; 0 when the fraction is not a number.
    #[must_use]
    pub fn as_fps(self) -> f64 {
        if self.numerator == 0 {
            0.0
        } else {
            f64::from(self.denominator) / f64::from(self.numerator)
        }
    }

    pub(crate) fn from_raw(raw: abi::Fract) -> Self {
        Self {
            numerator: raw.numerator,
            denominator: raw.denominator,
        }
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} s", self.numerator, self.denominator)
    }
}

impl Device {
    /// The current format (`VIDIOC_G_FMT`).
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn format(&self) -> Result<Format, Error> {
        self.raw_format().map(|raw| Format::from_sys(&raw))
    }

    /// What [`Device::set_format`] would give, without changing anything (`VIDIOC_TRY_FMT`).
    ///
    /// # Errors
    /// As [`Device::set_format`]; also [`Error::Request`] with `ENOTTY` from drivers that cannot try.
    pub fn try_format(&self, request: FormatRequest) -> Result<Format, Error> {
        self.apply(request, FormatCall::Try, "VIDIOC_TRY_FMT")
    }

    /// Sets the format (`VIDIOC_S_FMT`) and returns what the driver made of it: the size and strides are its choice.
    ///
    /// Asks for progressive fields. Not possible while buffers are allocated ([`Error::Busy`]): use
    /// [`Capture::reconfigure`](crate::Capture::reconfigure) then.
    ///
    /// # Errors
    /// [`Error::FormatRefused`] when the driver has another pixel format instead (the device is then set to that),
    /// [`Error::Busy`], [`Error::Request`], [`Error::Unplugged`].
    pub fn set_format(&self, request: FormatRequest) -> Result<Format, Error> {
        self.apply(request, FormatCall::Set, "VIDIOC_S_FMT")
    }

    fn raw_format(&self) -> Result<AnyFormat, Error> {
        let mut raw = if self.capabilities().is_multiplanar() {
            AnyFormat::Multi(abi::PixFormatMplane::zeroed())
        } else {
            // Tells the driver that the fields after `priv` are ours too.
            let private = abi::PIX_FMT_PRIV_MAGIC;
            AnyFormat::Single(abi::PixFormat {
                private,
                ..abi::PixFormat::zeroed()
            })
        };
        sys::format(self.as_fd(), FormatCall::Get, &mut raw).map_err(self.fail("VIDIOC_G_FMT"))?;
        Ok(raw)
    }

    fn apply(&self, request: FormatRequest, call: FormatCall, name: &'static str) -> Result<Format, Error> {
        let mut raw = self.raw_format()?;
        let asked = match &mut raw {
            AnyFormat::Single(pix) => {
                let asked = request.pixel_format.unwrap_or(PixelFormat(pix.pixelformat));
                let size = request.size.unwrap_or(Size::new(pix.width, pix.height));
                *pix = abi::PixFormat {
                    width: size.width,
                    height: size.height,
                    pixelformat: asked.0,
                    field: abi::FIELD_NONE,
                    bytesperline: request.stride.unwrap_or(0),
                    private: abi::PIX_FMT_PRIV_MAGIC,
                    ..abi::PixFormat::zeroed()
                };
                asked
            }
            AnyFormat::Multi(mp) => {
                let asked = request.pixel_format.unwrap_or(PixelFormat(mp.pixelformat));
                let size = request.size.unwrap_or(Size::new(mp.width, mp.height));
                let mut new = abi::PixFormatMplane {
                    width: size.width,
                    height: size.height,
                    pixelformat: asked.0,
                    field: abi::FIELD_NONE,
                    ..abi::PixFormatMplane::zeroed()
                };
                let planes = asked.frame().map_or(1, |frame| frame.memory_planes);
                new.num_planes = planes;
                new.plane_fmt[0].bytesperline = request.stride.unwrap_or(0);
                *mp = new;
                asked
            }
        };
        sys::format(self.as_fd(), call, &mut raw).map_err(self.fail(name))?;
        let format = Format::from_sys(&raw);
        if request.pixel_format.is_some() && format.pixel_format != asked {
            let device = self.path().to_owned();
            return Err(Error::FormatRefused {
                device,
                asked,
                offered: format.pixel_format,
            });
        }
        Ok(format)
    }

    /// Time between frames (`VIDIOC_G_PARM`); `None` when the driver does not count it.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn interval(&self) -> Result<Option<Interval>, Error> {
        let mut parm = abi::StreamParm {
            kind: self.buf_type(),
            ..abi::StreamParm::zeroed()
        };
        match sys::g_parm(self.as_fd(), &mut parm) {
            Ok(()) => Ok(interval_of(&parm)),
            Err(Errno::NOTTY) => Ok(None),
            Err(errno) => Err(self.fail("VIDIOC_G_PARM")(errno)),
        }
    }

    /// Asks for a time between frames (`VIDIOC_S_PARM`) and returns the driver's nearest; `None` when it has no say.
    ///
    /// Set it after the format, which resets it in many drivers.
    ///
    /// # Errors
    /// [`Error::Busy`] from drivers that cannot change it while streaming, [`Error::Request`], [`Error::Unplugged`].
    pub fn set_interval(&self, interval: Interval) -> Result<Option<Interval>, Error> {
        let mut parm = abi::StreamParm {
            kind: self.buf_type(),
            ..abi::StreamParm::zeroed()
        };
        parm.capture.timeperframe = abi::Fract {
            numerator: interval.numerator,
            denominator: interval.denominator,
        };
        match sys::s_parm(self.as_fd(), &mut parm) {
            Ok(()) => Ok(interval_of(&parm)),
            Err(Errno::NOTTY) => Ok(None),
            Err(errno) => Err(self.fail("VIDIOC_S_PARM")(errno)),
        }
    }
}

fn interval_of(parm: &abi::StreamParm) -> Option<Interval> {
    (parm.capture.capability & abi::CAP_TIMEPERFRAME != 0)
        .then(|| Interval::from_raw(parm.capture.timeperframe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmaframe_core::LayoutError;
    use std::path::Path;

    fn single(code: &[u8; 4], width: u32, height: u32, stride: u32, size: u32) -> Format {
        Format::from_sys(&AnyFormat::Single(abi::PixFormat {
            width,
            height,
            pixelformat: PixelFormat::new(code).0,
            field: abi::FIELD_NONE,
            bytesperline: stride,
            sizeimage: size,
            ..abi::PixFormat::zeroed()
        }))
    }

    fn multi(code: &[u8; 4], width: u32, height: u32, planes: &[(u32, u32)]) -> Format {
        let mut mp = abi::PixFormatMplane {
            width,
            height,
            pixelformat: PixelFormat::new(code).0,
            field: abi::FIELD_NONE,
            num_planes: planes.len() as u8,
            ..abi::PixFormatMplane::zeroed()
        };
        for (to, (stride, size)) in mp.plane_fmt.iter_mut().zip(planes) {
            to.bytesperline = *stride;
            to.sizeimage = *size;
        }
        Format::from_sys(&AnyFormat::Multi(mp))
    }

    fn planes(format: &Format) -> Result<Vec<(usize, u64, u32)>, Error> {
        let sizes: Vec<_> = format.memory_planes().iter().map(|p| u64::from(p.size)).collect();
        let layout = format.layout_at(Path::new("/dev/video-test"), &sizes, &[])?;
        Ok(layout
            .planes()
            .iter()
            .map(|p| (p.object, p.offset, p.stride))
            .collect())
    }

    /// Chroma strides in proportion to the luma stride with its padding, planes without a gap.
    #[test]
    fn contiguous_chroma_follows_the_kernels_rules() {
        let nv12 = planes(&single(b"NV12", 640, 360, 704, 704 * 540)).unwrap();
        assert_eq!(nv12, [(0, 0, 704), (0, 704 * 360, 704)]);
        let i420 = planes(&single(b"YU12", 640, 360, 704, 704 * 540)).unwrap();
        assert_eq!(
            i420,
            [(0, 0, 704), (0, 704 * 360, 352), (0, 704 * 360 + 352 * 180, 352)]
        );
        let nv24 = planes(&single(b"NV24", 640, 360, 704, 704 * 360 * 3)).unwrap();
        assert_eq!(nv24, [(0, 0, 704), (0, 704 * 360, 1408)]);
        let nv15 = planes(&single(b"NV15", 640, 360, 832, 832 * 540)).unwrap();
        assert_eq!(nv15, [(0, 0, 832), (0, 832 * 360, 832)]);
        let p010 = planes(&single(b"P010", 640, 360, 1280, 1280 * 540)).unwrap();
        assert_eq!(p010, [(0, 0, 1280), (0, 1280 * 360, 1280)]);
        let yuyv = planes(&single(b"YUYV", 640, 360, 1280, 1280 * 360)).unwrap();
        assert_eq!(yuyv, [(0, 0, 1280)]);
    }

    #[test]
    fn odd_sizes_round_chroma_up() {
        let i420 = planes(&single(b"YU12", 641, 361, 641, 641 * 361 + 2 * 321 * 181)).unwrap();
        assert_eq!(
            i420,
            [(0, 0, 641), (0, 641 * 361, 321), (0, 641 * 361 + 321 * 181, 321)]
        );
    }

    #[test]
    fn memory_planes_of_their_own_start_at_zero_with_their_own_stride() {
        let nm12 = planes(&multi(b"NM12", 640, 360, &[(704, 704 * 360), (768, 768 * 180)])).unwrap();
        assert_eq!(nm12, [(0, 0, 704), (1, 0, 768)]);
        let ym12 = planes(&multi(
            b"YM12",
            640,
            360,
            &[(640, 640 * 360), (320, 57600), (320, 57600)],
        ))
        .unwrap();
        assert_eq!(ym12, [(0, 0, 640), (1, 0, 320), (2, 0, 320)]);
        // NV12 in one memory plane through the multi-planar API is an ordinary contiguous format.
        let nv12 = planes(&multi(b"NV12", 640, 360, &[(640, 640 * 540)])).unwrap();
        assert_eq!(nv12, [(0, 0, 640), (0, 640 * 360, 640)]);
    }

    /// Vivid's NM16 has a header in front of the data of each plane, as some sensors do.
    #[test]
    fn data_behind_a_header_moves_every_plane_of_its_memory() {
        let format = multi(
            b"NM12",
            640,
            360,
            &[(640, 640 * 360 + 128), (640, 640 * 180 + 64)],
        );
        let sizes = [640 * 360 + 128, 640 * 180 + 64];
        let layout = format
            .layout_at(Path::new("/dev/video-test"), &sizes, &[128, 64])
            .unwrap();
        assert_eq!(
            layout.planes().iter().map(|p| p.offset).collect::<Vec<_>>(),
            [128, 64]
        );
        let past = format
            .layout_at(Path::new("/dev/video-test"), &sizes, &[129, 64])
            .unwrap_err();
        assert!(
            matches!(
                past,
                Error::Layout {
                    error: LayoutError::PastEnd { plane: 0, .. },
                    ..
                }
            ),
            "{past}"
        );
        assert!(
            format
                .layout_at(Path::new("/dev/video-test"), &sizes, &[u32::MAX])
                .is_err()
        );
    }

    #[test]
    fn a_missing_stride_means_no_padding() {
        assert_eq!(
            planes(&single(b"NV12", 640, 360, 0, 640 * 540)).unwrap(),
            [(0, 0, 640), (0, 640 * 360, 640)]
        );
        let nm12 = planes(&multi(b"NM12", 640, 360, &[(0, 640 * 360), (0, 640 * 180)])).unwrap();
        assert_eq!(nm12, [(0, 0, 640), (1, 0, 640)]);
    }

    /// What a broken or hostile driver may claim ends in a typed error, never in a layout.
    #[test]
    fn claims_that_do_not_hold_together_are_refused() {
        let short = planes(&single(b"NV12", 640, 360, 640, 640 * 540 - 1)).unwrap_err();
        assert!(
            matches!(
                short,
                Error::Layout {
                    error: LayoutError::PastEnd { plane: 1, .. },
                    ..
                }
            ),
            "{short}"
        );
        assert!(short.to_string().contains("/dev/video-test"), "{short}");
        let narrow = planes(&single(b"YUYV", 640, 360, 1279, u32::MAX)).unwrap_err();
        assert!(
            matches!(
                narrow,
                Error::Layout {
                    error: LayoutError::StrideTooSmall { .. },
                    ..
                }
            ),
            "{narrow}"
        );
        let empty = planes(&single(b"YUYV", 0, 0, 0, 0)).unwrap_err();
        assert!(
            matches!(
                empty,
                Error::Layout {
                    error: LayoutError::EmptySize { .. },
                    ..
                }
            ),
            "{empty}"
        );
        let huge = planes(&single(b"NV24", u32::MAX, u32::MAX, u32::MAX, u32::MAX)).unwrap_err();
        assert!(matches!(huge, Error::Layout { .. }), "{huge}");
        let count = planes(&multi(b"NM12", 640, 360, &[(640, 640 * 540)])).unwrap_err();
        assert!(
            matches!(
                count,
                Error::PlaneCount {
                    found: 1,
                    expected: 2,
                    ..
                }
            ),
            "{count}"
        );
        let unknown = planes(&single(b"HSV3", 640, 360, 1920, 1920 * 360)).unwrap_err();
        assert!(matches!(unknown, Error::UnmappedFormat { .. }), "{unknown}");
        let mut fields = single(b"YUYV", 640, 360, 1280, 1280 * 360);
        fields.field = Field::from_raw(4);
        assert!(matches!(
            planes(&fields),
            Err(Error::Interlaced {
                field: Field::Interlaced(4),
                ..
            })
        ));
    }

    #[test]
    fn a_plane_count_beyond_the_array_is_cut_not_followed() {
        let mut mp = abi::PixFormatMplane::zeroed();
        mp.num_planes = 255;
        assert_eq!(
            Format::from_sys(&AnyFormat::Multi(mp)).memory_planes().len(),
            abi::VIDEO_MAX_PLANES
        );
    }
}
