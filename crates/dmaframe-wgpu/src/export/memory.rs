//! Where the pictures of an export pool are, and what it has counted.

use std::fmt;

/// Where the pictures of an export pool are, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ExportMemory {
    /// Dma-bufs that the GPU's driver allocated.
    Exported,
    /// Dma-bufs from elsewhere (an allocator, a display, an encoder) that the GPU writes.
    Imported,
    /// Memfds that the GPU copies its result into: no CPU touches a pixel. For GPUs that share no dma-bufs. Bytes between
    /// rows and planes are overwritten too.
    HostPointer,
    /// CPU memory that the CPU copies into: the GPU's result is read back.
    Readback,
}

impl ExportMemory {
    /// Whether frames are dma-bufs, which other devices take without a copy.
    #[must_use]
    pub fn is_dmabuf(self) -> bool {
        matches!(self, Self::Exported | Self::Imported)
    }
}

/// Their names where they are switched off.
const NAMES: [(&str, &[ExportMemory]); 5] = [
    ("dmabuf", &[ExportMemory::Exported, ExportMemory::Imported]),
    ("exported", &[ExportMemory::Exported]),
    ("imported", &[ExportMemory::Imported]),
    ("host", &[ExportMemory::HostPointer]),
    ("readback", &[ExportMemory::Readback]),
];

/// Reads a list like `-dmabuf,-host`: what is to be left out.
pub(crate) fn left_out(text: &str) -> Option<Vec<ExportMemory>> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let mut list = Vec::new();
    for word in words {
        let name = word.strip_prefix('-')?;
        let (_, memory) = NAMES.iter().find(|(n, _)| *n == name)?;
        list.extend_from_slice(memory);
    }
    Some(list)
}

impl fmt::Display for ExportMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exported => "exported dma-buf",
            Self::Imported => "imported dma-buf",
            Self::HostPointer => "host pointer",
            Self::Readback => "readback",
        })
    }
}

/// A kind of memory that an export pool could not have, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOver {
    /// Which.
    pub memory: ExportMemory,
    /// Why.
    pub reason: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} not used: {}", self.memory, self.reason)
    }
}

/// What a pool has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Frames that shared a slot's memory.
    pub shared: u64,
    /// Frames that were copied, because the budget said so.
    pub detached: u64,
    /// Times that somebody asked for a target and all slots were held.
    pub starved: u64,
    /// Times that a target was waited for.
    pub waited: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_read_from_a_list() {
        assert_eq!(left_out(""), Some(vec![]));
        let both = vec![ExportMemory::Exported, ExportMemory::HostPointer];
        assert_eq!(left_out("-exported, -host"), Some(both));
        let both = vec![ExportMemory::Exported, ExportMemory::Imported];
        assert_eq!(left_out("-dmabuf"), Some(both));
        for wrong in ["exported", "-", "-exprted"] {
            assert_eq!(left_out(wrong), None, "{wrong}");
        }
    }
}
