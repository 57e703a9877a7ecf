//! The one place that touches libpipewire's structs and shared memory.
//!
//! Everything here runs on the loop's thread: the types hold raw pointers and are not `Send`. Buffers are named by
//! [`Slot`]s, which the stream looks up in its own table, so that a buffer the daemon took back cannot be touched.

mod abi;
mod buffer;
mod stream;

pub(crate) use abi::{Crop, Header, SyncPoints, Version, chunk_flag, data_flag, header_flag, meta_size};
pub(crate) use buffer::{MAX_DAMAGE, NewData};
pub(crate) use stream::{Direction, Handler, MAX_BUFFERS, Slot, State, Stream};

use std::ffi::CStr;

/// The version of the library we run with.
pub(crate) fn library_version() -> Version {
    // SAFETY: returns a static string of the library.
    let text = unsafe { CStr::from_ptr(pipewire::sys::pw_get_library_version()) };
    Version::parse(&text.to_string_lossy())
}
