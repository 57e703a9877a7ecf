//! What a frame's clones share, and its end.

use std::fmt;
use std::sync::Arc;

use super::ContentId;
use crate::buffer::Buffer;
use crate::fence::Fence;
use crate::lease::Lease;
use crate::meta::{Extensions, FrameMeta};
use crate::shared::{OnLast, Spent};
use crate::sync::{Mutex, lock};

/// What all clones share.
pub(crate) struct Body {
    pub(super) buffer: Arc<Buffer>,
    pub(super) meta: FrameMeta,
    pub(super) content: ContentId,
    pub(super) acquire: Fence,
    pub(super) end: Mutex<End>,
    /// Made from another frame, which it keeps in its lease: the claim on the buffer is that one's.
    pub(super) derived: bool,
}

/// What happens when the last clone drops.
pub(crate) struct End {
    pub(super) lease: Lease,
    pub(super) release: Fence,
}

impl OnLast for Body {
    fn on_last(mut spent: Spent<Self>) {
        let (lease, release) = {
            let mut end = lock(&spent.get().end);
            (std::mem::take(&mut end.lease), std::mem::take(&mut end.release))
        };
        let acquire = match spent.get_mut() {
            Some(body) => {
                body.meta.extensions = Extensions::default();
                std::mem::take(&mut body.acquire)
            }
            // Another thread is between counting itself out and letting go, for a few instructions.
            None => match spent.get().acquire.try_clone() {
                Ok(acquire) => acquire,
                Err(_) => std::mem::take(&mut spent.alone().acquire),
            },
        };
        // A producer whose own work is still pending (nobody waited) must not see its buffer as free before that.
        let release = acquire.merge(release);
        if !spent.get().derived {
            spent.get().buffer.release_after(&release);
        }
        lease.finish(release, Some(spent));
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = self.buffer.layout();
        write!(
            f,
            "{} {} {}, {}",
            layout.fourcc(),
            layout.size(),
            layout.modifier(),
            self.buffer.id()
        )
    }
}
