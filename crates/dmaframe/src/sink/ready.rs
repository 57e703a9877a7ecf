//! Pictures that are given out before they are finished: a GPU's, with the fence of its work.

use std::time::Duration;

use dmaframe_core::{Frame, Waited};

use super::Error;

/// Waits for the producer's work on a picture. `Some`: there is no picture, and why; the next one may do.
pub(super) fn unready(frame: &Frame, patience: Duration) -> Result<Option<&'static str>, Error> {
    Ok(match frame.wait(patience)? {
        Waited::Signaled => None,
        Waited::TimedOut => Some("the picture was not finished in time"),
        Waited::Failed(_) => Some("the work on the picture failed"),
    })
}
