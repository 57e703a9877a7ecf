//! Which of the extensions that matter here a device has.

use std::ffi::CStr;
use std::fmt;

use ash::{ext, khr};

/// A set of the device extensions this crate knows. Others are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions(u32);

/// The extensions, in the order of the set's bits.
const KNOWN: [&CStr; 8] = [
    khr::external_memory_fd::NAME,
    ext::external_memory_dma_buf::NAME,
    khr::external_semaphore_fd::NAME,
    ext::queue_family_foreign::NAME,
    ext::image_drm_format_modifier::NAME,
    ext::external_memory_host::NAME,
    ext::physical_device_drm::NAME,
    // Part of Vulkan 1.2; image_drm_format_modifier requires it on 1.1 devices.
    khr::image_format_list::NAME,
];

impl Extensions {
    /// Those of `names` that are known.
    #[must_use]
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a CStr>) -> Self {
        let mut set = Self::default();
        for name in names {
            if let Some(bit) = KNOWN.iter().position(|known| *known == name) {
                set.0 |= 1 << bit;
            }
        }
        set
    }

    /// Whether `name` is in the set.
    #[must_use]
    pub fn has(self, name: &CStr) -> bool {
        KNOWN
            .iter()
            .position(|known| *known == name)
            .is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    /// The names.
    pub fn iter(self) -> impl Iterator<Item = &'static CStr> {
        let known = KNOWN.iter().enumerate();
        known
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| *name)
    }

    /// All the extensions that something here uses.
    pub fn known() -> impl Iterator<Item = &'static CStr> {
        KNOWN.iter().copied()
    }

    /// Both extensions that a dma-buf import needs.
    #[must_use]
    pub fn dmabuf(self) -> bool {
        self.has(khr::external_memory_fd::NAME) && self.has(ext::external_memory_dma_buf::NAME)
    }

    pub(crate) fn need(self, name: &'static CStr) -> Result<(), crate::Refusal> {
        if self.has(name) {
            Ok(())
        } else {
            Err(crate::Refusal::ExtensionOff(name))
        }
    }

    pub(crate) fn need_dmabuf(self) -> Result<(), crate::Refusal> {
        self.need(khr::external_memory_fd::NAME)?;
        self.need(ext::external_memory_dma_buf::NAME)
    }
}

impl fmt::Display for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(CStr::to_string_lossy).collect();
        f.write_str(&names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_ignored_and_known_ones_are_found() {
        let set = Extensions::from_names([c"VK_KHR_swapchain", khr::external_memory_fd::NAME]);
        assert!(set.has(khr::external_memory_fd::NAME) && !set.dmabuf());
        assert_eq!(set.to_string(), "VK_KHR_external_memory_fd");
        assert!(set.need(ext::queue_family_foreign::NAME).is_err());
    }
}
