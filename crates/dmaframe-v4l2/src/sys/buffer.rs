//! Buffers on their way: `VIDIOC_QUERYBUF`, `VIDIOC_QBUF`, `VIDIOC_DQBUF`.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::abi::{self, BufferUnion, Plain, PlaneBuf, PlaneUnion};
use super::{raw, retry};

/// One memory plane of a buffer, in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlaneInfo {
    /// Size of the memory, bytes.
    pub(crate) length: u32,
    /// Bytes the driver filled, from the start of the memory (`data_offset` included).
    pub(crate) bytesused: u32,
    /// Where the data begins.
    pub(crate) data_offset: u32,
}

/// What the driver says about a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BufferInfo {
    pub(crate) index: u32,
    pub(crate) flags: u32,
    pub(crate) field: u32,
    pub(crate) sequence: u32,
    pub(crate) sec: i64,
    pub(crate) usec: i64,
    /// Memory planes the driver reports, at most `VIDEO_MAX_PLANES`.
    pub(crate) plane_count: usize,
    pub(crate) planes: [PlaneInfo; abi::VIDEO_MAX_PLANES],
}

#[cfg(test)]
impl BufferInfo {
    /// Of a progressive picture in one plane, captured at this time by the clock that the flags say.
    pub(crate) fn at(flags: u32, (sec, usec): (i64, i64)) -> Self {
        Self {
            index: 0,
            flags,
            field: 1,
            sequence: 0,
            sec,
            usec,
            plane_count: 1,
            planes: [PlaneInfo::default(); abi::VIDEO_MAX_PLANES],
        }
    }
}

/// Which ioctl of the three that take a whole `struct v4l2_buffer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BufferCall {
    Query,
    Queue,
    Dequeue,
}

/// `VIDIOC_QUERYBUF`: sizes of buffer `index`.
pub(crate) fn querybuf(fd: BorrowedFd<'_>, kind: u32, memory: u32, index: u32) -> Result<BufferInfo, Errno> {
    buffer_call(
        fd,
        BufferCall::Query,
        Queueing {
            kind,
            memory,
            index,
            ..Queueing::default()
        },
    )
}

/// `VIDIOC_DQBUF`: the next filled buffer; [`Errno::AGAIN`] when there is none.
pub(crate) fn dqbuf(fd: BorrowedFd<'_>, kind: u32, memory: u32) -> Result<BufferInfo, Errno> {
    buffer_call(
        fd,
        BufferCall::Dequeue,
        Queueing {
            kind,
            memory,
            ..Queueing::default()
        },
    )
}

/// One memory plane of a buffer that is given to the driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueuedPlane<'a> {
    /// The dma-buf, for DMABUF memory; the driver takes its own reference.
    pub(crate) fd: Option<BorrowedFd<'a>>,
    /// Its size, bytes.
    pub(crate) length: u32,
    /// Bytes of it that are data; for OUTPUT queues.
    pub(crate) bytesused: u32,
}

/// A buffer to be given to the driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Queueing<'a> {
    pub(crate) kind: u32,
    pub(crate) memory: u32,
    pub(crate) index: u32,
    /// Empty for MMAP memory of a CAPTURE queue.
    pub(crate) planes: &'a [QueuedPlane<'a>],
    /// For OUTPUT queues.
    pub(crate) sec: i64,
    pub(crate) usec: i64,
}

/// `VIDIOC_QBUF`: gives a buffer to the driver.
pub(crate) fn qbuf(fd: BorrowedFd<'_>, what: Queueing<'_>) -> Result<(), Errno> {
    buffer_call(fd, BufferCall::Queue, what).map(|_| ())
}

fn buffer_call(fd: BorrowedFd<'_>, call: BufferCall, what: Queueing<'_>) -> Result<BufferInfo, Errno> {
    let Queueing {
        kind,
        memory,
        index,
        planes: memory_planes,
        sec,
        usec,
    } = what;
    let multi = matches!(
        kind,
        abi::BUF_TYPE_VIDEO_CAPTURE_MPLANE | abi::BUF_TYPE_VIDEO_OUTPUT_MPLANE
    );
    if memory_planes.len() > abi::VIDEO_MAX_PLANES {
        return Err(Errno::INVAL);
    }
    // Declared before `arg`, which points to it, so that it outlives every use.
    let mut planes = [PlaneBuf::zeroed(); abi::VIDEO_MAX_PLANES];
    let mut arg = abi::Buffer {
        kind,
        memory,
        index,
        field: if call == BufferCall::Queue {
            abi::FIELD_NONE
        } else {
            abi::FIELD_ANY
        },
        timestamp: abi::Timeval { sec, usec },
        ..abi::Buffer::zeroed()
    };
    if multi {
        for (plane, from) in planes.iter_mut().zip(memory_planes) {
            if let Some(fd) = from.fd {
                plane.m = PlaneUnion { fd: fd.as_raw_fd() };
            }
            plane.length = from.length;
            plane.bytesused = from.bytesused;
        }
        arg.m = BufferUnion {
            planes: planes.as_mut_ptr(),
        };
        // Elements of the array: all of it for the driver to fill, on QBUF too, where it uses the format's count.
        arg.length = abi::VIDEO_MAX_PLANES as u32;
    } else if let Some(from) = memory_planes.first() {
        if let Some(fd) = from.fd {
            arg.m = BufferUnion { fd: fd.as_raw_fd() };
        }
        arg.length = from.length;
        arg.bytesused = from.bytesused;
    }
    // SAFETY: as in `calls!`. The one pointer, set for multi-planar types only, leads to `planes`, whose true element
    // count is in `length`; the kernel writes no more elements than that and keeps no pointer after the call.
    retry(|| unsafe {
        match call {
            BufferCall::Query => raw::querybuf(fd.as_raw_fd(), &mut arg),
            BufferCall::Queue => raw::qbuf(fd.as_raw_fd(), &mut arg),
            BufferCall::Dequeue => raw::dqbuf(fd.as_raw_fd(), &mut arg),
        }
    })?;
    let mut info = BufferInfo {
        index: arg.index,
        flags: arg.flags,
        field: arg.field,
        sequence: arg.sequence,
        sec: arg.timestamp.sec,
        usec: arg.timestamp.usec,
        plane_count: 1,
        planes: [PlaneInfo::default(); abi::VIDEO_MAX_PLANES],
    };
    if multi {
        info.plane_count = (arg.length as usize).min(abi::VIDEO_MAX_PLANES);
        for (to, from) in info.planes.iter_mut().zip(&planes) {
            *to = PlaneInfo {
                length: from.length,
                bytesused: from.bytesused,
                data_offset: from.data_offset,
            };
        }
    } else {
        info.planes[0] = PlaneInfo {
            length: arg.length,
            bytesused: arg.bytesused,
            data_offset: 0,
        };
    }
    Ok(info)
}
