//! Pictures that are given out before they are finished: a GPU's, with the fence of its work.

use dmaframe_core::{Deadline, Error as CoreError, Frame, Waited};

use super::Error;

pub(super) const LATE: &str = "the picture was not finished in time";

/// Waits for the producer's work on a picture. `Some`: there is no picture, and why; the next one may do.
pub(super) fn unready(frame: &Frame, deadline: impl Into<Deadline>) -> Result<Option<&'static str>, Error> {
    Ok(match frame.wait(deadline)? {
        Waited::Signaled => None,
        Waited::TimedOut => Some(LATE),
        Waited::Failed(_) => Some("the work on the picture failed"),
    })
}

/// Of a picture that is still worked on, or whose work failed; the next one may do.
pub(super) fn is_pending(error: &CoreError) -> bool {
    matches!(error, CoreError::Timeout { .. } | CoreError::FenceFailed { .. })
}
