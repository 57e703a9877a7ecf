//! Fences of frames, for the CPU and for the GPU.
//!
//! On a device with SYNC_FD semaphores ([`Capabilities::sync_fd_import`](crate::Capabilities)) the GPU waits:
//! [`Commands::reads`](crate::Commands::reads), or [`raw::WaitSemaphore`](crate::raw::WaitSemaphore) on a queue of
//! somebody else's. On a plain device the CPU waits, with a deadline: [`wait`].

use dmaframe_core::{Access, Deadline, Error as FrameError, Fence, Frame, Waited};

use crate::error::Error;

/// Everything that has to signal before an `access` to the frame's memory, as one fence: the acquire fence, and what
/// others have put on the dma-bufs. Costs one `EXPORT_SYNC_FILE` for each object; does not block.
///
/// # Errors
/// [`Error::Frame`], with `Unsupported` before Linux 6.0: use [`wait`] there.
pub fn pending(frame: &Frame, access: Access) -> Result<Fence, Error> {
    let acquire = frame.acquire().try_clone()?;
    let Some(dmabuf) = frame.as_dmabuf() else {
        return Ok(acquire);
    };
    let implicit = dmabuf.implicit_fence(access)?;
    Ok(acquire.merge(implicit))
}

/// Waits on the CPU, until the deadline at most, for the same fences. Works on every kernel.
///
/// # Errors
/// [`Error::Frame`]: a system call failed, or the acquire fence signalled with an error.
pub fn wait(frame: &Frame, access: Access, deadline: impl Into<Deadline>) -> Result<Waited, Error> {
    let deadline = deadline.into();
    match frame.wait(deadline)? {
        Waited::Signaled => {}
        Waited::Failed(errno) => return Err(FrameError::FenceFailed { errno }.into()),
        Waited::TimedOut => return Ok(Waited::TimedOut),
    }
    for object in frame.buffer().objects() {
        let waited = object.wait_idle(access, deadline)?;
        if !waited.is_signaled() {
            return Ok(waited);
        }
    }
    Ok(Waited::Signaled)
}

/// Says that work which `access`es the frame is done when `fence` signals: to the frame's producer, through the lease,
/// and to those who only know implicit sync, on the dma-buf itself.
///
/// The frame may be dropped afterwards, before the work is done.
///
/// # Errors
/// [`Error::Frame`] when the dma-buf takes no fence (before Linux 6.0, memfds are passed over); the lease has it then. Also
/// when no descriptor is free for the lease's own handle: nobody was told anything then, and the frame has to be kept until
/// the work is done. A frame that is kept after either error is safe.
pub fn release(frame: &Frame, fence: &Fence, access: Access) -> Result<(), Error> {
    frame.release_after(fence.try_clone()?);
    if let Some(dmabuf) = frame.as_dmabuf() {
        dmabuf.attach_fence(fence, access)?;
    }
    Ok(())
}
