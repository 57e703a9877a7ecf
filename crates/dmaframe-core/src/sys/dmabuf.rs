//! `include/uapi/linux/dma-buf.h`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bytemuck::{Pod, Zeroable};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, Updater, ioctl, opcode};

/// `DMA_BUF_MAGIC`, what `fstatfs` answers for every dma-buf.
pub(crate) const MAGIC: u64 = 0x444d_4142;

/// `DMA_BUF_SYNC_*`.
pub(crate) const READ: u32 = 1;
pub(crate) const WRITE: u32 = 2;
const END: u64 = 4;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Sync {
    flags: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ExportSyncFile {
    flags: u32,
    fd: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ImportSyncFile {
    flags: u32,
    fd: i32,
}

const SYNC: Opcode = opcode::write::<Sync>(b'b', 0);
const EXPORT: Opcode = opcode::read_write::<ExportSyncFile>(b'b', 2);
const IMPORT: Opcode = opcode::write::<ImportSyncFile>(b'b', 3);

fn sync(fd: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    super::retry(|| {
        // SAFETY: DMA_BUF_IOCTL_SYNC reads a `struct dma_buf_sync`, which `Sync` mirrors, and writes no memory.
        unsafe { ioctl(fd, Setter::<{ SYNC }, Sync>::new(Sync { flags })) }
    })
}

/// `DMA_BUF_SYNC_START`. Waits in the kernel, without a limit, for fences still pending: wait for them first.
pub(crate) fn begin_cpu_access(fd: BorrowedFd<'_>, access: u32) -> Result<(), Errno> {
    sync(fd, u64::from(access))
}

/// `DMA_BUF_SYNC_END`.
pub(crate) fn end_cpu_access(fd: BorrowedFd<'_>, access: u32) -> Result<(), Errno> {
    sync(fd, u64::from(access) | END)
}

/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`: `ENOTTY` before Linux 6.0.
pub(crate) fn export_sync_file(fd: BorrowedFd<'_>, access: u32) -> Result<OwnedFd, Errno> {
    let mut arg = ExportSyncFile {
        flags: access,
        fd: -1,
    };
    super::retry(|| {
        // SAFETY: the request reads and writes a `struct dma_buf_export_sync_file`, which the type mirrors.
        unsafe { ioctl(fd, Updater::<{ EXPORT }, ExportSyncFile>::new(&mut arg)) }
    })?;
    // SAFETY: on success the kernel installed a new descriptor in our table and gave nobody else its number.
    Ok(unsafe { OwnedFd::from_raw_fd(arg.fd) })
}

/// `DMA_BUF_IOCTL_IMPORT_SYNC_FILE`: `ENOTTY` before Linux 6.0.
pub(crate) fn import_sync_file(fd: BorrowedFd<'_>, access: u32, fence: BorrowedFd<'_>) -> Result<(), Errno> {
    let arg = ImportSyncFile {
        flags: access,
        fd: fence.as_raw_fd(),
    };
    super::retry(|| {
        // SAFETY: the request reads a `struct dma_buf_import_sync_file`, which the type mirrors; the descriptor in
        // it is borrowed for the call.
        unsafe { ioctl(fd, Setter::<{ IMPORT }, ImportSyncFile>::new(arg)) }
    })
}
