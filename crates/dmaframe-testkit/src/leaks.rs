//! Descriptors, mappings and memory of this process.

use std::fs;

/// Descriptors and shared mappings at one moment.
///
/// Tests of one binary run in parallel threads, so only what a test's own kind of object is counts: descriptors by
/// what they point to, mappings of dma-bufs and memfds. Run leak tests alone (`--test-threads=1`) or in a binary of
/// their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaks {
    /// What each open descriptor points to, sorted.
    pub fds: Vec<String>,
    /// Mappings of dma-bufs and memfds.
    pub mappings: usize,
}

impl Leaks {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let mut fds: Vec<_> = fs::read_dir("/proc/self/fd")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| fs::read_link(e.path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            // The directory handle of this very listing.
            .filter(|target| !target.starts_with("/proc/"))
            // Mesa fills its cache on a thread of its own, whenever that comes to it.
            .filter(|target| !target.contains("/mesa_shader_cache"))
            .collect();
        fds.sort();
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mappings = maps
            .lines()
            .filter(|l| l.contains("/dmabuf:") || l.contains("/memfd:"))
            .count();
        Self { fds, mappings }
    }

    /// Fails with the difference if anything was left behind.
    ///
    /// # Panics
    /// On a leak.
    pub fn check(&self) {
        let now = Self::now();
        assert_eq!(self.fds, now.fds, "descriptors before and after");
        assert_eq!(
            self.mappings, now.mappings,
            "dma-buf and memfd mappings before and after"
        );
    }
}

/// Resident memory of this process in KiB.
#[must_use]
pub fn rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0)
}
