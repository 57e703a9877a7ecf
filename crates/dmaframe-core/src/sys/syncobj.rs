//! The `drm_syncobj` part of `include/uapi/drm/drm.h`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bytemuck::{Pod, Zeroable};
use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl, opcode};

/// `DRM_CAP_SYNCOBJ_TIMELINE`.
pub(crate) const CAP_TIMELINE: u64 = 0x14;

const IMPORT_SYNC_FILE: u32 = 1;
const EXPORT_SYNC_FILE: u32 = 1;
const WAIT_FOR_SUBMIT: u32 = 1 << 1;
const WAIT_AVAILABLE: u32 = 1 << 2;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct GetCap {
    capability: u64,
    value: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HandleFlags {
    handle: u32,
    flags: u32,
}

/// Without the `point` that Linux 6.16 added at the end: DRM takes any length, and nothing here exports a point.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HandleFd {
    handle: u32,
    flags: u32,
    fd: i32,
    pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Transfer {
    src_handle: u32,
    dst_handle: u32,
    src_point: u64,
    dst_point: u64,
    flags: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct TimelineWait {
    handles: u64,
    points: u64,
    timeout_nsec: i64,
    count_handles: u32,
    flags: u32,
    first_signaled: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct TimelineArray {
    handles: u64,
    points: u64,
    count_handles: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct EventFd {
    handle: u32,
    flags: u32,
    point: u64,
    fd: i32,
    pad: u32,
}

macro_rules! drm_ioctl {
    ($(#[$doc:meta])* $name:ident, $nr:literal, $arg:ty) => {
        $(#[$doc])*
        fn $name(drm: BorrowedFd<'_>, arg: &mut $arg) -> Result<(), Errno> {
            super::retry(|| {
                // SAFETY: the request reads and writes the struct of this number in drm.h, which `$arg` mirrors.
                // Pointers in it are set by the safe wrappers below to arrays of the length they also give.
                unsafe { ioctl(drm, Updater::<{ opcode::read_write::<$arg>(b'd', $nr) }, $arg>::new(arg)) }
            })
        }
    };
}

drm_ioctl!(get_cap, 0x0c, GetCap);
drm_ioctl!(syncobj_create, 0xbf, HandleFlags);
drm_ioctl!(syncobj_destroy, 0xc0, HandleFlags);
drm_ioctl!(handle_to_fd, 0xc1, HandleFd);
drm_ioctl!(fd_to_handle, 0xc2, HandleFd);
drm_ioctl!(timeline_wait, 0xca, TimelineWait);
drm_ioctl!(transfer_ioctl, 0xcc, Transfer);
drm_ioctl!(timeline_signal, 0xcd, TimelineArray);
drm_ioctl!(eventfd_ioctl, 0xcf, EventFd);

pub(crate) fn cap(drm: BorrowedFd<'_>, capability: u64) -> Result<u64, Errno> {
    let mut arg = GetCap { capability, value: 0 };
    get_cap(drm, &mut arg)?;
    Ok(arg.value)
}

pub(crate) fn create(drm: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut arg = HandleFlags { handle: 0, flags: 0 };
    syncobj_create(drm, &mut arg)?;
    Ok(arg.handle)
}

pub(crate) fn destroy(drm: BorrowedFd<'_>, handle: u32) -> Result<(), Errno> {
    syncobj_destroy(drm, &mut HandleFlags { handle, flags: 0 })
}

fn to_fd(drm: BorrowedFd<'_>, handle: u32, flags: u32) -> Result<OwnedFd, Errno> {
    let mut arg = HandleFd {
        handle,
        flags,
        fd: -1,
        pad: 0,
    };
    handle_to_fd(drm, &mut arg)?;
    // SAFETY: on success the kernel installed a new descriptor in our table and gave nobody else its number.
    Ok(unsafe { OwnedFd::from_raw_fd(arg.fd) })
}

/// A descriptor of the syncobj itself, to be sent to another process.
pub(crate) fn export(drm: BorrowedFd<'_>, handle: u32) -> Result<OwnedFd, Errno> {
    to_fd(drm, handle, 0)
}

/// A handle for a syncobj descriptor from another process.
pub(crate) fn import(drm: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut arg = HandleFd {
        handle: 0,
        flags: 0,
        fd: fd.as_raw_fd(),
        pad: 0,
    };
    fd_to_handle(drm, &mut arg)?;
    Ok(arg.handle)
}

/// The current fence of a binary syncobj as a sync_file.
pub(crate) fn export_sync_file(drm: BorrowedFd<'_>, handle: u32) -> Result<OwnedFd, Errno> {
    to_fd(drm, handle, EXPORT_SYNC_FILE)
}

/// Puts a sync_file's fence into an existing binary syncobj (the kernel wants its handle, not 0).
pub(crate) fn import_sync_file(drm: BorrowedFd<'_>, handle: u32, fence: BorrowedFd<'_>) -> Result<(), Errno> {
    fd_to_handle(
        drm,
        &mut HandleFd {
            handle,
            flags: IMPORT_SYNC_FILE,
            fd: fence.as_raw_fd(),
            pad: 0,
        },
    )
}

/// Copies a point of one syncobj to a point of another (point 0 is a binary syncobj's only one).
pub(crate) fn transfer(drm: BorrowedFd<'_>, from: (u32, u64), to: (u32, u64)) -> Result<(), Errno> {
    let mut arg = Transfer {
        src_handle: from.0,
        dst_handle: to.0,
        src_point: from.1,
        dst_point: to.1,
        flags: 0,
        pad: 0,
    };
    transfer_ioctl(drm, &mut arg)
}

/// Waits until `CLOCK_MONOTONIC` is `until_ns`; `false` is the deadline. `available` waits only for a fence to be
/// there, not for it to signal.
pub(crate) fn wait(
    drm: BorrowedFd<'_>,
    handle: u32,
    point: u64,
    until_ns: i64,
    available: bool,
) -> Result<bool, Errno> {
    let (handles, points) = ([handle], [point]);
    let mut arg = TimelineWait {
        handles: handles.as_ptr() as usize as u64,
        points: points.as_ptr() as usize as u64,
        timeout_nsec: until_ns,
        count_handles: 1,
        flags: WAIT_FOR_SUBMIT | if available { WAIT_AVAILABLE } else { 0 },
        first_signaled: 0,
        pad: 0,
    };
    match timeline_wait(drm, &mut arg) {
        Ok(()) => Ok(true),
        Err(Errno::TIME) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Signals a point from the CPU.
pub(crate) fn signal(drm: BorrowedFd<'_>, handle: u32, point: u64) -> Result<(), Errno> {
    let (handles, points) = ([handle], [point]);
    let mut arg = TimelineArray {
        handles: handles.as_ptr() as usize as u64,
        points: points.as_ptr() as usize as u64,
        count_handles: 1,
        flags: 0,
    };
    timeline_signal(drm, &mut arg)
}

/// Has `event` written when the point signals (Linux 6.6).
pub(crate) fn eventfd(
    drm: BorrowedFd<'_>,
    handle: u32,
    point: u64,
    event: BorrowedFd<'_>,
) -> Result<(), Errno> {
    eventfd_ioctl(
        drm,
        &mut EventFd {
            handle,
            flags: 0,
            point,
            fd: event.as_raw_fd(),
            pad: 0,
        },
    )
}
