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
    // An import for capture needs a driver's buffer for each of the caller's; more do no harm. Else what there is.
    let needed = if memory == abi::MEMORY_DMABUF && queue == Queue::Capture {
        wanted
    } else {
        1
    };
    if arg.count < needed || arg.count > limit {
        let _ = release(device, queue, memory);
        return Err(count_error(arg.count, needed));
    }
    Ok(arg.count)
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
