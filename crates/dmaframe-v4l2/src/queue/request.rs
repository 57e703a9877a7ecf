//! Asking the driver for buffers, and giving them up.

use std::os::fd::AsFd;
use std::sync::Arc;

use dmaframe_core::Buffer;
use rustix::io::Errno;

use crate::device::{Device, Queue};
use crate::error::Error;
use crate::sys;
use crate::sys::abi::{self, Plain};

/// Where the memory comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The driver's own buffers, so many of them, exported as dma-bufs.
    Export { count: u32 },
    /// The caller's buffers.
    Import { buffers: Vec<Arc<Buffer>> },
}

impl Source {
    pub(crate) fn memory(&self) -> u32 {
        match self {
            Self::Export { .. } => abi::MEMORY_MMAP,
            Self::Import { .. } => abi::MEMORY_DMABUF,
        }
    }
}

/// `VIDIOC_REQBUFS`: how many the driver granted.
pub(crate) fn request(device: &Device, queue: Queue, memory: u32, wanted: u32) -> Result<u32, Error> {
    let limit = abi::VIDEO_MAX_FRAME;
    let count_error = |found: u32, needed: u32| Error::BufferCount {
        device: device.path().to_owned(),
        found: found as usize,
        needed: needed as usize,
        limit: limit as usize,
    };
    if wanted == 0 || wanted > limit {
        return Err(count_error(wanted, 1));
    }
    let mut arg = abi::RequestBuffers {
        count: wanted,
        kind: device.buf_type(queue),
        memory,
        ..abi::RequestBuffers::zeroed()
    };
    let mode = |capabilities| Error::MemoryMode {
        device: device.path().to_owned(),
        mode: if memory == abi::MEMORY_DMABUF {
            "DMABUF"
        } else {
            "MMAP"
        },
        capabilities,
    };
    match sys::reqbufs(device.as_fd(), &mut arg) {
        Ok(()) => {}
        // What drivers without this memory mode answer.
        Err(Errno::INVAL) => {
            let supported = capabilities(device, queue);
            let import = memory == abi::MEMORY_DMABUF;
            // The driver may refuse for another reason; only blame the mode when it does not claim to have it.
            if import && supported & abi::BUF_CAP_SUPPORTS_DMABUF == 0 {
                return Err(mode(supported));
            }
            return Err(device.fail("VIDIOC_REQBUFS")(Errno::INVAL));
        }
        Err(errno) => return Err(device.fail("VIDIOC_REQBUFS")(errno)),
    }
    let import = memory == abi::MEMORY_DMABUF && queue == Queue::Capture;
    if let Err((found, needed)) = check_granted(wanted, arg.count, import) {
        let _ = release(device, queue, memory);
        return Err(count_error(found, needed));
    }
    Ok(arg.count)
}

/// An import for capture needs a driver's buffer for each of the caller's, and one of the caller's for each that the
/// driver wants: with fewer it starts and never fills one. Else whatever there is is good. How many were found and needed
/// otherwise.
fn check_granted(wanted: u32, granted: u32, import: bool) -> Result<(), (u32, u32)> {
    if import && granted > wanted {
        return Err((wanted, granted));
    }
    let needed = if import { wanted } else { 1 };
    if granted < needed || granted > abi::VIDEO_MAX_FRAME {
        return Err((granted, needed));
    }
    Ok(())
}

/// `V4L2_BUF_CAP_*`, by asking for no MMAP buffers, which every driver allows; 0 where it does not say.
pub(crate) fn capabilities(device: &Device, queue: Queue) -> u32 {
    let mut arg = abi::RequestBuffers {
        kind: device.buf_type(queue),
        memory: abi::MEMORY_MMAP,
        ..abi::RequestBuffers::zeroed()
    };
    if sys::reqbufs(device.as_fd(), &mut arg).is_ok() {
        arg.capabilities
    } else {
        0
    }
}

/// Gives all buffers back to the driver for good. Exported memory that frames still hold stays valid (Linux 4.20,
/// `V4L2_BUF_CAP_SUPPORTS_ORPHANED_BUFS`); older kernels answer [`Error::Busy`].
pub(crate) fn release(device: &Device, queue: Queue, memory: u32) -> Result<(), Error> {
    let mut arg = abi::RequestBuffers {
        kind: device.buf_type(queue),
        memory,
        ..abi::RequestBuffers::zeroed()
    };
    sys::reqbufs(device.as_fd(), &mut arg).map_err(device.fail("VIDIOC_REQBUFS"))
}

#[cfg(test)]
mod tests {
    use super::check_granted;

    #[test]
    fn an_import_is_as_many_buffers_as_the_driver_has_for_it() {
        assert_eq!(check_granted(4, 4, true), Ok(()));
        assert_eq!(check_granted(1, 2, true), Err((1, 2)), "the driver wants two");
        assert_eq!(check_granted(4, 3, true), Err((3, 4)), "the driver has three");
        assert_eq!(check_granted(1, 2, false), Ok(()), "its own: what it likes");
        assert_eq!(check_granted(4, 1, false), Ok(()));
        assert_eq!(check_granted(4, 0, false), Err((0, 1)));
        assert_eq!(check_granted(4, 33, false), Err((33, 1)));
    }
}
