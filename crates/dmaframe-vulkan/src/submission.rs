//! Work that was submitted.

use dmaframe_core::{Deadline, Fence, SyncFile, Waited};

use crate::error::{Error, Route};
use crate::queue::{Hold, Queue, Slot};
use crate::sync;

/// Work that was submitted. Dropping it changes nothing about the work.
#[derive(Debug)]
pub struct Submission {
    queue: Queue,
    serial: u64,
    /// Once exported; `None` inside is "signalled already".
    fence: Option<Option<SyncFile>>,
}

impl Submission {
    pub(crate) fn new(queue: &Queue, serial: u64) -> Self {
        Self {
            queue: queue.clone(),
            serial,
            fence: None,
        }
    }

    /// Whether the work is done, and what it held is let go of. Does not block.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn is_done(&self) -> Result<bool, Error> {
        let done = self.queue.retire()? >= self.serial;
        Ok(done && self.queue.wait_let_go(self.serial, Deadline::now()))
    }

    /// Blocks until the work is done and what it held is let go of, or the deadline passes.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Vk`].
    pub fn wait(&self, deadline: impl Into<Deadline>) -> Result<Waited, Error> {
        let deadline = deadline.into();
        if !self.queue.wait_until(self.serial, deadline)? {
            return Ok(Waited::TimedOut);
        }
        self.queue.retire()?;
        Ok(match self.queue.wait_let_go(self.serial, deadline) {
            true => Waited::Signaled,
            false => Waited::TimedOut,
        })
    }

    /// The work's completion as a fence, if it was asked for with
    /// [`Commands::export_fence`](crate::Commands::export_fence).
    ///
    /// lavapipe blocks here until the work is done, and gives a signalled fence; GPU drivers give a pending one at once.
    ///
    /// # Errors
    /// [`Error::Refused`] without SYNC_FD export; [`Error::Unsupported`] when it was not asked for; [`Error::DeviceLost`].
    pub fn fence(&mut self) -> Result<Fence, Error> {
        match &self.fence {
            Some(Some(file)) => return Ok(file.try_clone()?.into()),
            Some(None) => return Ok(Fence::Signaled),
            None => {}
        }
        let context = &self.queue.gpu().0;
        context
            .need_sync_fd(true)
            .map_err(Error::refused(Route::Export))?;
        let semaphore = match self.queue.with_slot(self.serial, |slot| slot.signal.take()) {
            Some(Some(semaphore)) => semaphore,
            Some(None) => {
                return Err(Error::Unsupported {
                    what: "Commands::export_fence before submitting",
                    found: "a submission without it".into(),
                });
            }
            // Done, and seen to be; or nothing is, since the device is lost.
            None => return self.queue.poll().map(|()| Fence::Signaled),
        };
        let exported = semaphore.export();
        let good = exported.is_ok();
        // Its signal operation may still be running: it stays with the slot, to be used again after that if it is empty.
        // (Where the slot is gone, so is the operation, and the closure drops the semaphore.)
        self.queue.with_slot(self.serial, move |slot| match good {
            true => slot.waits.push(semaphore),
            false => slot.signal = Some(semaphore),
        });
        let file = exported?.map(SyncFile::new).transpose()?;
        let fence = match &file {
            Some(file) => file.try_clone()?.into(),
            None => Fence::Signaled,
        };
        self.fence = Some(file);
        Ok(fence)
    }

    /// Gives every frame of the work back to its producer at once, with [`Self::fence`] as the release fence in its
    /// lease and on its dma-bufs, and returns the fence.
    ///
    /// # Errors
    /// As [`Self::fence`]. [`Error::Frame`] when a dma-buf takes no fence. Frames not handed back are held until the work
    /// is done.
    pub fn hand_back(&mut self) -> Result<Fence, Error> {
        let fence = self.fence()?;
        // One at a time, without a list of its own: nothing is allocated for a frame.
        while let Some(hold) = self.queue.with_slot(self.serial, next_frame).flatten() {
            let Hold::Frame(frame, access) = &hold else { break };
            if let Err(error) = sync::release(frame, &fence, *access) {
                // Where the work is done meanwhile nobody takes it: its lease runs after the lock then.
                let mut held = Some(hold);
                self.queue
                    .with_slot(self.serial, |slot| slot.holds.extend(held.take()));
                return Err(error);
            }
        }
        Ok(fence)
    }
}

/// Takes one frame out of what a submission holds.
fn next_frame(slot: &mut Slot) -> Option<Hold> {
    let at = slot
        .holds
        .iter()
        .position(|hold| matches!(hold, Hold::Frame(..)))?;
    Some(slot.holds.swap_remove(at))
}
