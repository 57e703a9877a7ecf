//! `include/uapi/linux/udmabuf.h`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bytemuck::{Pod, Zeroable};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

use super::Fresh;
use super::memfd::Sealed;

/// `UDMABUF_FLAGS_CLOEXEC`.
const CLOEXEC: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Create {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

/// `UDMABUF_CREATE`, whose result is the new descriptor.
struct CreateIoctl(Create);

// SAFETY: the opcode is that of `struct udmabuf_create`, which `Create` mirrors; the kernel only reads it and answers
// with a descriptor it has just put into our table.
unsafe impl Ioctl for CreateIoctl {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::write::<Create>(b'u', 0x42)
    }

    fn as_ptr(&mut self) -> *mut core::ffi::c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(fd: IoctlOutput, _: *mut core::ffi::c_void) -> Result<OwnedFd, Errno> {
        // SAFETY: on success the kernel installed a new descriptor in our table and gave nobody else its number.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// A dma-buf of a memfd's pages. The memfd is closed: the dma-buf keeps the pages.
pub(crate) fn create(node: BorrowedFd<'_>, memfd: Sealed) -> Result<Fresh, Errno> {
    let size = memfd.len();
    let memfd = memfd.into_fd();
    #[allow(clippy::cast_sign_loss, reason = "a descriptor is never negative")]
    let arg = Create {
        memfd: memfd.as_fd().as_raw_fd() as u32,
        flags: CLOEXEC,
        offset: 0,
        size,
    };
    let fd = super::retry(|| {
        // SAFETY: `CreateIoctl` describes the request truthfully (see there); the memfd in it is open for the call.
        unsafe { ioctl(node, CreateIoctl(arg)) }
    })?;
    Ok(Fresh(fd))
}
