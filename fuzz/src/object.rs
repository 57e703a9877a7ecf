//! Descriptors as a peer would send them: real ones, of the right and of every wrong kind.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};

use crate::Offset;

/// Objects up to this size are filled with [`pattern`]; larger ones stay holes, which read as zeros.
const FILLED: u64 = 64 << 10;

/// A descriptor to make.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Descriptor {
    /// A memfd that a well-behaved peer sends.
    Sealed(Offset),
    /// As large as the layout wants, or so many bytes more or less.
    Fitting(i8),
    /// A memfd with some of the seals, `seals`' bits.
    Memfd {
        /// Bytes.
        size: Offset,
        /// `F_SEAL_*` bits.
        seals: u8,
        /// Opened again for reading only.
        read_only: bool,
    },
    /// The object before this one once more, as another descriptor.
    Again,
    /// The null device.
    Null,
    /// The read end of a pipe.
    Pipe,
    /// An event counter.
    Eventfd,
    /// A directory.
    Directory,
    /// A descriptor that allows nothing (`O_PATH`).
    Path,
    /// A regular file that is no shared memory.
    Regular,
}

/// A descriptor that was made.
#[derive(Debug)]
pub struct Made {
    /// It.
    pub fd: OwnedFd,
    /// Its size, when it is a memfd.
    pub size: Option<u64>,
    /// Whether its bytes are the pattern of this number.
    pub seed: Option<u8>,
    /// Seals of a memfd.
    pub seals: SealFlags,
}

/// Byte `at` of object number `seed`.
#[must_use]
pub fn pattern(seed: u8, at: u64) -> u8 {
    (at ^ (at >> 8)).wrapping_mul(0x9d).wrapping_add(seed.into()) as u8
}

impl Descriptor {
    /// Makes it; `None` when this machine has not got that kind. `wanted` is what the layout needs of this object.
    #[must_use]
    pub fn make(self, seed: u8, wanted: u64, before: Option<&Made>) -> Option<Made> {
        match self {
            Self::Sealed(size) => memfd(seed, size.get(), SealFlags::SHRINK, false),
            Self::Fitting(by) => memfd(
                seed,
                wanted.checked_add_signed(by.into())?,
                SealFlags::SHRINK,
                false,
            ),
            Self::Memfd {
                size,
                seals,
                read_only,
            } => memfd(
                seed,
                size.get(),
                SealFlags::from_bits_truncate(seals.into()),
                read_only,
            ),
            Self::Again => {
                let before = before?;
                let fd = before.fd.try_clone().ok()?;
                Some(Made { fd, ..*before })
            }
            Self::Null => other(File::open("/dev/null").ok()?),
            Self::Pipe => other(rustix::pipe::pipe().ok()?.0),
            Self::Eventfd => other(rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).ok()?),
            Self::Directory => other(File::open("/").ok()?),
            Self::Path => {
                other(rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?)
            }
            Self::Regular => other(File::open("/proc/self/status").ok()?),
        }
    }
}

fn other(fd: impl Into<OwnedFd>) -> Option<Made> {
    Some(Made {
        fd: fd.into(),
        size: None,
        seed: None,
        seals: SealFlags::empty(),
    })
}

fn memfd(seed: u8, size: u64, seals: SealFlags, read_only: bool) -> Option<Made> {
    let fd = rustix::fs::memfd_create("fuzz", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).ok()?;
    rustix::fs::ftruncate(&fd, size).ok()?;
    let mut file = File::from(fd);
    let filled = size <= FILLED;
    if filled {
        let bytes: Vec<u8> = (0..size).map(|at| pattern(seed, at)).collect();
        file.write_all_at(&bytes, 0).ok()?;
    }
    rustix::fs::fcntl_add_seals(&file, seals).ok()?;
    // Asked back: `F_SEAL_EXEC` brings others with it.
    let seals = rustix::fs::fcntl_get_seals(&file).ok()?;
    if read_only {
        file = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    }
    Some(Made {
        fd: file.into(),
        size: Some(size),
        seed: filled.then_some(seed),
        seals,
    })
}
