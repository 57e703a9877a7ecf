//! The one place that touches libpipewire's structs and shared memory.
//!
//! Everything here runs on the loop's thread: the types hold raw pointers and are not `Send`. Buffers are named by
//! [`Slot`]s, which the stream looks up in its own table, so that a buffer the daemon took back cannot be touched.

mod abi;
mod buffer;
mod stream;

pub(crate) use abi::{Crop, Header, SyncPoints, Version, chunk_flag, data_flag, header_flag, meta_size};
pub(crate) use buffer::{MAX_DAMAGE, NewData};
pub(crate) use stream::{Abort, Direction, Handler, MAX_BUFFERS, NoBuffer, Slot, State, Stream};

use std::ffi::CStr;

use pipewire::link::LinkInfoRef;
use pipewire::sys as pw;

/// The version of the library we run with.
pub(crate) fn library_version() -> Version {
    // SAFETY: returns a static string of the library.
    let text = unsafe { CStr::from_ptr(pipewire::sys::pw_get_library_version()) };
    Version::parse(&text.to_string_lossy())
}

/// What a link that has failed says.
pub(crate) fn link_error(info: &LinkInfoRef) -> Option<String> {
    let raw = info.as_raw();
    if raw.state != pw::pw_link_state_PW_LINK_STATE_ERROR {
        return None;
    }
    if raw.error.is_null() {
        return Some(String::new());
    }
    // SAFETY: the library gives a string that lives as long as the info.
    Some(
        unsafe { CStr::from_ptr(raw.error) }
            .to_string_lossy()
            .into_owned(),
    )
}
