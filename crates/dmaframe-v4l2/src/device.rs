//! Opening a device node and asking what it is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::sys;
use crate::sys::abi::{self, Plain};

/// What `VIDIOC_QUERYCAP` says about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The driver's name (`uvcvideo`, `vivid`).
    pub driver: String,
    /// The device's name for people.
    pub card: String,
    /// Where it is plugged in (`usb-0000:00:14.0-1`): stable, unlike the node's number.
    pub bus: String,
    /// Kernel version of the driver, as `KERNEL_VERSION` packs it.
    pub version: u32,
    /// `V4L2_CAP_*` of this node: `device_caps` where the driver has it, else `capabilities`.
    pub flags: u32,
}

impl Capabilities {
    /// Whether the node captures video into streaming buffers, in either API.
    #[must_use]
    pub fn is_capture(&self) -> bool {
        let video = abi::CAP_VIDEO_CAPTURE | abi::CAP_VIDEO_CAPTURE_MPLANE;
        let m2m = abi::CAP_VIDEO_M2M | abi::CAP_VIDEO_M2M_MPLANE;
        self.flags & video != 0 && self.flags & m2m == 0 && self.flags & abi::CAP_STREAMING != 0
    }

    /// Whether the node takes pictures in and gives pictures out (`V4L2_CAP_VIDEO_M2M`): a converter, an encoder or a
    /// decoder.
    #[must_use]
    pub fn is_m2m(&self) -> bool {
        let m2m = abi::CAP_VIDEO_M2M | abi::CAP_VIDEO_M2M_MPLANE;
        self.flags & m2m != 0 && self.flags & abi::CAP_STREAMING != 0
    }

    /// Whether the node speaks the multi-planar API (`V4L2_CAP_VIDEO_CAPTURE_MPLANE`, `V4L2_CAP_VIDEO_M2M_MPLANE`).
    #[must_use]
    pub fn is_multiplanar(&self) -> bool {
        self.flags & (abi::CAP_VIDEO_CAPTURE_MPLANE | abi::CAP_VIDEO_M2M_MPLANE) != 0
    }

    fn reason(&self) -> String {
        let m2m = abi::CAP_VIDEO_M2M | abi::CAP_VIDEO_M2M_MPLANE;
        let what = if self.flags & m2m != 0 {
            "a mem2mem device (Device::open_m2m)"
        } else if self.flags & (abi::CAP_VIDEO_CAPTURE | abi::CAP_VIDEO_CAPTURE_MPLANE) == 0 {
            "no video capture"
        } else if self.flags & abi::CAP_READWRITE != 0 {
            "read() only"
        } else {
            "no streaming"
        };
        format!("{what} (driver {}, device_caps {:#x})", self.driver, self.flags)
    }
}

/// One of the two queues of buffers a device can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Buffers that the device fills.
    Capture,
    /// Buffers that the device reads.
    Output,
}

/// An open video capture or mem2mem device.
///
/// Owns the descriptor of the node, opened non-blocking and close-on-exec; dropping it closes the node. The methods
/// ask and set things and return at once (as far as the driver does: some talk to the sensor over I2C or USB).
/// Streaming is [`Capture`](crate::Capture)'s job.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
    path: Arc<Path>,
    caps: Capabilities,
}

impl Device {
    /// Opens the capture device at `path`.
    ///
    /// Source: `Documentation/userspace-api/media/v4l/func-open.rst`, `vidioc-querycap.rst`.
    ///
    /// # Errors
    /// [`Error::Open`]; [`Error::NotCapture`] for a node that is not a streaming video capture device.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let device = Self::open_any(path)?;
        if !device.caps.is_capture() {
            return Err(Error::NotCapture {
                device: path.to_owned(),
                reason: device.caps.reason(),
            });
        }
        Ok(device)
    }

    /// Opens the mem2mem device at `path`: a converter, an encoder or a decoder. Every open file of such a node is a
    /// device of its own, with its own formats, controls and buffers.
    ///
    /// What asks or sets a format, a size or a rectangle without naming a queue means the CAPTURE queue: what comes out.
    ///
    /// # Errors
    /// [`Error::Open`]; [`Error::NotM2m`] for any other node.
    pub fn open_m2m(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let device = Self::open_any(path)?;
        if !device.caps.is_m2m() {
            return Err(Error::NotM2m {
                device: path.to_owned(),
                reason: device.caps.reason(),
            });
        }
        Ok(device)
    }

    /// Opens the first capture device whose driver (`vivid`, `uvcvideo`) is `driver`, or its `nth` (from 0).
    ///
    /// Node numbers shift with probe order, so this is the way to name a device in tests and examples.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Open`] when nodes of `/dev` cannot be read.
    pub fn find_by_driver(driver: &str, nth: usize) -> Result<Self, Error> {
        let nodes = nodes()?;
        let mut found = 0;
        for path in nodes {
            let Ok(device) = Self::open(&path) else { continue };
            if device.caps.driver == driver {
                if found == nth {
                    return Ok(device);
                }
                found += 1;
            }
        }
        Err(Error::NotFound {
            driver: driver.to_owned(),
            skipped: nth,
            found,
        })
    }

    /// Opens a node whatever it can do.
    fn open_any(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::Open {
            device: path.to_owned(),
            errno,
        })?;
        let mut cap = abi::Capability::zeroed();
        sys::querycap(fd.as_fd(), &mut cap).map_err(|errno| match errno {
            Errno::NOTTY | Errno::INVAL => Error::NotCapture {
                device: path.to_owned(),
                reason: "VIDIOC_QUERYCAP is unknown to it, so it is no V4L2 device".to_owned(),
            },
            errno => Error::request(path, "VIDIOC_QUERYCAP", errno),
        })?;
        let flags = if cap.capabilities & abi::CAP_DEVICE_CAPS != 0 {
            cap.device_caps
        } else {
            cap.capabilities
        };
        let caps = Capabilities {
            driver: text(&cap.driver),
            card: text(&cap.card),
            bus: text(&cap.bus_info),
            version: cap.version,
            flags,
        };
        Ok(Self {
            fd,
            path: path.into(),
            caps,
        })
    }

    /// The node's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Driver, card, bus and capability flags.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.caps
    }

    /// The buffer type of a queue, in the API the node speaks.
    pub(crate) fn buf_type(&self, queue: Queue) -> u32 {
        match (queue, self.caps.is_multiplanar()) {
            (Queue::Capture, false) => abi::BUF_TYPE_VIDEO_CAPTURE,
            (Queue::Capture, true) => abi::BUF_TYPE_VIDEO_CAPTURE_MPLANE,
            (Queue::Output, false) => abi::BUF_TYPE_VIDEO_OUTPUT,
            (Queue::Output, true) => abi::BUF_TYPE_VIDEO_OUTPUT_MPLANE,
        }
    }

    /// Another descriptor of the same open device, which shares its buffers and settings.
    pub(crate) fn try_clone(&self) -> Result<Self, Error> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 0).map_err(self.fail("fcntl(F_DUPFD_CLOEXEC)"))?;
        Ok(Self {
            fd,
            path: Arc::clone(&self.path),
            caps: self.caps.clone(),
        })
    }

    /// For `map_err` on a request.
    pub(crate) fn fail(&self, request: &'static str) -> impl Fn(Errno) -> Error + '_ {
        move |errno| Error::request(&self.path, request, errno)
    }
}

impl AsFd for Device {
    /// The node itself, non-blocking; `POLLIN` while streaming means that a filled buffer waits, `POLLPRI` an event.
    ///
    /// A duplicate keeps the node open, and with it what a driver that could not be stopped has: let go of it before the
    /// [`Capture`](crate::Capture) or [`Mem2Mem`](crate::Mem2Mem) of this device.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// One capture device, as [`list`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The node.
    pub path: PathBuf,
    /// What it is.
    pub capabilities: Capabilities,
}

/// Every `/dev/video*` that captures video into streaming buffers, in the order of the nodes' numbers.
///
/// Opens each node for a moment; one that cannot be opened (no permission, gone meanwhile) is left out.
///
/// # Errors
/// [`Error::Open`] when `/dev` itself cannot be read.
pub fn list() -> Result<Vec<Listed>, Error> {
    let devices = nodes()?.into_iter().filter_map(|path| {
        let device = Device::open(&path).ok()?;
        Some(Listed {
            path,
            capabilities: device.caps,
        })
    });
    Ok(devices.collect())
}

/// `/dev/video*`, by number.
pub(crate) fn nodes() -> Result<Vec<PathBuf>, Error> {
    let dev = Path::new("/dev");
    let failed = |error: std::io::Error| Error::Open {
        device: dev.to_owned(),
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    };
    let mut nodes = Vec::new();
    for entry in std::fs::read_dir(dev).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("video"));
        if let Some(number) = number.and_then(|digits| digits.parse::<u32>().ok()) {
            nodes.push((number, path));
        }
    }
    nodes.sort();
    Ok(nodes.into_iter().map(|(_, path)| path).collect())
}

/// A string of the kernel: up to the first zero byte or the array's end, anything not UTF-8 replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(flags: u32) -> Capabilities {
        Capabilities {
            driver: "d".into(),
            card: "c".into(),
            bus: "b".into(),
            version: 0,
            flags,
        }
    }

    #[test]
    fn mem2mem_and_read_only_nodes_are_no_capture_devices() {
        assert!(caps(abi::CAP_VIDEO_CAPTURE | abi::CAP_STREAMING).is_capture());
        assert!(caps(abi::CAP_VIDEO_CAPTURE_MPLANE | abi::CAP_STREAMING).is_capture());
        assert!(!caps(abi::CAP_VIDEO_CAPTURE | abi::CAP_READWRITE).is_capture());
        assert!(!caps(abi::CAP_VIDEO_M2M | abi::CAP_STREAMING).is_capture());
        assert!(!caps(abi::CAP_STREAMING).is_capture());
    }

    #[test]
    fn strings_of_a_driver_need_no_terminator() {
        assert_eq!(text(b"uvc\0junk"), "uvc");
        assert_eq!(text(b"full"), "full");
        assert_eq!(text(&[0xff, b'a']), "\u{fffd}a");
    }

    #[test]
    fn a_file_that_is_no_device_is_refused_by_name() {
        let error = Device::open("/dev/null").unwrap_err();
        assert!(matches!(error, Error::NotCapture { .. }), "{error}");
        assert!(error.to_string().contains("/dev/null"));
        assert!(matches!(
            Device::open("/dev/no-such-video"),
            Err(Error::Open {
                errno: Errno::NOENT,
                ..
            })
        ));
    }
}
