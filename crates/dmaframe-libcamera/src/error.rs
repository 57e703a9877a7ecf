//! What can go wrong, and with which numbers.

use std::io;

use dmaframe_core::{LayoutError, Misfit};
use rustix::io::Errno;

use crate::format::{PixelFormat, Role};

/// Everything this crate refuses or passes on. Each message names the camera, the value found and the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libcamera's camera manager would not start.
    #[error("libcamera's camera manager did not start: {errno}")]
    Manager {
        /// The error number.
        errno: Errno,
    },
    /// There is no camera of this id.
    #[error("no camera {camera:?}; libcamera sees {}", list(known))]
    NotFound {
        /// The id asked for.
        camera: String,
        /// The ids there are.
        known: Vec<String>,
    },
    /// Another program, or another handle of this one, has acquired the camera (`EBUSY`).
    #[error("camera {camera:?} is in use by another program or another handle")]
    Busy {
        /// The camera.
        camera: String,
    },
    /// The camera is gone: it was pulled out. Frames already delivered stay readable.
    #[error("camera {camera:?} was unplugged (found in {call})")]
    Unplugged {
        /// The camera that was.
        camera: String,
        /// The call that found out.
        call: &'static str,
    },
    /// A call into libcamera failed for another reason.
    #[error("{call} of camera {camera:?} failed: {errno}")]
    Call {
        /// The camera.
        camera: String,
        /// libcamera's name of it.
        call: &'static str,
        /// The error number.
        errno: Errno,
    },
    /// The camera cannot give these streams (together).
    #[error("camera {camera:?} cannot give the streams {}: {reason}", roles(asked))]
    Roles {
        /// The camera.
        camera: String,
        /// What was asked.
        asked: Vec<Role>,
        /// Why not, as far as libcamera says.
        reason: &'static str,
    },
    /// The camera gives a stream in another pixel format than the one asked for.
    #[error("camera {camera:?} has no {asked} for stream {stream}: it offered {offered}")]
    FormatRefused {
        /// The camera.
        camera: String,
        /// The stream's index.
        stream: usize,
        /// What was asked.
        asked: PixelFormat,
        /// What the camera has instead.
        offered: PixelFormat,
    },
    /// A pixel format that is no format of a frame and no known codec.
    #[error(
        "camera {camera:?}, stream {stream}: {format} is in no table, so neither frame nor bitstream describes it"
    )]
    UnmappedFormat {
        /// The camera.
        camera: String,
        /// The stream's index.
        stream: usize,
        /// The format.
        format: PixelFormat,
    },
    /// libcamera describes planes that do not hold the picture it promises.
    #[error("camera {camera:?}, stream {stream}: the buffer's planes do not hold together: {error}")]
    Layout {
        /// The camera.
        camera: String,
        /// The stream's index.
        stream: usize,
        /// What is wrong with them.
        error: LayoutError,
    },
    /// A buffer handed over for capture is not what the camera is going to write.
    #[error("camera {camera:?}, stream {stream}: buffer {buffer} cannot be imported: {error}")]
    BufferLayout {
        /// The camera.
        camera: String,
        /// The stream's index.
        stream: usize,
        /// The buffer's index.
        buffer: usize,
        /// What differs, with both values.
        error: Misfit,
    },
    /// No buffers, or a stream that is not there.
    #[error("camera {camera:?}: {what} {found}, there are {limit}")]
    OutOfRange {
        /// The camera.
        camera: String,
        /// What was counted.
        what: &'static str,
        /// What was found or asked for.
        found: usize,
        /// How many there are.
        limit: usize,
    },
    /// The camera has no such control.
    #[error("camera {camera:?} has no control {name}")]
    NoControl {
        /// The camera.
        camera: String,
        /// The control's name.
        name: String,
    },
    /// The stream is stopped.
    #[error("the stream of camera {camera:?} is stopped: start it again")]
    Stopped {
        /// The camera.
        camera: String,
    },
    /// The core refused.
    #[error("camera {camera:?}: {error}")]
    Core {
        /// The camera.
        camera: String,
        /// Why.
        error: dmaframe_core::Error,
    },
}

impl Error {
    /// For `map_err` on a call into libcamera.
    pub(crate) fn call<'a>(camera: &'a str, call: &'static str) -> impl Fn(io::Error) -> Self + 'a {
        move |error| Self::from_errno(camera, call, errno_of(&error))
    }

    /// The same for a system call.
    pub(crate) fn from_errno(camera: &str, call: &'static str, errno: Errno) -> Self {
        let camera = camera.to_owned();
        match errno {
            Errno::NODEV => Self::Unplugged { camera, call },
            Errno::BUSY => Self::Busy { camera },
            errno => Self::Call { camera, call, errno },
        }
    }

    pub(crate) fn core(camera: &str) -> impl Fn(dmaframe_core::Error) -> Self + '_ {
        move |error| Self::Core {
            camera: camera.to_owned(),
            error,
        }
    }
}

/// libcamera's errors are error numbers; what the binding adds has none.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}

fn list(ids: &[String]) -> String {
    if ids.is_empty() {
        "none at all".to_owned()
    } else {
        format!("{ids:?}")
    }
}

fn roles(asked: &[Role]) -> String {
    let names: Vec<_> = asked.iter().map(Role::to_string).collect();
    names.join(" + ")
}
