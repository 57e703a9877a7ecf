//! The only unsafe code of the crate: the V4L2 ioctls, each behind a safe function.
//!
//! They go through `nix`'s ioctl macros and not rustix because rustix has no types for this family, and the macros
//! derive each request number from the structure's size, which differs between 32 and 64 bit.

pub(crate) mod abi;
mod buffer;
mod control;
mod format;
mod memory;

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

pub(crate) use buffer::{BufferInfo, QueuedPlane, Queueing, dqbuf, qbuf, querybuf};
pub(crate) use control::{control, source_changes};
pub(crate) use format::{AnyFormat, FormatCall, format};
pub(crate) use memory::{ExportedBuffer, expbuf, import_fd, output_fd, own_buffer};

/// The generated functions are `pub` and without documentation: fenced in here.
mod raw {
    use super::abi;
    use std::ffi::c_int;

    nix::ioctl_read!(querycap, b'V', 0, abi::Capability);
    nix::ioctl_readwrite!(enum_fmt, b'V', 2, abi::FmtDesc);
    nix::ioctl_readwrite!(g_fmt, b'V', 4, abi::Format);
    nix::ioctl_readwrite!(s_fmt, b'V', 5, abi::Format);
    nix::ioctl_readwrite!(reqbufs, b'V', 8, abi::RequestBuffers);
    nix::ioctl_readwrite!(querybuf, b'V', 9, abi::Buffer);
    nix::ioctl_readwrite!(qbuf, b'V', 15, abi::Buffer);
    nix::ioctl_readwrite!(expbuf, b'V', 16, abi::ExportBuffer);
    nix::ioctl_readwrite!(dqbuf, b'V', 17, abi::Buffer);
    nix::ioctl_write_ptr!(streamon, b'V', 18, c_int);
    nix::ioctl_write_ptr!(streamoff, b'V', 19, c_int);
    nix::ioctl_readwrite!(g_parm, b'V', 21, abi::StreamParm);
    nix::ioctl_readwrite!(s_parm, b'V', 22, abi::StreamParm);
    nix::ioctl_readwrite!(enuminput, b'V', 26, abi::Input);
    nix::ioctl_readwrite!(querymenu, b'V', 37, abi::QueryMenu);
    nix::ioctl_read!(g_input, b'V', 38, c_int);
    nix::ioctl_readwrite!(s_input, b'V', 39, c_int);
    nix::ioctl_readwrite!(try_fmt, b'V', 64, abi::Format);
    nix::ioctl_readwrite!(g_ext_ctrls, b'V', 71, abi::ExtControls);
    nix::ioctl_readwrite!(s_ext_ctrls, b'V', 72, abi::ExtControls);
    nix::ioctl_readwrite!(enum_framesizes, b'V', 74, abi::FrmSizeEnum);
    nix::ioctl_readwrite!(enum_frameintervals, b'V', 75, abi::FrmIvalEnum);
    nix::ioctl_readwrite!(encoder_cmd, b'V', 77, abi::EncoderCmd);
    nix::ioctl_read!(dqevent, b'V', 89, abi::Event);
    nix::ioctl_write_ptr!(subscribe_event, b'V', 90, abi::EventSubscription);
    nix::ioctl_write_ptr!(unsubscribe_event, b'V', 91, abi::EventSubscription);
    nix::ioctl_readwrite!(g_selection, b'V', 94, abi::Selection);
    nix::ioctl_readwrite!(s_selection, b'V', 95, abi::Selection);
    nix::ioctl_readwrite!(decoder_cmd, b'V', 96, abi::DecoderCmd);
    nix::ioctl_readwrite!(query_ext_ctrl, b'V', 103, abi::QueryExtCtrl);
}

/// Runs `call` again for as long as a signal interrupts it.
fn retry(mut call: impl FnMut() -> nix::Result<i32>) -> Result<(), Errno> {
    loop {
        match call() {
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(Errno::from_raw_os_error(errno as i32)),
        }
    }
}

/// One safe function for each ioctl whose structure holds no pointer.
macro_rules! calls {
    ($($name:ident($ty:ty);)*) => {$(
        pub(crate) fn $name(fd: BorrowedFd<'_>, arg: &mut $ty) -> Result<(), Errno> {
            // SAFETY: the descriptor is open for the borrow, and the request number carries the size of exactly the
            // structure `arg` points to, which has no pointers for the kernel to follow.
            retry(|| unsafe { raw::$name(fd.as_raw_fd(), arg) })
        }
    )*};
}

calls! {
    querycap(abi::Capability);
    enum_fmt(abi::FmtDesc);
    reqbufs(abi::RequestBuffers);
    streamon(i32);
    streamoff(i32);
    g_parm(abi::StreamParm);
    s_parm(abi::StreamParm);
    enuminput(abi::Input);
    querymenu(abi::QueryMenu);
    g_input(i32);
    s_input(i32);
    enum_framesizes(abi::FrmSizeEnum);
    enum_frameintervals(abi::FrmIvalEnum);
    encoder_cmd(abi::EncoderCmd);
    decoder_cmd(abi::DecoderCmd);
    dqevent(abi::Event);
    subscribe_event(abi::EventSubscription);
    unsubscribe_event(abi::EventSubscription);
    g_selection(abi::Selection);
    s_selection(abi::Selection);
    query_ext_ctrl(abi::QueryExtCtrl);
}
