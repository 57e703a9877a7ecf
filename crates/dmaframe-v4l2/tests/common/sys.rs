//! Allocating dma-bufs: `include/uapi/linux/{udmabuf,dma-heap}.h`.

use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::ioctl::{Updater, ioctl, opcode};

#[repr(C)]
struct UdmabufCreate {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

#[repr(C)]
struct HeapAllocation {
    len: u64,
    fd: u32,
    fd_flags: u32,
    heap_flags: u64,
}

/// Rounds up to pages of any size there is on the machines tests run on.
fn pages(size: u64) -> u64 {
    size.next_multiple_of(65536)
}

pub(crate) fn memfd(size: u64) -> OwnedFd {
    let fd = rustix::fs::memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&fd, pages(size)).unwrap();
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
    fd
}

pub(crate) fn udmabuf(path: &Path, size: u64) -> OwnedFd {
    let device = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let memfd = memfd(size);
    let memfd_number = u32::try_from(memfd.as_raw_fd()).unwrap();
    let mut arg = UdmabufCreate { memfd: memfd_number, flags: 1, offset: 0, size: pages(size) };
    const CREATE: rustix::ioctl::Opcode = opcode::write::<UdmabufCreate>(b'u', 0x42);
    // SAFETY: UDMABUF_CREATE reads this structure and returns a new descriptor as its result.
    let fd = unsafe { ioctl(&device, Returning::<CREATE>(&raw mut arg)) }.unwrap();
    // SAFETY: the call made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// An ioctl whose result is a number.
struct Returning<const OPCODE: rustix::ioctl::Opcode>(*mut UdmabufCreate);

// SAFETY: passes the pointer on, and the result is what the kernel returned.
unsafe impl<const OPCODE: rustix::ioctl::Opcode> rustix::ioctl::Ioctl for Returning<OPCODE> {
    type Output = i32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> rustix::ioctl::Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        self.0.cast()
    }

    unsafe fn output_from_ptr(
        out: rustix::ioctl::IoctlOutput,
        _: *mut std::ffi::c_void,
    ) -> rustix::io::Result<i32> {
        Ok(out)
    }
}

pub(crate) fn heap(path: &Path, size: u64) -> OwnedFd {
    let device = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let fd_flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let mut arg = HeapAllocation { len: pages(size), fd: 0, fd_flags: fd_flags.bits(), heap_flags: 0 };
    const ALLOC: rustix::ioctl::Opcode = opcode::read_write::<HeapAllocation>(b'H', 0);
    // SAFETY: DMA_HEAP_IOCTL_ALLOC reads and writes this structure.
    unsafe { ioctl(&device, Updater::<ALLOC, _>::new(&mut arg)) }.unwrap();
    // SAFETY: the call made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(arg.fd).unwrap()) }
}
