//! Which part of the picture to show, and which way up: selection rectangles, inputs, orientation.
//!
//! Source: `Documentation/userspace-api/media/v4l/selection-api.rst`, `vidioc-enuminput.rst`,
//! `ext-ctrls-camera.rst`.

use std::os::fd::AsFd;

use dmaframe_core::{Orientation, Rect, Rotation, Size};
use rustix::io::Errno;

use crate::device::{Device, Queue, text};
use crate::error::Error;
use crate::sys;
use crate::sys::abi::{self, Plain};

/// A selection rectangle, in pixels. The corner can be negative where the driver's bounds are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Left column.
    pub left: i32,
    /// Top row.
    pub top: i32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Which rectangle (`V4L2_SEL_TGT_*`): crop is on the sensor, compose is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SelectionTarget {
    /// The part of the sensor that is captured.
    Crop,
    /// That part by default.
    CropDefault,
    /// The largest part there is.
    CropBounds,
    /// The whole sensor.
    NativeSize,
    /// Where in the buffer the picture lies.
    Compose,
    /// Where by default.
    ComposeDefault,
    /// Where it can lie.
    ComposeBounds,
    /// What of the buffer the driver writes, the picture and padding around it.
    ComposePadded,
}

impl SelectionTarget {
    fn raw(self) -> u32 {
        match self {
            Self::Crop => abi::SEL_TGT_CROP,
            Self::CropDefault => abi::SEL_TGT_CROP_DEFAULT,
            Self::CropBounds => abi::SEL_TGT_CROP_BOUNDS,
            Self::NativeSize => abi::SEL_TGT_NATIVE_SIZE,
            Self::Compose => abi::SEL_TGT_COMPOSE,
            Self::ComposeDefault => abi::SEL_TGT_COMPOSE_DEFAULT,
            Self::ComposeBounds => abi::SEL_TGT_COMPOSE_BOUNDS,
            Self::ComposePadded => abi::SEL_TGT_COMPOSE_PADDED,
        }
    }
}

/// What `VIDIOC_ENUMINPUT` says about an input (a connector, or a camera's only sensor).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Input {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `V4L2_IN_ST_*` as of now; known for the current input only.
    pub status: u32,
}

impl Input {
    /// Whether a picture can be expected: power is on and there is a signal.
    #[must_use]
    pub fn has_signal(&self) -> bool {
        self.status & (abi::IN_ST_NO_POWER | abi::IN_ST_NO_SIGNAL) == 0
    }
}

impl Device {
    /// A selection rectangle (`VIDIOC_G_SELECTION`); `None` when the driver has no such rectangle.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn selection(&self, target: SelectionTarget) -> Result<Option<Selection>, Error> {
        self.selection_of(Queue::Capture, target)
    }

    /// [`Device::selection`] on one of the queues: on an OUTPUT queue the crop is the part of each buffer that is read.
    ///
    /// # Errors
    /// As [`Device::selection`].
    pub fn selection_of(&self, queue: Queue, target: SelectionTarget) -> Result<Option<Selection>, Error> {
        let mut arg = abi::Selection {
            kind: selection_type(queue),
            target: target.raw(),
            ..abi::Selection::zeroed()
        };
        match sys::g_selection(self.as_fd(), &mut arg) {
            Ok(()) => Ok(Some(from_raw(&arg))),
            Err(Errno::INVAL | Errno::NOTTY | Errno::NODATA) => Ok(None),
            Err(errno) => Err(self.fail("VIDIOC_G_SELECTION")(errno)),
        }
    }

    /// Sets a selection rectangle (`VIDIOC_S_SELECTION`) and returns what the driver made of it. Setting the crop can
    /// change the format and the other way round; not possible for most drivers while streaming.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Request`] (`EINVAL`: no such rectangle), [`Error::Unplugged`].
    pub fn set_selection(&self, target: SelectionTarget, to: Selection) -> Result<Selection, Error> {
        self.set_selection_of(Queue::Capture, target, to)
    }

    /// [`Device::set_selection`] on one of the queues.
    ///
    /// # Errors
    /// As [`Device::set_selection`].
    pub fn set_selection_of(
        &self,
        queue: Queue,
        target: SelectionTarget,
        to: Selection,
    ) -> Result<Selection, Error> {
        let r = abi::SelRect {
            left: to.left,
            top: to.top,
            width: to.width,
            height: to.height,
        };
        let mut arg = abi::Selection {
            kind: selection_type(queue),
            target: target.raw(),
            r,
            ..abi::Selection::zeroed()
        };
        sys::s_selection(self.as_fd(), &mut arg).map_err(self.fail("VIDIOC_S_SELECTION"))?;
        Ok(from_raw(&arg))
    }

    /// The inputs (`VIDIOC_ENUMINPUT`). Empty for devices that media-controller links configure.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn inputs(&self) -> Result<Vec<Input>, Error> {
        let mut inputs = Vec::new();
        // The bound is for a driver that never ends its list.
        for index in 0..256 {
            match self.query_input(index)? {
                Some(input) => inputs.push(input),
                None => break,
            }
        }
        Ok(inputs)
    }

    /// The current input (`VIDIOC_G_INPUT`); `None` where there are no inputs.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn input(&self) -> Result<Option<Input>, Error> {
        let mut index = 0;
        match sys::g_input(self.as_fd(), &mut index) {
            Ok(()) => u32::try_from(index).map_or(Ok(None), |index| self.query_input(index)),
            Err(Errno::NOTTY | Errno::INVAL) => Ok(None),
            Err(errno) => Err(self.fail("VIDIOC_G_INPUT")(errno)),
        }
    }

    /// Switches to an input (`VIDIOC_S_INPUT`), which may change the format. Not possible while streaming.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Request`] (`EINVAL`: no such input), [`Error::Unplugged`].
    pub fn set_input(&self, index: u32) -> Result<(), Error> {
        let mut index = i32::try_from(index).unwrap_or(i32::MAX);
        sys::s_input(self.as_fd(), &mut index).map_err(self.fail("VIDIOC_S_INPUT"))
    }

    fn query_input(&self, index: u32) -> Result<Option<Input>, Error> {
        let mut arg = abi::Input {
            index,
            ..abi::Input::zeroed()
        };
        match sys::enuminput(self.as_fd(), &mut arg) {
            Ok(()) => Ok(Some(Input {
                index,
                name: text(&arg.name),
                status: arg.status,
            })),
            Err(Errno::INVAL | Errno::NOTTY) => Ok(None),
            Err(errno) => Err(self.fail("VIDIOC_ENUMINPUT")(errno)),
        }
    }

    /// The part of a buffer of `coded` size that shows the picture: the compose rectangle, cut to the buffer. `None`
    /// when that is all of it, or when the driver does not say.
    ///
    /// The crop rectangle plays no part: it lies on the sensor, and the buffer holds only what was cropped.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn visible(&self, coded: Size) -> Result<Option<Rect>, Error> {
        Ok(self
            .selection(SelectionTarget::Compose)?
            .and_then(|compose| visible_of(compose, coded)))
    }

    /// How to turn the picture upright: the sensor's mounting (`V4L2_CID_CAMERA_SENSOR_ROTATION`), and the flips that
    /// the device applies (`V4L2_CID_HFLIP`, `V4L2_CID_VFLIP`) or reports of its sensor (`V4L2_IN_ST_HFLIP`,
    /// `V4L2_IN_ST_VFLIP`) undone. Whoever sets a flip on purpose ignores this or takes it as it is.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn orientation(&self) -> Result<Orientation, Error> {
        let value = |id| -> Result<i64, Error> {
            match self.get_control(id) {
                Ok(value) => Ok(value),
                Err(Error::NoControl { .. } | Error::ControlKind { .. } | Error::ControlLocked { .. }) => {
                    Ok(0)
                }
                Err(error) => Err(error),
            }
        };
        let status = self.input()?.map_or(0, |input| input.status);
        let hflip = (value(abi::CID_HFLIP)? != 0) != (status & abi::IN_ST_HFLIP != 0);
        let vflip = (value(abi::CID_VFLIP)? != 0) != (status & abi::IN_ST_VFLIP != 0);
        Ok(orientation_of(
            hflip,
            vflip,
            value(abi::CID_CAMERA_SENSOR_ROTATION)?,
        ))
    }
}

/// The single-planar type for both APIs, as the documentation asks.
fn selection_type(queue: Queue) -> u32 {
    match queue {
        Queue::Capture => abi::BUF_TYPE_VIDEO_CAPTURE,
        Queue::Output => abi::BUF_TYPE_VIDEO_OUTPUT,
    }
}

fn from_raw(arg: &abi::Selection) -> Selection {
    Selection {
        left: arg.r.left,
        top: arg.r.top,
        width: arg.r.width,
        height: arg.r.height,
    }
}

fn visible_of(compose: Selection, coded: Size) -> Option<Rect> {
    let cut = |from: i32, len: u32, limit: u32| {
        let start = i64::from(from).clamp(0, i64::from(limit));
        let end = (i64::from(from) + i64::from(len)).clamp(start, i64::from(limit));
        // Both lie in 0..=limit, which is a u32.
        Some((u32::try_from(start).ok()?, u32::try_from(end - start).ok()?))
    };
    let (x, width) = cut(compose.left, compose.width, coded.width)?;
    let (y, height) = cut(compose.top, compose.height, coded.height)?;
    let rect = Rect { x, y, width, height };
    (rect.fits(coded) && rect != Rect::full(coded)).then_some(rect)
}

/// `counter_clockwise` is the correction in degrees. Mirroring both ways is a half turn, so each combination is at
/// most one mirroring, before the turn, as [`Orientation`] has it.
fn orientation_of(hflip: bool, vflip: bool, counter_clockwise: i64) -> Orientation {
    let half = if vflip { 180 } else { 0 };
    // A sensor at an odd angle: nearest to the truth is to leave it.
    let rotation = Rotation::from_degrees(half - counter_clockwise)
        .or_else(|| Rotation::from_degrees(half))
        .unwrap_or(Rotation::R0);
    Orientation {
        rotation,
        mirror: hflip != vflip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visible_part_is_cut_to_the_buffer_and_left_out_when_it_is_all() {
        let coded = Size::new(640, 368);
        let part = Selection {
            left: 0,
            top: 0,
            width: 640,
            height: 360,
        };
        assert_eq!(
            visible_of(part, coded),
            Some(Rect {
                x: 0,
                y: 0,
                width: 640,
                height: 360
            })
        );
        assert_eq!(
            visible_of(
                Selection {
                    left: 0,
                    top: 0,
                    width: 640,
                    height: 368
                },
                coded
            ),
            None
        );
        let outside = Selection {
            left: -8,
            top: 4,
            width: u32::MAX,
            height: u32::MAX,
        };
        assert_eq!(
            visible_of(outside, coded),
            Some(Rect {
                x: 0,
                y: 4,
                width: 640,
                height: 364
            })
        );
        assert_eq!(
            visible_of(
                Selection {
                    left: 700,
                    top: 0,
                    width: 9,
                    height: 9
                },
                coded
            ),
            None
        );
        assert_eq!(
            visible_of(
                Selection {
                    left: i32::MIN,
                    top: 0,
                    width: 1,
                    height: 1
                },
                coded
            ),
            None
        );
    }

    #[test]
    fn flips_and_mounting_become_one_mirroring_and_one_turn() {
        let of = |h, v, degrees| {
            let o = orientation_of(h, v, degrees);
            (o.mirror, o.rotation.degrees())
        };
        assert_eq!(of(false, false, 0), (false, 0));
        assert_eq!(of(true, false, 0), (true, 0));
        assert_eq!(of(false, true, 0), (true, 180));
        assert_eq!(of(true, true, 0), (false, 180));
        // Mounted upside down and both flips set against it: already upright.
        assert_eq!(of(true, true, 180), (false, 0));
        // 90 degrees counter-clockwise is 270 clockwise.
        assert_eq!(of(false, false, 90), (false, 270));
        assert_eq!(of(false, false, 45), (false, 0));
    }
}
