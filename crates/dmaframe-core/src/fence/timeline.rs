//! `drm_syncobj` timelines: explicit sync as Wayland, PipeWire and Vulkan share it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::EventfdFlags;

use super::{SyncFile, Waited};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::sys::syncobj;

/// A DRM device that has syncobj timelines; a render node is enough.
#[derive(Clone, Debug)]
pub struct TimelineDevice(Arc<OwnedFd>);

/// A syncobj of that device. Clones are the same timeline; the last one destroys the handle.
#[derive(Clone, Debug)]
pub struct Timeline(Arc<Handle>);

/// One point of a timeline: done when the timeline has reached it. Whether the work failed is not known: the kernel's
/// timelines keep no errors, so waits never give [`Waited::Failed`].
#[derive(Clone, Debug)]
pub struct TimelinePoint {
    timeline: Timeline,
    point: u64,
}

#[derive(Debug)]
struct Handle {
    device: TimelineDevice,
    handle: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Nothing to be done about a refusal: the device closes its handles with its descriptor.
        let _ = syncobj::destroy(self.device.0.as_fd(), self.handle);
    }
}

impl TimelineDevice {
    /// Takes a DRM descriptor, having asked whether the driver has timelines.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when it has none, [`Error::Os`] when it is no DRM device.
    pub fn new(drm: OwnedFd) -> Result<Self, Error> {
        let cap = syncobj::cap(drm.as_fd(), syncobj::CAP_TIMELINE)
            .map_err(Error::os("DRM_IOCTL_GET_CAP", "DRM device"))?;
        if cap == 0 {
            return Err(Error::Unsupported {
                operation: "a syncobj timeline",
                object: "a DRM driver without DRIVER_SYNCOBJ_TIMELINE".into(),
            });
        }
        Ok(Self(Arc::new(drm)))
    }

    /// A new timeline, at 0.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn create(&self) -> Result<Timeline, Error> {
        let handle =
            syncobj::create(self.0.as_fd()).map_err(Error::os("DRM_IOCTL_SYNCOBJ_CREATE", "DRM device"))?;
        Ok(self.adopt(handle))
    }

    /// The timeline behind a descriptor another process sent. The descriptor stays the caller's.
    ///
    /// # Errors
    /// [`Error::Os`] when it is no syncobj.
    pub fn import(&self, fd: impl AsFd) -> Result<Timeline, Error> {
        let handle = syncobj::import(self.0.as_fd(), fd.as_fd())
            .map_err(Error::os("DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE", "syncobj"))?;
        Ok(self.adopt(handle))
    }

    fn adopt(&self, handle: u32) -> Timeline {
        Timeline(Arc::new(Handle {
            device: self.clone(),
            handle,
        }))
    }
}

impl Timeline {
    /// The point `point` of this timeline.
    #[must_use]
    pub fn point(&self, point: u64) -> TimelinePoint {
        TimelinePoint {
            timeline: self.clone(),
            point,
        }
    }

    /// Signals `point` from the CPU, and with it every lower one.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn signal(&self, point: u64) -> Result<(), Error> {
        syncobj::signal(self.drm(), self.0.handle, point)
            .map_err(Error::os("DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL", "syncobj"))
    }

    /// Makes `point` signal when `fence` does.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn attach(&self, point: u64, fence: &SyncFile) -> Result<(), Error> {
        let binary = self.0.device.create()?;
        syncobj::import_sync_file(self.drm(), binary.0.handle, fence.as_fd())
            .map_err(Error::os("DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE", "sync_file"))?;
        syncobj::transfer(self.drm(), (binary.0.handle, 0), (self.0.handle, point))
            .map_err(Error::os("DRM_IOCTL_SYNCOBJ_TRANSFER", "syncobj"))
    }

    /// A descriptor to send to another process; the caller owns it.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn export(&self) -> Result<OwnedFd, Error> {
        syncobj::export(self.drm(), self.0.handle)
            .map_err(Error::os("DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD", "syncobj"))
    }

    /// Whether both are clones of one handle. Two imports of one timeline are not seen to be the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn drm(&self) -> BorrowedFd<'_> {
        self.0.device.0.as_fd()
    }
}

impl TimelinePoint {
    /// The timeline.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The number of the point.
    #[must_use]
    pub fn point(&self) -> u64 {
        self.point
    }

    /// The point's fence as a sync_file. Does not block.
    ///
    /// # Errors
    /// [`Error::Os`] with `EINVAL` while nobody has submitted work for the point.
    pub fn to_sync_file(&self) -> Result<SyncFile, Error> {
        let drm = self.timeline.drm();
        let binary = self.timeline.0.device.create()?;
        syncobj::transfer(drm, (self.timeline.0.handle, self.point), (binary.0.handle, 0))
            .map_err(Error::os("DRM_IOCTL_SYNCOBJ_TRANSFER", "syncobj"))?;
        syncobj::export_sync_file(drm, binary.0.handle)
            .map(SyncFile::from_kernel)
            .map_err(Error::os("DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD", "syncobj"))
    }

    /// Waits until work has been submitted for the point, so that [`TimelinePoint::to_sync_file`] can succeed.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn wait_submitted(&self, deadline: impl Into<Deadline>) -> Result<Waited, Error> {
        self.wait_for(deadline.into(), true)
    }

    /// An eventfd that becomes readable when the point signals (Linux 6.6). The caller owns it.
    ///
    /// # Errors
    /// [`Error::Os`].
    pub fn eventfd(&self) -> Result<OwnedFd, Error> {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(Error::os("eventfd", "timeline point"))?;
        syncobj::eventfd(
            self.timeline.drm(),
            self.timeline.0.handle,
            self.point,
            event.as_fd(),
        )
        .map_err(Error::os("DRM_IOCTL_SYNCOBJ_EVENTFD", "syncobj"))?;
        Ok(event)
    }

    pub(super) fn wait(&self, deadline: Deadline) -> Result<Waited, Error> {
        self.wait_for(deadline, false)
    }

    fn wait_for(&self, deadline: Deadline, available: bool) -> Result<Waited, Error> {
        let until = deadline.monotonic_ns();
        let done = syncobj::wait(
            self.timeline.drm(),
            self.timeline.0.handle,
            self.point,
            until,
            available,
        )
        .map_err(Error::os("DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT", "syncobj"))?;
        Ok(if done { Waited::Signaled } else { Waited::TimedOut })
    }
}
