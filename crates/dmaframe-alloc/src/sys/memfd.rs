//! Sealed memfds. No `unsafe` here, but what makes a memfd [`Fresh`] must stay where nobody can hand in another one.

use std::os::fd::OwnedFd;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;

use super::Fresh;

/// A memfd of a fixed size that we have just made: nobody else has it, nobody can shrink or grow it.
#[derive(Debug)]
pub(crate) struct Sealed {
    fd: OwnedFd,
    len: u64,
}

impl Sealed {
    /// `len` bytes; gives the failed call with its error.
    ///
    /// Sealed against shrinking, which udmabuf and every careful reader ask for, against growing, and against further
    /// seals, so that a peer cannot add `F_SEAL_WRITE` to memory we go on writing.
    pub(crate) fn new(name: &str, len: u64) -> Result<Self, (&'static str, Errno)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
            // Before Linux 6.3 the flag is unknown; after it, some systems refuse a memfd without it.
            Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
            other => other,
        };
        let fd = fd.map_err(|errno| ("memfd_create", errno))?;
        super::retry(|| rustix::fs::ftruncate(&fd, len)).map_err(|errno| ("ftruncate", errno))?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals).map_err(|errno| ("fcntl(F_ADD_SEALS)", errno))?;
        Ok(Self { fd, len })
    }

    /// Takes all pages now, so that a lack of memory is an error here and not a signal at the first touch.
    pub(crate) fn reserve(&self) -> Result<(), Errno> {
        super::retry(|| rustix::fs::fallocate(&self.fd, FallocateFlags::empty(), 0, self.len))
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl From<Sealed> for Fresh {
    fn from(memfd: Sealed) -> Self {
        Self(memfd.fd)
    }
}
