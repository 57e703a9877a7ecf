//! How well a device can be synchronised with.

use std::fmt;

/// What a device offers for the synchronisation with a frame's other users, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// No Vulkan below wgpu, or no dma-buf extensions: frames are uploaded, or read from their own pages where the device
    /// has `VK_EXT_external_memory_host`.
    Upload,
    /// A toolkit's device: dma-bufs are imported, acquire fences are waited for on the CPU with a deadline, and
    /// leases go back when the work is seen to be done.
    Plain,
    /// A device of ours on wgpu 28 or 29: the lease goes back at once with the submission's fence, and the foreign
    /// queue family's barriers are in place; acquire fences are still waited for on the CPU.
    Release,
    /// A device of ours on wgpu 30: the GPU waits for acquire fences too.
    Explicit,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upload => "L0 (upload)",
            Self::Plain => "L1 (imports, CPU waits)",
            Self::Release => "L2 (release fences)",
            Self::Explicit => "L3 (explicit synchronisation)",
        })
    }
}
