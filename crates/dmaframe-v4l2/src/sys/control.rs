//! What has a union in it: controls and events.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::abi::{self, ExtControl, ExtControlUnion, ExtControls, Plain};
use super::{raw, retry};

/// A scalar control's value as `VIDIOC_G_EXT_CTRLS` (`None`) reads or `VIDIOC_S_EXT_CTRLS` (`Some`) writes it. `wide`
/// says whether the control is 64 bits. The caller must have made sure that `id` is no control with a payload: the
/// kernel answers [`Errno::NOSPC`] for one, since the size given is 0.
pub(crate) fn control(fd: BorrowedFd<'_>, id: u32, wide: bool, set: Option<i64>) -> Result<i64, Errno> {
    let mut value = ExtControlUnion { value64: 0 };
    if let Some(new) = set {
        if wide {
            value.value64 = new;
        } else {
            value.value = i32::try_from(new).map_err(|_| Errno::RANGE)?;
        }
    }
    // Declared before `arg`, which points to it, so that it outlives every use.
    let mut one = ExtControl {
        id,
        size: 0,
        reserved2: 0,
        value,
    };
    let mut arg = ExtControls {
        count: 1,
        controls: &raw mut one,
        ..ExtControls::zeroed()
    };
    // SAFETY: as in `calls!`; the pointer leads to one control, as `count` says, and its own value is no pointer: for
    // a control that takes one, a size of 0 makes the kernel fail before it follows it.
    retry(|| unsafe {
        match set {
            Some(_) => raw::s_ext_ctrls(fd.as_raw_fd(), &mut arg),
            None => raw::g_ext_ctrls(fd.as_raw_fd(), &mut arg),
        }
    })?;
    // SAFETY: the eight bytes were initialised above; every bit pattern is an integer.
    Ok(unsafe {
        if wide {
            one.value.value64
        } else {
            i64::from(one.value.value)
        }
    })
}

/// The `changes` word of a source change event.
pub(crate) fn source_changes(event: &abi::Event) -> u32 {
    // SAFETY: the structure started zeroed, so all its bytes are initialised; every bit pattern is an integer.
    unsafe { event.u.src_changes }
}
