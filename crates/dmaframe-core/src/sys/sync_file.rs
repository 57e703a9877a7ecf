//! `include/uapi/linux/sync_file.h`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bytemuck::{Pod, Zeroable};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MergeData {
    name: [u8; 32],
    fd2: i32,
    fence: i32,
    flags: u32,
    pad: u32,
}

/// `struct sync_fence_info`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct FenceInfo {
    pub(crate) obj_name: [u8; 32],
    pub(crate) driver_name: [u8; 32],
    pub(crate) status: i32,
    pub(crate) flags: u32,
    pub(crate) timestamp_ns: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct FileInfo {
    name: [u8; 32],
    status: i32,
    flags: u32,
    num_fences: u32,
    pad: u32,
    sync_fence_info: u64,
}

const MERGE: Opcode = opcode::read_write::<MergeData>(b'>', 3);
const FILE_INFO: Opcode = opcode::read_write::<FileInfo>(b'>', 4);

fn name32(name: &str) -> [u8; 32] {
    let mut out = [0; 32];
    // The last byte stays 0: the kernel wants a C string.
    let len = name.len().min(31);
    out[..len].copy_from_slice(&name.as_bytes()[..len]);
    out
}

/// `SYNC_IOC_MERGE`: a new sync_file that signals when both have.
pub(crate) fn merge(a: BorrowedFd<'_>, b: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let mut arg = MergeData {
        name: name32(name),
        fd2: b.as_raw_fd(),
        fence: -1,
        flags: 0,
        pad: 0,
    };
    super::retry(|| {
        // SAFETY: the request reads and writes a `struct sync_merge_data`, which the type mirrors; the descriptor
        // in it is borrowed for the call.
        unsafe { ioctl(a, Updater::<{ MERGE }, MergeData>::new(&mut arg)) }
    })?;
    // SAFETY: on success the kernel installed a new descriptor in our table and gave nobody else its number.
    Ok(unsafe { OwnedFd::from_raw_fd(arg.fence) })
}

/// Status, name and number of fences, without the fences: 1 signalled, 0 pending, negative errno.
pub(crate) fn status(fd: BorrowedFd<'_>) -> Result<(i32, [u8; 32], u32), Errno> {
    let mut arg = FileInfo::zeroed();
    file_info(fd, &mut arg)?;
    Ok((arg.status, arg.name, arg.num_fences))
}

/// The single fences behind a sync_file.
pub(crate) fn fences(fd: BorrowedFd<'_>) -> Result<Vec<FenceInfo>, Errno> {
    let (_, _, count) = status(fd)?;
    let mut list = vec![FenceInfo::zeroed(); count as usize];
    let mut arg = FileInfo::zeroed();
    arg.num_fences = count;
    arg.sync_fence_info = list.as_mut_ptr() as usize as u64;
    file_info(fd, &mut arg)?;
    list.truncate(arg.num_fences as usize);
    Ok(list)
}

fn file_info(fd: BorrowedFd<'_>, arg: &mut FileInfo) -> Result<(), Errno> {
    super::retry(|| {
        // SAFETY: the request reads and writes a `struct sync_file_info`, which the type mirrors. It also writes
        // `num_fences` entries at `sync_fence_info`; both callers set the two together (0 and null, or a vector's
        // own length and pointer), and a sync_file's fence count never changes.
        unsafe { ioctl(fd, Updater::<{ FILE_INFO }, FileInfo>::new(arg)) }
    })
}

/// The text of a kernel name field.
pub(crate) fn text(name: &[u8]) -> String {
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}
