//! SIGINT, SIGTERM and SIGHUP as a number to look at, so that clean-up always runs.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static SEEN: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Begins to watch; from now on these signals do not end the process by themselves.
pub(crate) fn watch() -> Result<()> {
    let seen = SEEN.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(signal, Arc::clone(seen), signal as usize)?;
    }
    Ok(())
}

/// The signal that has come, if one has.
pub(crate) fn seen() -> Option<i32> {
    let number = SEEN.get()?.load(Ordering::Relaxed);
    (number != 0).then_some(number as i32)
}
