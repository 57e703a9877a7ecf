//! What only a frame in dma-bufs can do.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::DmabufFrame;
use crate::error::Error;
use crate::fence::Fence;
use crate::object::{Access, Object};

impl DmabufFrame {
    /// The dma-bufs, as distinct descriptors; planes name them by index.
    #[must_use]
    pub fn objects(&self) -> &[Arc<Object>] {
        self.0.get().buffer.objects()
    }

    /// Whether planes lie in more than one kernel object, by identity and not by descriptor number.
    #[must_use]
    pub fn is_disjoint(&self) -> bool {
        self.0.get().buffer.is_disjoint()
    }

    /// Lends the descriptor of object `index` to code that may pass it on ([`Object::lend`]).
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Borrowed`].
    pub fn lend(&self, index: usize) -> Result<BorrowedFd<'_>, Error> {
        let objects = self.objects();
        let object = objects.get(index).ok_or(Error::OutOfRange {
            what: "object",
            index,
            limit: objects.len(),
        })?;
        object.lend(index)
    }

    /// The implicit fences of all objects as one: what an `access` has to wait for besides the acquire fence.
    ///
    /// # Errors
    /// As [`Object::export_fence`].
    pub fn implicit_fence(&self, access: Access) -> Result<Fence, Error> {
        let mut all = Fence::Signaled;
        for (_, object) in self.0.get().buffer.distinct() {
            all = all.merge(object.export_fence(access)?);
        }
        Ok(all)
    }

    /// Puts `fence` on every dma-buf of the frame, for peers that only know implicit sync. Nothing for a signalled
    /// fence.
    ///
    /// # Errors
    /// As [`Object::import_fence`].
    pub fn attach_fence(&self, fence: &Fence, access: Access) -> Result<(), Error> {
        let Some(file) = fence.to_sync_file()? else {
            return Ok(());
        };
        for (_, object) in self.0.get().buffer.distinct() {
            object.import_fence(&file, access)?;
        }
        Ok(())
    }
}
