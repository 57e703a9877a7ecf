//! Raw memory objects, made without the allocators under test.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, OFlags, SealFlags};

use crate::sys;

/// A memfd of `size` bytes; sealed against shrinking if `sealed`.
///
/// # Errors
/// When the kernel refuses.
pub fn memfd(size: u64, sealed: bool) -> io::Result<File> {
    let fd = rustix::fs::memfd_create("testkit", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&fd, size)?;
    if sealed {
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK)?;
    }
    Ok(fd.into())
}

/// A udmabuf of at least `size` bytes (whole pages).
///
/// # Errors
/// When the kernel refuses.
pub fn udmabuf(device: &Path, size: u64) -> io::Result<OwnedFd> {
    let size = size.next_multiple_of(4096);
    let memory = memfd(size, true)?;
    let device = OpenOptions::new().read(true).write(true).open(device)?;
    sys::udmabuf(&device, memory.as_fd(), size)
}

/// A buffer of a dma-heap; `writable` decides the descriptor's access mode.
///
/// # Errors
/// When the kernel refuses.
pub fn system_heap(device: &Path, size: u64, writable: bool) -> io::Result<OwnedFd> {
    let device = OpenOptions::new().read(true).open(device)?;
    let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
    sys::heap(&device, size, (access | OFlags::CLOEXEC).bits())
}
