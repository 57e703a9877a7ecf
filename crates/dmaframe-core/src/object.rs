//! Memory objects: what a descriptor was proved to be.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::event::PollFlags;
use rustix::fs::{FileType, OFlags, SealFlags};
use rustix::io::Errno;

use crate::borrows::Borrows;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::fence::{Fence, SyncFile, Waited};
use crate::sys::memory::{Mapping, Memory};
use crate::sys::{self, dmabuf};

/// Kernel identity of a memory object: equal for every descriptor of the same dma-buf, in every process, and for
/// no other object while one of them is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// `st_dev` (one value for all dma-bufs).
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// What kind of memory a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A dma-buf: devices can import it; it can never be truncated.
    Dmabuf,
    /// A memfd sealed with `F_SEAL_SHRINK`: shared memory for CPUs that its owner can no longer truncate.
    Memfd,
}

/// Who is going to use the memory, for the fences that have to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading: waits for writers.
    Read,
    /// Writing: waits for readers and writers.
    Write,
}

impl Access {
    pub(crate) fn sync_flags(self) -> u32 {
        match self {
            Self::Read => dmabuf::READ,
            Self::Write => dmabuf::READ | dmabuf::WRITE,
        }
    }
}

/// A descriptor that was proved to be a dma-buf or a sealed memfd, with its true size.
///
/// Owns the descriptor; closing it is dropping this. Keeps one CPU mapping once somebody asked for one, because a
/// fresh mapping of a system-heap buffer costs far more than the read it is made for. Of a memfd, which may be sparse and
/// far larger than any picture, that is what the picture's planes reach over.
pub struct Object {
    fd: OwnedFd,
    kind: ObjectKind,
    size: u64,
    identity: Identity,
    writable: bool,
    frozen: bool,
    mapping: OnceLock<Memory>,
    /// The whole of a memfd, of which a second buffer needs more than the first one did.
    whole: OnceLock<Memory>,
    borrows: Borrows,
}

impl Object {
    /// Asks the kernel what `fd` is. `index` is its place in the frame, for the error message.
    ///
    /// A few system calls, none of which blocks.
    ///
    /// # Errors
    /// [`Error::NotDmabuf`], [`Error::NotTmpfs`], [`Error::Unsealed`], [`Error::Os`]. The descriptor is dropped with the error; use
    /// [`Object::probe`] first to keep it.
    pub fn new(fd: OwnedFd, index: usize) -> Result<Self, Error> {
        let probe = Self::probe(fd.as_fd(), index)?;
        Ok(Self::with_probe(fd, probe))
    }

    /// What [`Object::new`] would find out, without taking the descriptor.
    ///
    /// # Errors
    /// As [`Object::new`].
    pub fn probe(fd: BorrowedFd<'_>, index: usize) -> Result<ObjectProbe, Error> {
        let mut stat = rustix::fs::fstat(fd).map_err(Error::os("fstat", "object"))?;
        let magic = rustix::fs::fstatfs(fd)
            .map_err(Error::os("fstatfs", "object"))?
            .f_type;
        #[allow(
            clippy::unnecessary_cast,
            clippy::cast_sign_loss,
            reason = "f_type's type differs by target"
        )]
        let magic = magic as u64 & 0xffff_ffff;
        let (mut write_sealed, mut frozen) = (false, false);
        let kind = if magic == dmabuf::MAGIC {
            ObjectKind::Dmabuf
        } else {
            let seals = memfd(fd, &stat, index, magic)?;
            // Its owner gave writing up, for everybody: a writable mapping would be refused.
            write_sealed = seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE);
            frozen = seals.contains(SealFlags::WRITE);
            // What was asked before is worth nothing: its owner may have shrunk it in between, and sealed it then.
            stat = rustix::fs::fstat(fd).map_err(Error::os("fstat", "object"))?;
            ObjectKind::Memfd
        };
        let flags = rustix::fs::fcntl_getfl(fd).map_err(Error::os("fcntl(F_GETFL)", "object"))?;
        #[allow(clippy::unnecessary_cast, reason = "field types differ by target")]
        Ok(ObjectProbe {
            kind,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            identity: Identity {
                dev: stat.st_dev as u64,
                ino: stat.st_ino as u64,
            },
            writable: flags.intersection(OFlags::ACCMODE) == OFlags::RDWR && !write_sealed,
            frozen,
        })
    }

    pub(crate) fn with_probe(fd: OwnedFd, probe: ObjectProbe) -> Self {
        let ObjectProbe {
            kind,
            size,
            identity,
            writable,
            frozen,
        } = probe;
        Self {
            fd,
            kind,
            size,
            identity,
            writable,
            frozen,
            mapping: OnceLock::new(),
            whole: OnceLock::new(),
            borrows: Borrows::default(),
        }
    }

    /// Dma-buf or memfd.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// True size in bytes, as the kernel says, not as a peer does.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Kernel identity.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether the descriptor was opened for writing too.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Which driver made the dma-buf (`exp_name` in fdinfo: `udmabuf`, `system`, `drm` ...), if the kernel tells.
    ///
    /// Reads a file under `/proc` and allocates: for diagnostics and probes, not for each frame.
    #[must_use]
    pub fn exporter(&self) -> Option<String> {
        use std::os::fd::AsRawFd;
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.fd.as_raw_fd())).ok()?;
        info.lines()
            .find_map(|line| line.strip_prefix("exp_name:"))
            .map(|name| name.trim().to_owned())
    }

    /// Lends the descriptor to code that may pass it on: another process, a driver that writes.
    ///
    /// From then on nobody here may know when the bytes change, so CPU views of this object copy rows out instead of
    /// borrowing them. Adapters that import for reading only use [`crate::raw::import_fd`] instead.
    ///
    /// # Errors
    /// [`Error::Borrowed`] while a CPU view of this object is alive.
    pub fn lend(&self, index: usize) -> Result<BorrowedFd<'_>, Error> {
        self.borrows
            .lend()
            .map_err(|views| Error::Borrowed { object: index, views })?;
        Ok(self.fd.as_fd())
    }

    /// The fences others have put on the dma-buf, as one sync_file: what an `access` has to wait for.
    ///
    /// A snapshot; work submitted later is not in it. A memfd has none.
    ///
    /// # Errors
    /// [`Error::Unsupported`] before Linux 6.0: wait with [`Object::wait_idle`] there. [`Error::Os`].
    pub fn export_fence(&self, access: Access) -> Result<Fence, Error> {
        if self.kind == ObjectKind::Memfd {
            return Ok(Fence::Signaled);
        }
        match dmabuf::export_sync_file(self.fd(), access.sync_flags()) {
            Ok(fd) => Ok(SyncFile::from_kernel(fd).into()),
            Err(Errno::NOTTY) => Err(Error::Unsupported {
                operation: "EXPORT_SYNC_FILE",
                object: "a kernel before 6.0".into(),
            }),
            Err(errno) => Err(Error::os("DMA_BUF_IOCTL_EXPORT_SYNC_FILE", "object")(errno)),
        }
    }

    /// `fence` and what has to be waited for on the dma-buf itself before an `access`, for producers that hold a buffer back
    /// until both are done. Does not block: one `poll`, and an export and a merge only where something is pending. Where
    /// the kernel cannot say what (before 6.0), `fence` alone: a CPU view and every driver that knows implicit sync wait for
    /// the rest.
    pub fn with_implicit(&self, access: Access, fence: Fence) -> Fence {
        let idle = self.wait_idle(access, Deadline::now());
        if !matches!(idle, Ok(Waited::TimedOut)) {
            return fence;
        }
        match self.export_fence(access) {
            Ok(implicit) => fence.merge(implicit),
            Err(_) => fence,
        }
    }

    /// Puts a fence on the dma-buf for peers that only know implicit sync: they wait for it before an access that
    /// conflicts with ours.
    ///
    /// # Errors
    /// As [`Object::export_fence`].
    pub fn import_fence(&self, fence: &SyncFile, access: Access) -> Result<(), Error> {
        if self.kind == ObjectKind::Memfd {
            return Err(Error::Unsupported {
                operation: "IMPORT_SYNC_FILE",
                object: "a memfd".into(),
            });
        }
        let flags = match access {
            Access::Read => dmabuf::READ,
            Access::Write => dmabuf::WRITE,
        };
        match dmabuf::import_sync_file(self.fd(), flags, fence.as_fd()) {
            Err(Errno::NOTTY) => Err(Error::Unsupported {
                operation: "IMPORT_SYNC_FILE",
                object: "a kernel before 6.0".into(),
            }),
            other => other.map_err(Error::os("DMA_BUF_IOCTL_IMPORT_SYNC_FILE", "object")),
        }
    }

    /// Waits until no fence on the dma-buf stands against `access`. One `poll`, which every kernel has.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn wait_idle(&self, access: Access, deadline: impl Into<Deadline>) -> Result<Waited, Error> {
        if self.kind == ObjectKind::Memfd {
            return Ok(Waited::Signaled);
        }
        let events = match access {
            Access::Read => PollFlags::IN,
            Access::Write => PollFlags::OUT,
        };
        let idle = sys::poll(self.fd(), events, deadline.into()).map_err(Error::os("poll", "object"))?;
        Ok(if idle { Waited::Signaled } else { Waited::TimedOut })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn borrows(&self) -> &Borrows {
        &self.borrows
    }

    /// The kept mapping, made at the first call: the first `needed` bytes of a memfd at least, all of a dma-buf.
    pub(crate) fn memory(&self, needed: u64) -> Result<&Memory, Error> {
        // The last row's padding need not be there.
        let needed = needed.min(self.size);
        let first = match self.kind {
            ObjectKind::Dmabuf => self.size,
            ObjectKind::Memfd => needed,
        };
        for (kept, bytes) in [(&self.mapping, first), (&self.whole, self.size)] {
            let memory = match kept.get() {
                Some(memory) => memory,
                None => {
                    let memory = self.map(bytes)?;
                    // Two threads may both map; one mapping is kept and the other goes at once.
                    kept.get_or_init(|| memory)
                }
            };
            if memory.len() as u64 >= needed {
                return Ok(memory);
            }
        }
        unreachable!("the second is all there is, and `needed` is no more than that")
    }

    fn map(&self, bytes: u64) -> Result<Memory, Error> {
        // More than an `isize` of bytes is no slice, and no pointer arithmetic reaches its end.
        let limit = isize::MAX.unsigned_abs();
        let len = usize::try_from(bytes).ok().filter(|len| *len <= limit);
        let len = len.ok_or(Error::Unmappable {
            bytes,
            limit: limit as u64,
        })?;
        let how = match (self.writable, self.frozen) {
            (true, _) => Mapping::Writable,
            (false, false) => Mapping::Readable,
            (false, true) => Mapping::Frozen,
        };
        let mapped = match Memory::map(self.fd(), len, how) {
            // Sealed since we asked: what is left is to read.
            Err(Errno::PERM) if self.kind == ObjectKind::Memfd => {
                let seals = rustix::fs::fcntl_get_seals(self.fd()).unwrap_or(SealFlags::empty());
                match seals.contains(SealFlags::WRITE) {
                    true => Memory::map(self.fd(), len, Mapping::Frozen),
                    false => Memory::map(self.fd(), len, Mapping::Readable),
                }
            }
            other => other,
        };
        mapped.map_err(Error::os("mmap", "object"))
    }

    /// Whether a CPU mapping is being kept.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        self.mapping.get().is_some()
    }
}

/// What the kernel says about a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectProbe {
    /// Dma-buf or memfd.
    pub kind: ObjectKind,
    /// True size in bytes.
    pub size: u64,
    /// Kernel identity.
    pub identity: Identity,
    /// Whether it is open for writing.
    pub writable: bool,
    /// Whether nobody can write it any more (a memfd sealed with `F_SEAL_WRITE`).
    pub frozen: bool,
}

/// What `fstatfs` says of a memfd with pages of the usual size.
const TMPFS_MAGIC: u64 = 0x0102_1994;

fn memfd(fd: BorrowedFd<'_>, stat: &rustix::fs::Stat, index: usize, magic: u64) -> Result<SealFlags, Error> {
    let refused = Error::NotDmabuf { object: index, magic };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refused);
    }
    // Only memfds and files of a shared-memory file system know about seals.
    let seals = rustix::fs::fcntl_get_seals(fd).map_err(|_| refused)?;
    if magic != TMPFS_MAGIC {
        return Err(Error::NotTmpfs { object: index, magic });
    }
    if !seals.contains(SealFlags::SHRINK) {
        return Err(Error::Unsealed {
            object: index,
            seals: seals.bits(),
        });
    }
    Ok(seals)
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("kind", &self.kind)
            .field("size", &self.size)
            .field("ino", &self.identity.ino)
            .field("writable", &self.writable)
            .field("mapped", &self.is_mapped())
            .finish_non_exhaustive()
    }
}
