//! What the workspace's own tests share.
//!
//! - [`need!`]: the one way a test says which device it needs. On a plain host it skips the test *visibly*; in the
//!   lab, where every device exists, its absence fails the test.
//! - [`CountingAllocator`] and [`allocated_by`]: what a piece of work allocates.
//! - [`Leaks`]: descriptors and mappings before and after.
//! - [`udmabuf`], [`system_heap`], [`memfd`]: raw descriptors, without the allocators under test.
//! - [`Daemon`]: PipeWire's real daemons, each test with its own.
//! - [`Portal`]: the desktop's real portal.
//! - [`SwSync`] and [`Vgem`]: fences that signal when the test says so.
//! - [`without_system_calls`]: work that the kernel kills at its first one.
//! - `frames` (a feature of this name): frames with a known picture; `producer`: whose fences and slots the test has;
//!   `streams`: what is asked of any camera or codec.
//!
//! ```
//! # fn test() {
//! let device = dmaframe_testkit::need!(dmaframe_testkit::Device::Udmabuf);
//! # let _ = device; }
//! # test()
//! ```

mod allocations;
mod daemon;
mod device;
mod fences;
#[cfg(feature = "frames")]
pub mod frames;
mod leaks;
mod memory;
mod now;
mod portal;
#[cfg(feature = "frames")]
pub mod producer;
#[cfg(feature = "frames")]
mod routes;
#[cfg(feature = "frames")]
pub mod streams;
mod strict;
mod sys;

pub use allocations::{Allocated, allocated_by};
pub use daemon::{Daemon, connect, end, few_plugins};
pub use device::{Device, find, find_all};
pub use fences::{SwSync, Vgem};
pub use leaks::{Leaks, rss_kib};
pub use memory::{memfd, system_heap, udmabuf};
pub use now::now;
pub use portal::{PORTAL, Portal};
#[cfg(feature = "frames")]
pub use routes::print_routes;
pub use strict::without_system_calls;

pub use sys::CountingAllocator;

/// The path of a device, or an early return from the test that says on stderr what was missing.
///
/// # Panics
/// In the lab (`DMAFRAME_LAB=1`), where everything exists.
#[macro_export]
macro_rules! need {
    ($device:expr) => {
        match $crate::find($device) {
            Ok(path) => path,
            Err(reason) => {
                $crate::skip(&reason);
                return;
            }
        }
    };
}

/// Whether this is the lab.
#[must_use]
pub fn in_lab() -> bool {
    std::env::var_os("DMAFRAME_LAB").is_some()
}

/// Says that the running test is skipped: on the real stderr, which libtest does not capture, and in the file that
/// `DMAFRAME_SKIPS` names, from which the test command counts.
///
/// # Panics
/// In the lab.
pub fn skip(reason: &str) {
    use std::io::Write;
    let thread = std::thread::current();
    let line = format!("skipped {}: {reason}\n", thread.name().unwrap_or("test"));
    assert!(!in_lab(), "{line}in the lab every device must be there");
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
    if let Some(path) = std::env::var_os("DMAFRAME_SKIPS") {
        if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
            let _ = file.write_all(line.as_bytes());
        }
    }
}
