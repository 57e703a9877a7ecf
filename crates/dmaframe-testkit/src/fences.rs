//! Fences that signal when the test says so.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::sys;

/// A software timeline (`CONFIG_SW_SYNC`). Dropping it signals what is pending with an error.
#[derive(Debug)]
pub struct SwSync(File);

impl SwSync {
    /// A new timeline at 0.
    ///
    /// # Errors
    /// When `path` (debugfs' `sync/sw_sync`) cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(path).map(Self)
    }

    /// A sync_file that signals when the timeline reaches `value`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn fence(&self, value: u32) -> io::Result<OwnedFd> {
        sys::sw_sync_fence(&self.0, value)
    }

    /// Moves the timeline on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn advance(&self, by: u32) -> io::Result<()> {
        sys::sw_sync_inc(&self.0, by)
    }
}

/// vgem: fences on the reservation object of any dma-buf it has imported. An unsignalled one expires after 10 s.
#[derive(Debug)]
pub struct Vgem(File);

impl Vgem {
    /// Opens the render or card node.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(path).map(Self)
    }

    /// Puts a pending write fence on a dma-buf and gives its number.
    ///
    /// # Errors
    /// When the kernel refuses the import or the fence.
    pub fn attach_write(&self, dmabuf: impl AsFd) -> io::Result<u32> {
        sys::vgem_attach_write(&self.0, dmabuf.as_fd())
    }

    /// Signals it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, fence: u32) -> io::Result<()> {
        sys::vgem_signal(&self.0, fence)
    }

    /// The DRM descriptor.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0.into()
    }
}
