//! The ioctls of the test devices: `drivers/dma-buf/sw_sync.c`, `include/uapi/drm/{drm,vgem_drm}.h`,
//! `include/uapi/linux/videodev2.h`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bytemuck::{Pod, Zeroable};
use rustix::ioctl::{Setter, Updater, ioctl, opcode};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SwSyncFence {
    value: u32,
    name: [u8; 32],
    fence: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PrimeHandle {
    handle: u32,
    flags: u32,
    fd: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct VgemAttach {
    handle: u32,
    flags: u32,
    out_fence: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct VgemSignal {
    fence: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct V4l2Capability {
    driver: [u8; 16],
    card: [u8; 32],
    bus_info: [u8; 32],
    version: u32,
    capabilities: u32,
    device_caps: u32,
    reserved: [u32; 3],
}

/// `struct drm_version`, whose lengths are `size_t`.
#[repr(C)]
struct DrmVersion {
    major: i32,
    minor: i32,
    patch: i32,
    name_len: usize,
    name: *mut u8,
    date_len: usize,
    date: *mut u8,
    desc_len: usize,
    desc: *mut u8,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct UdmabufCreate {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HeapAllocation {
    len: u64,
    fd: u32,
    fd_flags: u32,
    heap_flags: u64,
}

macro_rules! call {
    ($fd:expr, $group:literal, $nr:expr, $arg:expr, $type:ty) => {
        // SAFETY: the request reads and writes the struct of this number, which `$type` mirrors; pointers in it are
        // to buffers of the length it also gives, alive for the call.
        unsafe { ioctl($fd, Updater::<{ opcode::read_write::<$type>($group, $nr) }, $type>::new(&mut $arg)) }
    };
}

pub(crate) fn sw_sync_fence(timeline: &File, value: u32) -> io::Result<OwnedFd> {
    let mut arg = SwSyncFence {
        value,
        name: [0; 32],
        fence: -1,
    };
    arg.name[..4].copy_from_slice(b"test");
    call!(timeline, b'W', 0, arg, SwSyncFence)?;
    // SAFETY: on success the kernel installed a new descriptor in our table and gave nobody else its number.
    Ok(unsafe { OwnedFd::from_raw_fd(arg.fence) })
}

pub(crate) fn sw_sync_inc(timeline: &File, by: u32) -> io::Result<()> {
    // SAFETY: SW_SYNC_IOC_INC reads one u32.
    unsafe {
        ioctl(
            timeline,
            Setter::<{ opcode::write::<u32>(b'W', 1) }, u32>::new(by),
        )
    }?;
    Ok(())
}

pub(crate) fn vgem_attach_write(vgem: &File, dmabuf: BorrowedFd<'_>) -> io::Result<u32> {
    let mut prime = PrimeHandle {
        handle: 0,
        flags: 0,
        fd: dmabuf.as_raw_fd(),
    };
    call!(vgem, b'd', 0x2e, prime, PrimeHandle)?;
    const VGEM_FENCE_WRITE: u32 = 1;
    let mut attach = VgemAttach {
        handle: prime.handle,
        flags: VGEM_FENCE_WRITE,
        out_fence: 0,
        pad: 0,
    };
    call!(vgem, b'd', 0x41, attach, VgemAttach)?;
    Ok(attach.out_fence)
}

pub(crate) fn vgem_signal(vgem: &File, fence: u32) -> io::Result<()> {
    let arg = VgemSignal { fence, flags: 0 };
    // SAFETY: DRM_IOCTL_VGEM_FENCE_SIGNAL reads a `struct drm_vgem_fence_signal`, which the type mirrors.
    unsafe {
        ioctl(
            vgem,
            Setter::<{ opcode::write::<VgemSignal>(b'd', 0x42) }, VgemSignal>::new(arg),
        )
    }?;
    Ok(())
}

pub(crate) fn drm_driver(drm: &File) -> io::Result<String> {
    let mut name = [0u8; 64];
    let null = std::ptr::null_mut();
    let mut arg = DrmVersion {
        major: 0,
        minor: 0,
        patch: 0,
        name_len: name.len(),
        name: name.as_mut_ptr(),
        date_len: 0,
        date: null,
        desc_len: 0,
        desc: null,
    };
    call!(drm, b'd', 0x00, arg, DrmVersion)?;
    Ok(String::from_utf8_lossy(&name[..arg.name_len.min(64)]).into_owned())
}

pub(crate) fn v4l2_driver(video: &File) -> io::Result<(String, u32)> {
    let mut arg = V4l2Capability::zeroed();
    // SAFETY: VIDIOC_QUERYCAP writes a `struct v4l2_capability`, which the type mirrors.
    unsafe {
        ioctl(
            video,
            Updater::<{ opcode::read::<V4l2Capability>(b'V', 0) }, V4l2Capability>::new(&mut arg),
        )
    }?;
    let end = arg
        .driver
        .iter()
        .position(|b| *b == 0)
        .unwrap_or(arg.driver.len());
    Ok((
        String::from_utf8_lossy(&arg.driver[..end]).into_owned(),
        arg.device_caps,
    ))
}

pub(crate) fn udmabuf(device: &File, memfd: BorrowedFd<'_>, size: u64) -> io::Result<OwnedFd> {
    const UDMABUF_FLAGS_CLOEXEC: u32 = 1;
    let memfd = u32::try_from(memfd.as_raw_fd()).unwrap_or(u32::MAX);
    let arg = UdmabufCreate {
        memfd,
        flags: UDMABUF_FLAGS_CLOEXEC,
        offset: 0,
        size,
    };
    // SAFETY: UDMABUF_CREATE reads a `struct udmabuf_create`, which the type mirrors, and its result is a new
    // descriptor of ours.
    let fd = unsafe { ioctl(device, CreateFd { arg }) }?;
    Ok(fd)
}

pub(crate) fn heap(device: &File, len: u64, access: u32) -> io::Result<OwnedFd> {
    let mut arg = HeapAllocation {
        len,
        fd: 0,
        fd_flags: access,
        heap_flags: 0,
    };
    call!(device, b'H', 0, arg, HeapAllocation)?;
    let fd = i32::try_from(arg.fd).unwrap_or(-1);
    // SAFETY: on success the kernel installed a new descriptor in our table and gave nobody else its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// UDMABUF_CREATE answers with a descriptor as the call's result, which rustix' ready patterns do not do.
struct CreateFd {
    arg: UdmabufCreate,
}

// SAFETY: the opcode is UDMABUF_CREATE's, `as_ptr` points to the struct it reads, and its output is a descriptor.
unsafe impl rustix::ioctl::Ioctl for CreateFd {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> rustix::ioctl::Opcode {
        opcode::write::<UdmabufCreate>(b'u', 0x42)
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        (&raw mut self.arg).cast()
    }

    unsafe fn output_from_ptr(
        out: rustix::ioctl::IoctlOutput,
        _: *mut std::ffi::c_void,
    ) -> rustix::io::Result<OwnedFd> {
        // SAFETY: a successful UDMABUF_CREATE returns a new descriptor in our table.
        Ok(unsafe { OwnedFd::from_raw_fd(out) })
    }
}

thread_local! {
    static ALLOCATED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, counting each thread's allocations and their bytes.
#[derive(Debug)]
pub struct CountingAllocator;

/// Allocations and their bytes on this thread so far.
pub(crate) fn allocated() -> (u64, u64) {
    ALLOCATED.with(Cell::get)
}

fn count(bytes: usize) {
    // A thread at its end has no counter any more, and nobody asks.
    let _ = ALLOCATED.try_with(|cell| {
        let (calls, sum) = cell.get();
        cell.set((calls + 1, sum + bytes as u64));
    });
}

// SAFETY: every call goes to the system's allocator as it came; only a counter is added, which allocates nothing.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.realloc(start, layout, size) }
    }
}

/// Private memory: the one promise of a test.
#[cfg(feature = "frames")]
pub(crate) fn private_frame(
    fourcc: dmaframe_core::Fourcc,
    size: dmaframe_core::Size,
    objects: Vec<std::sync::Arc<dmaframe_core::Object>>,
    planes: &[dmaframe_core::Plane],
) -> Result<dmaframe_core::Frame, dmaframe_core::Error> {
    use dmaframe_core::{Fence, Frame, FrameMeta, Lease, Modifier, next_generation};
    // SAFETY: the descriptors are the test's own and nobody else's: `frame_in` takes them.
    let buffer = unsafe {
        dmaframe_core::raw::private_buffer(fourcc, Modifier::LINEAR, size, objects, planes, next_generation())
    }?;
    let meta = FrameMeta::default();
    Frame::new(std::sync::Arc::new(buffer), meta, Fence::Signaled, Lease::none())
}
