//! Two requests that nothing else of the workspace makes: a DRM driver's name (`DRM_IOCTL_VERSION`,
//! `include/uapi/drm/drm.h`) and a software fence (`drivers/dma-buf/sw_sync.c`).

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::ioctl::{Updater, ioctl, opcode};

/// `struct drm_version`, whose lengths are `size_t`.
#[repr(C)]
struct DrmVersion {
    major: i32,
    minor: i32,
    patch: i32,
    name_len: usize,
    name: *mut u8,
    date_len: usize,
    date: *mut u8,
    desc_len: usize,
    desc: *mut u8,
}

/// `struct sw_sync_create_fence_data`.
#[repr(C)]
struct SwSyncFence {
    value: u32,
    name: [u8; 32],
    fence: i32,
}

/// The driver's name.
pub(super) fn drm_driver(node: &File) -> io::Result<String> {
    let mut name = [0u8; 64];
    let null = std::ptr::null_mut();
    let mut arg = DrmVersion {
        major: 0,
        minor: 0,
        patch: 0,
        name_len: name.len(),
        name: name.as_mut_ptr(),
        date_len: 0,
        date: null,
        desc_len: 0,
        desc: null,
    };
    // SAFETY: the request fills a `struct drm_version`, which the type mirrors, and copies at most `name_len` bytes to
    // `name`, which is alive for the call; the two null pointers have length 0.
    unsafe {
        ioctl(
            node,
            Updater::<{ opcode::read_write::<DrmVersion>(b'd', 0) }, DrmVersion>::new(&mut arg),
        )
    }?;
    // The kernel gives the length it has, which may be more than it copied.
    Ok(String::from_utf8_lossy(&name[..arg.name_len.min(64)]).into_owned())
}

/// A fence of an open `sw_sync` file that signals when the file is closed.
pub(super) fn sw_sync_fence(timeline: &File) -> io::Result<OwnedFd> {
    let mut arg = SwSyncFence {
        value: 1,
        name: [0; 32],
        fence: -1,
    };
    arg.name[..8].copy_from_slice(b"dmaframe");
    // SAFETY: SW_SYNC_IOC_CREATE_FENCE reads and writes a `struct sw_sync_create_fence_data`, which the type mirrors.
    unsafe {
        ioctl(
            timeline,
            Updater::<{ opcode::read_write::<SwSyncFence>(b'W', 0) }, SwSyncFence>::new(&mut arg),
        )
    }?;
    // SAFETY: on success the kernel installed a new descriptor in our table and gave nobody else its number.
    Ok(unsafe { OwnedFd::from_raw_fd(arg.fence) })
}
