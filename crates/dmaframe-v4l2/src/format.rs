//! The format a device delivers: asking, trying, setting.
//!
//! Source: `Documentation/userspace-api/media/v4l/vidioc-g-fmt.rst`.

use std::os::fd::AsFd;

use arrayvec::ArrayVec;
use dmaframe_core::{ColorInfo, Layout, Size};

use crate::color::RawColor;
use crate::device::{Device, Queue};
use crate::error::Error;
use crate::pixelformat::PixelFormat;
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
    /// Bytes a buffer of an encoded format shall have; the driver takes them, more, or its own.
    pub buffer_size: Option<u32>,
    /// The colour fields of what goes in (OUTPUT queues): an encoder writes them into its stream.
    pub color: Option<RawColor>,
}

impl FormatRequest {
    /// A pixel format and a size.
    #[must_use]
    pub fn new(pixel_format: PixelFormat, size: Size) -> Self {
        Self {
            pixel_format: Some(pixel_format),
            size: Some(size),
            stride: None,
            buffer_size: None,
            color: None,
        }
    }

    /// The same with the colour of what goes in, for the streams of encoders.
    #[must_use]
    pub fn with_color(self, color: ColorInfo) -> Self {
        Self {
            color: Some(color.into()),
            ..self
        }
    }

    /// The format of frames of `layout`, so that a device reads them as they are; `None` when V4L2 has no such format.
    #[must_use]
    pub fn of_layout(layout: &Layout) -> Option<Self> {
        let objects = layout
            .planes()
            .iter()
            .map(|plane| plane.object + 1)
            .max()
            .unwrap_or(1);
        let memory_planes = u8::try_from(objects).ok()?;
        let pixel_format = PixelFormat::of(layout.fourcc(), layout.modifier(), memory_planes)?;
        Some(Self {
            stride: layout.planes().first().map(|plane| plane.stride),
            ..Self::new(pixel_format, layout.size())
        })
    }
}

impl From<&Format> for FormatRequest {
    /// What another device delivers, stride and colour included: for the device that takes it.
    fn from(format: &Format) -> Self {
        Self {
            stride: format
                .memory_planes()
                .first()
                .map(|plane| plane.stride)
                .filter(|stride| *stride != 0),
            color: Some(format.raw_color),
            ..Self::new(format.pixel_format, format.size)
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

    /// Whether buffers for `other` hold its pictures too: all but the colour is the same.
    pub(crate) fn has_memory_of(&self, other: &Self) -> bool {
        let memory = |format: &Self| {
            (
                format.pixel_format,
                format.size,
                format.field,
                format.planes.clone(),
            )
        };
        memory(self) == memory(other)
    }

    pub(crate) fn from_sys(format: &AnyFormat) -> Self {
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

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.pixel_format, self.size)?;
        for plane in &self.planes {
            write!(f, ", {} bytes in rows of {}", plane.size, plane.stride)?;
        }
        match self.field {
            Field::Progressive => Ok(()),
            Field::Interlaced(order) => write!(f, ", interlaced ({order})"),
        }
    }
}

impl Device {
    /// The current format (`VIDIOC_G_FMT`).
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn format(&self) -> Result<Format, Error> {
        self.format_of(Queue::Capture)
    }

    /// [`Device::format`] of one of the queues.
    ///
    /// # Errors
    /// As [`Device::format`].
    pub fn format_of(&self, queue: Queue) -> Result<Format, Error> {
        self.raw_format(queue).map(|raw| Format::from_sys(&raw))
    }

    /// What [`Device::set_format`] would give, without changing anything (`VIDIOC_TRY_FMT`).
    ///
    /// # Errors
    /// As [`Device::set_format`]; also [`Error::Request`] with `ENOTTY` from drivers that cannot try.
    pub fn try_format(&self, request: FormatRequest) -> Result<Format, Error> {
        self.apply(Queue::Capture, request, FormatCall::Try, "VIDIOC_TRY_FMT")
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
        self.set_format_of(Queue::Capture, request)
    }

    /// [`Device::set_format`] of one of the queues. The OUTPUT queue first: it may change what the other one has.
    ///
    /// # Errors
    /// As [`Device::set_format`].
    pub fn set_format_of(&self, queue: Queue, request: FormatRequest) -> Result<Format, Error> {
        self.apply(queue, request, FormatCall::Set, "VIDIOC_S_FMT")
    }

    fn raw_format(&self, queue: Queue) -> Result<AnyFormat, Error> {
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
        sys::format(self.as_fd(), FormatCall::Get, queue == Queue::Output, &mut raw)
            .map_err(self.fail("VIDIOC_G_FMT"))?;
        Ok(raw)
    }

    fn apply(
        &self,
        queue: Queue,
        request: FormatRequest,
        call: FormatCall,
        name: &'static str,
    ) -> Result<Format, Error> {
        let mut raw = self.raw_format(queue)?;
        let color = request.color.unwrap_or_default();
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
                    sizeimage: request.buffer_size.unwrap_or(0),
                    private: abi::PIX_FMT_PRIV_MAGIC,
                    colorspace: color.colorspace,
                    xfer_func: color.transfer,
                    ycbcr_enc: color.encoding,
                    quantization: color.quantization,
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
                new.plane_fmt[0].sizeimage = request.buffer_size.unwrap_or(0);
                new.colorspace = color.colorspace;
                // Codes of a few values each; what does not fit is none of them.
                new.xfer_func = u8::try_from(color.transfer).unwrap_or(0);
                new.ycbcr_enc = u8::try_from(color.encoding).unwrap_or(0);
                new.quantization = u8::try_from(color.quantization).unwrap_or(0);
                *mp = new;
                asked
            }
        };
        sys::format(self.as_fd(), call, queue == Queue::Output, &mut raw).map_err(self.fail(name))?;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(stride: u32, colorspace: u32) -> Format {
        let raw_color = RawColor {
            colorspace,
            ..RawColor::default()
        };
        let pixel_format = PixelFormat::NV12;
        Format {
            pixel_format,
            size: Size::new(64, 48),
            field: Field::Progressive,
            color: raw_color.resolve(pixel_format),
            raw_color,
            planes: std::iter::once(MemoryPlane {
                size: stride * 72,
                stride,
            })
            .collect(),
        }
    }

    #[test]
    fn buffers_outlast_a_change_of_colour_and_of_nothing_else() {
        let srgb = format(64, 8);
        assert!(format(64, 10).has_memory_of(&srgb));
        assert!(!format(128, 8).has_memory_of(&srgb));
        let other = |change: fn(&mut Format)| {
            let mut other = srgb.clone();
            change(&mut other);
            other
        };
        assert!(!other(|format| format.pixel_format = PixelFormat::YUYV).has_memory_of(&srgb));
        assert!(!other(|format| format.size.height = 46).has_memory_of(&srgb));
        assert!(!other(|format| format.field = Field::Interlaced(4)).has_memory_of(&srgb));
        assert_eq!(
            srgb.to_string(),
            format!("{} 64x48, 4608 bytes in rows of 64", PixelFormat::NV12)
        );
    }
}
