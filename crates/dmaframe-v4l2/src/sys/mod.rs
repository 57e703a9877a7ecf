//! The only unsafe code of the crate: the V4L2 ioctls, each behind a safe function.
//!
//! They go through `nix`'s ioctl macros and not rustix because rustix has no types for this family, and the macros
//! derive each request number from the structure's size, which differs between 32 and 64 bit.

pub(crate) mod abi;

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use abi::{BufferUnion, ExtControl, ExtControlUnion, ExtControls, Format, FormatUnion, PixFormat};
use abi::{PixFormatMplane, Plain, PlaneBuf, PlaneUnion};
use arrayvec::ArrayVec;
use dmaframe_core::{Buffer, DeviceClaim, Layout, MAX_PLANES, Object};
use rustix::io::Errno;

/// The generated functions are `pub` and without documentation: fenced in here.
mod raw {
    use super::abi;
    use std::ffi::c_int;

    nix::ioctl_read!(querycap, b'V', 0, abi::Capability);
    nix::ioctl_readwrite!(enum_fmt, b'V', 2, abi::FmtDesc);
    nix::ioctl_readwrite!(g_fmt, b'V', 4, abi::Format);
    nix::ioctl_readwrite!(s_fmt, b'V', 5, abi::Format);
    nix::ioctl_readwrite!(reqbufs, b'V', 8, abi::RequestBuffers);
    nix::ioctl_readwrite!(querybuf, b'V', 9, abi::Buffer);
    nix::ioctl_readwrite!(qbuf, b'V', 15, abi::Buffer);
    nix::ioctl_readwrite!(expbuf, b'V', 16, abi::ExportBuffer);
    nix::ioctl_readwrite!(dqbuf, b'V', 17, abi::Buffer);
    nix::ioctl_write_ptr!(streamon, b'V', 18, c_int);
    nix::ioctl_write_ptr!(streamoff, b'V', 19, c_int);
    nix::ioctl_readwrite!(g_parm, b'V', 21, abi::StreamParm);
    nix::ioctl_readwrite!(s_parm, b'V', 22, abi::StreamParm);
    nix::ioctl_readwrite!(enuminput, b'V', 26, abi::Input);
    nix::ioctl_readwrite!(querymenu, b'V', 37, abi::QueryMenu);
    nix::ioctl_read!(g_input, b'V', 38, c_int);
    nix::ioctl_readwrite!(s_input, b'V', 39, c_int);
    nix::ioctl_readwrite!(try_fmt, b'V', 64, abi::Format);
    nix::ioctl_readwrite!(g_ext_ctrls, b'V', 71, abi::ExtControls);
    nix::ioctl_readwrite!(s_ext_ctrls, b'V', 72, abi::ExtControls);
    nix::ioctl_readwrite!(enum_framesizes, b'V', 74, abi::FrmSizeEnum);
    nix::ioctl_readwrite!(enum_frameintervals, b'V', 75, abi::FrmIvalEnum);
    nix::ioctl_readwrite!(encoder_cmd, b'V', 77, abi::EncoderCmd);
    nix::ioctl_read!(dqevent, b'V', 89, abi::Event);
    nix::ioctl_write_ptr!(subscribe_event, b'V', 90, abi::EventSubscription);
    nix::ioctl_write_ptr!(unsubscribe_event, b'V', 91, abi::EventSubscription);
    nix::ioctl_readwrite!(g_selection, b'V', 94, abi::Selection);
    nix::ioctl_readwrite!(s_selection, b'V', 95, abi::Selection);
    nix::ioctl_readwrite!(decoder_cmd, b'V', 96, abi::DecoderCmd);
    nix::ioctl_readwrite!(query_ext_ctrl, b'V', 103, abi::QueryExtCtrl);
}

/// Runs `call` again for as long as a signal interrupts it.
fn retry(mut call: impl FnMut() -> nix::Result<i32>) -> Result<(), Errno> {
    loop {
        match call() {
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(Errno::from_raw_os_error(errno as i32)),
        }
    }
}

/// One safe function for each ioctl whose structure holds no pointer.
macro_rules! calls {
    ($($name:ident($ty:ty);)*) => {$(
        pub(crate) fn $name(fd: BorrowedFd<'_>, arg: &mut $ty) -> Result<(), Errno> {
            // SAFETY: the descriptor is open for the borrow, and the request number carries the size of exactly the
            // structure `arg` points to, which has no pointers for the kernel to follow.
            retry(|| unsafe { raw::$name(fd.as_raw_fd(), arg) })
        }
    )*};
}

calls! {
    querycap(abi::Capability);
    enum_fmt(abi::FmtDesc);
    reqbufs(abi::RequestBuffers);
    streamon(i32);
    streamoff(i32);
    g_parm(abi::StreamParm);
    s_parm(abi::StreamParm);
    enuminput(abi::Input);
    querymenu(abi::QueryMenu);
    g_input(i32);
    s_input(i32);
    enum_framesizes(abi::FrmSizeEnum);
    enum_frameintervals(abi::FrmIvalEnum);
    encoder_cmd(abi::EncoderCmd);
    decoder_cmd(abi::DecoderCmd);
    dqevent(abi::Event);
    subscribe_event(abi::EventSubscription);
    unsubscribe_event(abi::EventSubscription);
    g_selection(abi::Selection);
    s_selection(abi::Selection);
    query_ext_ctrl(abi::QueryExtCtrl);
}

/// A picture format as one of the two structures the buffer type calls for.
#[derive(Clone, Copy)]
pub(crate) enum AnyFormat {
    Single(PixFormat),
    Multi(PixFormatMplane),
}

/// Which of the three format ioctls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormatCall {
    Get,
    Try,
    Set,
}

/// `VIDIOC_G_FMT`, `VIDIOC_TRY_FMT` or `VIDIOC_S_FMT` for the CAPTURE or the OUTPUT queue; the driver's answer comes back
/// in `format`, which decides between the single- and the multi-planar buffer type.
pub(crate) fn format(
    fd: BorrowedFd<'_>,
    call: FormatCall,
    output: bool,
    format: &mut AnyFormat,
) -> Result<(), Errno> {
    let mut arg = match *format {
        AnyFormat::Single(pix) => {
            let mut fmt = FormatUnion { raw: [0; 200] };
            fmt.pix = pix;
            Format {
                kind: if output {
                    abi::BUF_TYPE_VIDEO_OUTPUT
                } else {
                    abi::BUF_TYPE_VIDEO_CAPTURE
                },
                fmt,
            }
        }
        AnyFormat::Multi(pix_mp) => {
            let mut fmt = FormatUnion { raw: [0; 200] };
            fmt.pix_mp = pix_mp;
            Format {
                kind: if output {
                    abi::BUF_TYPE_VIDEO_OUTPUT_MPLANE
                } else {
                    abi::BUF_TYPE_VIDEO_CAPTURE_MPLANE
                },
                fmt,
            }
        }
    };
    // SAFETY: as in `calls!`; of the union's members only the overlay window has pointers, and the buffer types set
    // above are the four that do not use it.
    retry(|| unsafe {
        match call {
            FormatCall::Get => raw::g_fmt(fd.as_raw_fd(), &mut arg),
            FormatCall::Try => raw::try_fmt(fd.as_raw_fd(), &mut arg),
            FormatCall::Set => raw::s_fmt(fd.as_raw_fd(), &mut arg),
        }
    })?;
    match format {
        // SAFETY: all 200 bytes were initialised above and every bit pattern is a value of these integers.
        AnyFormat::Single(pix) => *pix = unsafe { arg.fmt.pix },
        // SAFETY: as above.
        AnyFormat::Multi(pix_mp) => *pix_mp = unsafe { arg.fmt.pix_mp },
    }
    Ok(())
}

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

/// A memory plane of a driver's own buffer, fresh from `VIDIOC_EXPBUF` and in nobody else's hands.
#[derive(Debug)]
pub(crate) struct Exported(OwnedFd);

/// `VIDIOC_EXPBUF`: memory plane `plane` of buffer `index` as a new dma-buf, close-on-exec, readable and writable.
pub(crate) fn expbuf(fd: BorrowedFd<'_>, kind: u32, index: u32, plane: u32) -> Result<Exported, Errno> {
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::RDWR;
    let mut arg = abi::ExportBuffer {
        kind,
        index,
        plane,
        flags: flags.bits(),
        ..abi::ExportBuffer::zeroed()
    };
    // SAFETY: as in `calls!`.
    retry(|| unsafe { raw::expbuf(fd.as_raw_fd(), &mut arg) })?;
    if arg.fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the call succeeded, so the kernel made this descriptor for us and nobody else owns it.
    Ok(Exported(unsafe { OwnedFd::from_raw_fd(arg.fd) }))
}

/// A buffer of the driver's own, whose frames give slices.
///
/// Made from fresh exports only, so that nobody else has its memory. Only the capture engine has these, and it keeps the
/// promise below: it makes frames of one only between `VIDIOC_DQBUF` and the `VIDIOC_QBUF` that follows the lease's
/// return.
#[derive(Debug)]
pub(crate) struct ExportedBuffer(Arc<Buffer>);

impl ExportedBuffer {
    /// Takes the planes of one buffer. `layout` sees the objects' true sizes and says where the picture lies.
    pub(crate) fn new<E: From<dmaframe_core::Error>>(
        planes: impl IntoIterator<Item = Exported>,
        generation: u64,
        layout: impl FnOnce(&[u64]) -> Result<Layout, E>,
    ) -> Result<Self, E> {
        let mut objects = ArrayVec::<_, MAX_PLANES>::new();
        for (index, plane) in planes.into_iter().take(MAX_PLANES).enumerate() {
            objects.push(Arc::new(Object::new(plane.0, index)?));
        }
        let sizes: ArrayVec<u64, MAX_PLANES> =
            objects.iter().map(|object: &Arc<Object>| object.size()).collect();
        Ok(Self(private(objects, &layout(&sizes)?, generation)?))
    }

    /// The same memory with the picture at another place. The engine does this only while the buffer is in no frame,
    /// and uses the old handle no more.
    pub(crate) fn relaid(&self, layout: &Layout) -> Result<Self, dmaframe_core::Error> {
        let objects = self.0.objects().iter().cloned().collect();
        private(objects, layout, self.0.id().generation()).map(Self)
    }

    pub(crate) fn buffer(&self) -> &Arc<Buffer> {
        &self.0
    }
}

fn private(
    objects: ArrayVec<Arc<Object>, MAX_PLANES>,
    layout: &Layout,
    generation: u64,
) -> Result<Arc<Buffer>, dmaframe_core::Error> {
    let (fourcc, modifier, size) = (layout.fourcc(), layout.modifier(), layout.size());
    // SAFETY: the memory is the driver's own, exported to us alone (`Exported` comes from nowhere else), each plane
    // once, or an allocator's that promised the same and gave it up (`own_buffer`). The driver writes it only while the
    // buffer is queued, and the engine puts it into a frame only after DQBUF named it and queues it again only after
    // that frame's lease has run.
    let buffer = unsafe {
        dmaframe_core::raw::private_buffer(fourcc, modifier, size, objects, layout.planes(), generation)
    };
    buffer.map(Arc::new)
}

/// The descriptor of one plane for the driver to write into.
///
/// A private buffer's frames go on giving slices: the claim keeps frames from being made of it for as long as the driver
/// has it. Of any other buffer there may be handles that no claim excludes, so its memory counts as lent from now on
/// and views copy.
///
/// The engine keeps the claim from before QBUF until the frame that follows DQBUF takes it, or until STREAMOFF.
pub(crate) fn import_fd(claim: &DeviceClaim, plane: usize) -> Result<BorrowedFd<'_>, dmaframe_core::Error> {
    let objects = claim.buffer().objects();
    let Some(object) = objects.get(plane) else {
        return Err(dmaframe_core::Error::OutOfRange {
            what: "object",
            index: plane,
            limit: objects.len(),
        });
    };
    if claim.buffer().is_private() {
        // SAFETY: the driver writes between QBUF and DQBUF only, and for that time the claim keeps this buffer out of
        // frames, so that no view of it is alive. That no other buffer or mapping of this process is written or read
        // through is what the private buffer's maker promised.
        Ok(unsafe { dmaframe_core::raw::import_fd(object) })
    } else {
        object.lend(plane)
    }
}

/// The descriptor of one plane for the driver to read from: no view has to stop giving slices for that.
///
/// The engine keeps the frame, or the claim of its own buffer, from before QBUF until DQBUF or STREAMOFF.
pub(crate) fn output_fd(buffer: &Buffer, plane: usize) -> Result<BorrowedFd<'_>, dmaframe_core::Error> {
    let objects = buffer.objects();
    let Some(object) = objects.get(plane) else {
        return Err(dmaframe_core::Error::OutOfRange {
            what: "object",
            index: plane,
            limit: objects.len(),
        });
    };
    // SAFETY: a driver only reads the buffers of an OUTPUT queue (`DMA_TO_DEVICE`), and nobody else gets the descriptor.
    Ok(unsafe { dmaframe_core::raw::import_fd(object) })
}

/// A buffer over memory that was allocated for it, whose frames give slices.
///
/// `fresh` are buffers of this process's own allocator, each of one object, in no frame and given up here.
pub(crate) fn own_buffer(
    fresh: impl IntoIterator<Item = Buffer>,
    layout: &Layout,
) -> Result<Arc<Buffer>, dmaframe_core::Error> {
    let objects: ArrayVec<Arc<Object>, MAX_PLANES> = fresh
        .into_iter()
        .take(MAX_PLANES)
        .filter_map(|buffer| buffer.is_private().then(|| buffer.objects().first().cloned())?)
        .collect();
    // Every buffer was private: its maker promised that the memory has no other users, and this takes its place.
    private(objects, layout, dmaframe_core::next_generation())
}

/// A scalar control's value as `VIDIOC_G_EXT_CTRLS` (`None`) reads or `VIDIOC_S_EXT_CTRLS` (`Some`) writes it. `wide`
/// says whether the control is 64 bits. The caller must have made sure that `id` is no control with a payload: the
/// kernel answers [`Errno::NOSPC`] for one, since the size given is 0.
pub(crate) fn control(fd: BorrowedFd<'_>, id: u32, wide: bool, set: Option<i64>) -> Result<i64, Errno> {
    let mut value = ExtControlUnion { value64: 0 };
    if let Some(new) = set {
        if wide {
            value.value64 = new;
        } else {
            value.value = i32::try_from(new).map_err(|_| Errno::RANGE)?;
        }
    }
    // Declared before `arg`, which points to it, so that it outlives every use.
    let mut one = ExtControl {
        id,
        size: 0,
        reserved2: 0,
        value,
    };
    let mut arg = ExtControls {
        count: 1,
        controls: &raw mut one,
        ..ExtControls::zeroed()
    };
    // SAFETY: as in `calls!`; the pointer leads to one control, as `count` says, and its own value is no pointer: for
    // a control that takes one, a size of 0 makes the kernel fail before it follows it.
    retry(|| unsafe {
        match set {
            Some(_) => raw::s_ext_ctrls(fd.as_raw_fd(), &mut arg),
            None => raw::g_ext_ctrls(fd.as_raw_fd(), &mut arg),
        }
    })?;
    // SAFETY: the eight bytes were initialised above; every bit pattern is an integer.
    Ok(unsafe {
        if wide {
            one.value.value64
        } else {
            i64::from(one.value.value)
        }
    })
}

/// The `changes` word of a source change event.
pub(crate) fn source_changes(event: &abi::Event) -> u32 {
    // SAFETY: the structure started zeroed, so all its bytes are initialised; every bit pattern is an integer.
    unsafe { event.u.src_changes }
}
