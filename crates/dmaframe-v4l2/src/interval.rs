//! Time between frames.
//!
//! Source: `Documentation/userspace-api/media/v4l/vidioc-g-parm.rst`.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::device::{Device, Queue};
use crate::error::Error;
use crate::sys;
use crate::sys::abi::{self, Plain};

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
    /// Time between frames (`VIDIOC_G_PARM`); `None` when the driver does not count it.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn interval(&self) -> Result<Option<Interval>, Error> {
        let mut parm = abi::StreamParm {
            kind: self.buf_type(Queue::Capture),
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
        self.set_interval_of(Queue::Capture, interval)
    }

    /// [`Device::set_interval`] for one of the queues: of an encoder's OUTPUT queue it is the rate that the bitrate is
    /// reckoned with.
    ///
    /// # Errors
    /// As [`Device::set_interval`].
    pub fn set_interval_of(&self, queue: Queue, interval: Interval) -> Result<Option<Interval>, Error> {
        let mut parm = abi::StreamParm {
            kind: self.buf_type(queue),
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
