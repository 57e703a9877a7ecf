//! What a device offers: formats, sizes, frame intervals.
//!
//! Source: `Documentation/userspace-api/media/v4l/vidioc-enum-fmt.rst`, `vidioc-enum-framesizes.rst`,
//! `vidioc-enum-frameintervals.rst`.

use std::os::fd::AsFd;

use dmaframe_core::Size;
use dmaframe_core::negotiate::{FormatSet, Usage};
use rustix::io::Errno;

use crate::device::{Device, Queue, text};
use crate::error::Error;
use crate::interval::Interval;
use crate::pixelformat::PixelFormat;
use crate::sys;
use crate::sys::abi::{self, Plain};

/// Most entries of one list that are asked for: a driver that never ends its list does not hang the caller.
const LIST_LIMIT: u32 = 1024;

/// One pixel format a device offers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OfferedFormat {
    /// The code.
    pub pixel_format: PixelFormat,
    /// The kernel's name for it.
    pub description: String,
    /// Whether buffers hold an encoded stream (`V4L2_FMT_FLAG_COMPRESSED`).
    pub compressed: bool,
    /// Whether a library converts to it, not the device (`V4L2_FMT_FLAG_EMULATED`; the kernel itself never does).
    pub emulated: bool,
}

/// The sizes a device offers for one format, in pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// These and no others. Empty when the driver cannot list them: set one and see.
    Discrete(Vec<Size>),
    /// From `min` to `max` in steps; a step of 1 both ways is any size.
    Stepwise {
        /// Smallest.
        min: Size,
        /// Largest.
        max: Size,
        /// Width and height steps, at least 1.
        step: Size,
    },
}

impl Sizes {
    /// Whether `size` is one of them.
    #[must_use]
    pub fn contains(&self, size: Size) -> bool {
        let on_step = |value: u32, min: u32, max: u32, step: u32| {
            (min..=max).contains(&value) && (value - min) % step.max(1) == 0
        };
        match self {
            Self::Discrete(list) => list.contains(&size),
            Self::Stepwise { min, max, step } => {
                on_step(size.width, min.width, max.width, step.width)
                    && on_step(size.height, min.height, max.height, step.height)
            }
        }
    }
}

/// The times between frames a device offers for one format and size, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intervals {
    /// These and no others. Empty when the driver cannot list them.
    Discrete(Vec<Interval>),
    /// From `min` (the fastest) to `max` in steps.
    Stepwise {
        /// Shortest.
        min: Interval,
        /// Longest.
        max: Interval,
        /// Step.
        step: Interval,
    },
}

impl Device {
    /// The pixel formats (`VIDIOC_ENUM_FMT`), in the driver's order.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn formats(&self) -> Result<Vec<OfferedFormat>, Error> {
        self.formats_of(Queue::Capture)
    }

    /// [`Device::formats`] of one of the queues. What a mem2mem device offers on one side may depend on the format of
    /// the other.
    ///
    /// # Errors
    /// As [`Device::formats`].
    pub fn formats_of(&self, queue: Queue) -> Result<Vec<OfferedFormat>, Error> {
        let mut list = Vec::new();
        for index in 0..LIST_LIMIT {
            let mut desc = abi::FmtDesc {
                index,
                kind: self.buf_type(queue),
                ..abi::FmtDesc::zeroed()
            };
            match sys::enum_fmt(self.as_fd(), &mut desc) {
                Ok(()) => list.push(OfferedFormat {
                    pixel_format: PixelFormat(desc.pixelformat),
                    description: text(&desc.description),
                    compressed: desc.flags & abi::FMT_FLAG_COMPRESSED != 0,
                    emulated: desc.flags & abi::FMT_FLAG_EMULATED != 0,
                }),
                Err(Errno::INVAL | Errno::NOTTY) => break,
                Err(errno) => return Err(self.fail("VIDIOC_ENUM_FMT")(errno)),
            }
        }
        Ok(list)
    }

    /// The frame formats the device can deliver, for negotiation: each fourcc and modifier once, whichever way its
    /// memory planes are spelled. Encoded and unmapped formats are not in it.
    ///
    /// # Errors
    /// As [`Device::formats`].
    pub fn format_set(&self) -> Result<FormatSet, Error> {
        let mut set = FormatSet::new(self.capabilities().card.as_str()).with_usage(Usage::Capture);
        for frame in self
            .formats()?
            .into_iter()
            .filter_map(|offered| offered.pixel_format.frame())
        {
            set.insert(frame.fourcc, frame.modifier);
        }
        Ok(set)
    }

    /// The sizes for `format` (`VIDIOC_ENUM_FRAMESIZES`).
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn sizes(&self, format: PixelFormat) -> Result<Sizes, Error> {
        let mut list = Vec::new();
        for index in 0..LIST_LIMIT {
            let mut entry = abi::FrmSizeEnum {
                index,
                pixel_format: format.0,
                ..abi::FrmSizeEnum::zeroed()
            };
            match sys::enum_framesizes(self.as_fd(), &mut entry) {
                Ok(()) => {}
                Err(Errno::INVAL | Errno::NOTTY) => break,
                Err(errno) => return Err(self.fail("VIDIOC_ENUM_FRAMESIZES")(errno)),
            }
            let [a, b, c, d, e, f] = entry.value;
            match entry.kind {
                abi::FRMSIZE_TYPE_DISCRETE => list.push(Size::new(a, b)),
                abi::FRMSIZE_TYPE_STEPWISE => {
                    let step = Size::new(c.max(1), f.max(1));
                    return Ok(Sizes::Stepwise {
                        min: Size::new(a, d),
                        max: Size::new(b, e),
                        step,
                    });
                }
                abi::FRMSIZE_TYPE_CONTINUOUS => {
                    let step = Size::new(1, 1);
                    return Ok(Sizes::Stepwise {
                        min: Size::new(a, d),
                        max: Size::new(b, e),
                        step,
                    });
                }
                _ => {}
            }
        }
        Ok(Sizes::Discrete(list))
    }

    /// The times between frames for `format` at `size` (`VIDIOC_ENUM_FRAMEINTERVALS`).
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn intervals(&self, format: PixelFormat, size: Size) -> Result<Intervals, Error> {
        let mut list = Vec::new();
        for index in 0..LIST_LIMIT {
            let mut entry = abi::FrmIvalEnum {
                index,
                pixel_format: format.0,
                width: size.width,
                height: size.height,
                ..abi::FrmIvalEnum::zeroed()
            };
            match sys::enum_frameintervals(self.as_fd(), &mut entry) {
                Ok(()) => {}
                Err(Errno::INVAL | Errno::NOTTY) => break,
                Err(errno) => return Err(self.fail("VIDIOC_ENUM_FRAMEINTERVALS")(errno)),
            }
            let [min, max, step] = entry.value.map(Interval::from_raw);
            match entry.kind {
                abi::FRMIVAL_TYPE_DISCRETE => list.push(min),
                abi::FRMIVAL_TYPE_STEPWISE | abi::FRMIVAL_TYPE_CONTINUOUS => {
                    return Ok(Intervals::Stepwise { min, max, step });
                }
                _ => {}
            }
        }
        Ok(Intervals::Discrete(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_from_the_smallest_size() {
        let sizes = Sizes::Stepwise {
            min: Size::new(320, 180),
            max: Size::new(3840, 2160),
            step: Size::new(16, 2),
        };
        assert!(sizes.contains(Size::new(320, 180)) && sizes.contains(Size::new(336, 182)));
        assert!(!sizes.contains(Size::new(321, 180)) && !sizes.contains(Size::new(4000, 2160)));
        let any = Sizes::Stepwise {
            min: Size::new(1, 1),
            max: Size::new(9, 9),
            step: Size::new(0, 0),
        };
        assert!(any.contains(Size::new(5, 7)));
    }
}
