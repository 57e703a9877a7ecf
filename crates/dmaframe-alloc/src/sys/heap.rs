//! `include/uapi/linux/dma-heap.h`.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use bytemuck::{Pod, Zeroable};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl, opcode};

use super::Fresh;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct AllocationData {
    len: u64,
    /// Out; must be 0 on the way in.
    fd: i32,
    fd_flags: u32,
    heap_flags: u64,
}

const ALLOC: u32 = opcode::read_write::<AllocationData>(b'H', 0);

/// A new dma-buf of `len` bytes, which the kernel rounds up to pages and fills with zeros.
pub(crate) fn allocate(node: BorrowedFd<'_>, len: u64) -> Result<Fresh, Errno> {
    let mut arg = AllocationData {
        len,
        fd: 0,
        fd_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
        heap_flags: 0,
    };
    super::retry(|| {
        // SAFETY: the request reads and writes a `struct dma_heap_allocation_data`, which the type mirrors.
        unsafe { ioctl(node, Updater::<{ ALLOC as _ }, AllocationData>::new(&mut arg)) }
    })?;
    // SAFETY: on success the kernel installed a new descriptor in our table and gave nobody else its number.
    Ok(Fresh(unsafe { OwnedFd::from_raw_fd(arg.fd) }))
}
