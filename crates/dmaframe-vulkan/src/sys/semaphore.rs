//! Binary semaphores that come from and go to sync_files.

use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;

use ash::vk;

use super::context::{Context, down, up};
use crate::error::{Error, Refusal, Route};

const SYNC_FD: vk::ExternalSemaphoreHandleTypeFlags = vk::ExternalSemaphoreHandleTypeFlags::SYNC_FD;

/// A binary semaphore; destroyed when dropped.
pub(crate) struct Semaphore {
    context: Arc<Context>,
    handle: vk::Semaphore,
}

fn off() -> Error {
    Error::Refused {
        route: Route::Export,
        refusal: Refusal::ExtensionOff(ash::khr::external_semaphore_fd::NAME),
    }
}

impl Semaphore {
    /// A semaphore whose payload can be exported as a sync_file, if `exportable`.
    pub(crate) fn new(context: &Arc<Context>, exportable: bool) -> Result<Self, Error> {
        let mut export = vk::ExportSemaphoreCreateInfo::default().handle_types(SYNC_FD);
        let mut info = vk::SemaphoreCreateInfo::default();
        if exportable {
            info = info.push_next(&mut export);
        }
        // SAFETY: `info` and its chain live until the call returns.
        let handle = unsafe { context.device.create_semaphore(&info, None) }
            .map_err(Error::vk("vkCreateSemaphore"))?;
        up(&context.live.semaphores);
        Ok(Self {
            context: Arc::clone(context),
            handle,
        })
    }

    /// Puts a sync_file's fence in, for the next wait only. `fd` is the driver's on success and closed otherwise.
    ///
    /// The caller has nothing pending on the semaphore.
    pub(crate) fn import(&self, fd: OwnedFd) -> Result<(), Error> {
        let functions = self.context.semaphore_fd.as_ref().ok_or_else(off)?;
        let info = vk::ImportSemaphoreFdInfoKHR::default()
            .semaphore(self.handle)
            // The only kind of import SYNC_FD has.
            .flags(vk::SemaphoreImportFlags::TEMPORARY)
            .handle_type(SYNC_FD)
            .fd(fd.as_raw_fd());
        // SAFETY: a live semaphore without pending work, and an open sync_file.
        unsafe { functions.import_semaphore_fd(&info) }.map_err(Error::vk("vkImportSemaphoreFdKHR"))?;
        // The driver owns the descriptor now.
        let _ = fd.into_raw_fd();
        Ok(())
    }

    /// Takes the payload out as a sync_file; `None` is "signalled already". The semaphore is unsignalled afterwards.
    ///
    /// The caller has submitted work that signals it.
    pub(crate) fn export(&self) -> Result<Option<OwnedFd>, Error> {
        let functions = self.context.semaphore_fd.as_ref().ok_or_else(off)?;
        let info = vk::SemaphoreGetFdInfoKHR::default()
            .semaphore(self.handle)
            .handle_type(SYNC_FD);
        // SAFETY: a live semaphore made for export, with a signal operation submitted.
        let raw = unsafe { functions.get_semaphore_fd(&info) }.map_err(Error::vk("vkGetSemaphoreFdKHR"))?;
        // SAFETY: on success the descriptor is new and ours, or -1.
        Ok((raw >= 0).then(|| unsafe { OwnedFd::from_raw_fd(raw) }))
    }

    pub(crate) fn handle(&self) -> vk::Semaphore {
        self.handle
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        down(&self.context.live.semaphores);
        // SAFETY: the queue keeps semaphores until the submission that uses them is done.
        unsafe { self.context.device.destroy_semaphore(self.handle, None) };
    }
}

impl std::fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.handle)
    }
}
