//! `include/uapi/drm/drm.h`.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::ioctl::{NoArg, ioctl, opcode};

const DROP_MASTER: u32 = opcode::none(b'd', 0x1f);

/// `DRM_IOCTL_DROP_MASTER`. Refused with `EINVAL` or `EACCES` where this descriptor is not the master.
pub(crate) fn drop_master(card: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the request has no argument and touches no memory.
    unsafe { ioctl(card, NoArg::<{ DROP_MASTER as _ }>::new()) }
}
