//! What frames lie in, and the ways a consumer has to them.

use std::fmt;

/// How a consumer gets at a frame, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Route {
    /// The dma-buf itself goes over: to a V4L2 device, a display, another process.
    Dmabuf,
    /// A GPU imports the linear dma-buf as a buffer.
    Buffer,
    /// A GPU imports the dma-buf as an image.
    Image,
    /// The CPU reads it in place.
    Mapped,
    /// A GPU reads the CPU's pages (`VK_EXT_external_memory_host`): its DMA, no CPU copy.
    HostPointer,
    /// The CPU copies every frame.
    Copy,
}

impl Route {
    /// Every route, cheapest first.
    pub const ALL: [Self; 6] = [
        Self::Dmabuf,
        Self::Buffer,
        Self::Image,
        Self::Mapped,
        Self::HostPointer,
        Self::Copy,
    ];

    /// Why frames in memory of this kind cannot go this way; `None` when they can.
    #[must_use]
    pub fn refuses(self, memory: MemoryKind) -> Option<&'static str> {
        match self {
            Self::Dmabuf | Self::Buffer | Self::Image if !memory.is_dmabuf() => Some("it is no dma-buf"),
            Self::HostPointer if memory != MemoryKind::Shared => {
                Some("only shared memory's pages can be pinned")
            }
            _ => None,
        }
    }

    /// Whether only linear pictures can go this way.
    #[must_use]
    pub fn wants_linear(self) -> bool {
        !matches!(self, Self::Dmabuf | Self::Image)
    }

    /// 0: nobody copies. 1: a device does. 2: the CPU does.
    #[must_use]
    pub fn copies(self) -> u8 {
        match self {
            Self::Copy => 2,
            Self::HostPointer => 1,
            _ => 0,
        }
    }

    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dmabuf => "dma-buf",
            Self::Buffer => "buffer",
            Self::Image => "image",
            Self::Mapped => "mapping",
            Self::HostPointer => "host pointer",
            Self::Copy => "copy",
        })
    }
}

/// What kind of pages a buffer has: what decides whether a device can reach them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MemoryKind {
    /// A dma-buf of scattered system pages: udmabuf, the system heap, `videobuf2-dma-sg`.
    Pages,
    /// A dma-buf of `vmalloc` memory: `videobuf2-vmalloc`, as UVC cameras and vivid have.
    Vmalloc,
    /// A dma-buf of physically contiguous memory: CMA, `videobuf2-dma-contig`.
    Contiguous,
    /// A dma-buf of a GPU's or display's driver.
    Device,
    /// A dma-buf of an exporter nobody here knows.
    Unknown,
    /// A sealed memfd.
    Shared,
    /// Bytes of this process.
    Private,
}

impl MemoryKind {
    /// By the exporter's name, as [`Object::exporter`](crate::Object::exporter) gives it.
    ///
    /// Sources: `drivers/dma-buf/{udmabuf.c,heaps/}`, `drivers/gpu/drm/drm_prime.c` and
    /// `drivers/media/common/videobuf2/` set `exp_name`.
    #[must_use]
    pub fn of_exporter(name: &str) -> Self {
        match name {
            "udmabuf" | "system" | "system-uncached" | "videobuf2_dma_sg" => Self::Pages,
            "videobuf2_vmalloc" => Self::Vmalloc,
            "videobuf2_dma_contig" | "reserved" | "default_cma_region" | "cma" => Self::Contiguous,
            name if name.starts_with("linux,cma") || name.starts_with("cma") => Self::Contiguous,
            "drm" | "amdgpu" | "i915" | "xe" | "nvidia" | "nv_dmabuf" | "msm" => Self::Device,
            _ => Self::Unknown,
        }
    }

    /// Whether devices can be given it at all.
    #[must_use]
    pub fn is_dmabuf(self) -> bool {
        !matches!(self, Self::Shared | Self::Private)
    }
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pages => "pages",
            Self::Vmalloc => "vmalloc",
            Self::Contiguous => "contiguous",
            Self::Device => "device memory",
            Self::Unknown => "unknown exporter",
            Self::Shared => "memfd",
            Self::Private => "bytes",
        })
    }
}

/// What memory of others a producer can write its frames into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Takes {
    /// None: it only gives buffers of its own.
    Nothing,
    /// dma-bufs: a camera with `V4L2_MEMORY_DMABUF`, a GPU.
    Dmabufs,
    /// Whatever the CPU can write.
    #[default]
    Anything,
}

impl Takes {
    /// Whether memory of this kind is taken.
    #[must_use]
    pub fn accepts(self, memory: MemoryKind) -> bool {
        match self {
            Self::Nothing => false,
            Self::Dmabufs => memory.is_dmabuf(),
            Self::Anything => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_for_devices_takes_what_is_no_dmabuf() {
        for route in [Route::Dmabuf, Route::Buffer, Route::Image] {
            assert!(
                route.refuses(MemoryKind::Shared).is_some() && route.refuses(MemoryKind::Private).is_some()
            );
            assert_eq!(route.refuses(MemoryKind::Vmalloc), None);
        }
        assert_eq!(Route::HostPointer.refuses(MemoryKind::Shared), None);
        assert!(Route::HostPointer.refuses(MemoryKind::Pages).is_some());
        assert!(
            Route::ALL
                .iter()
                .all(|route| Route::Copy <= *route || route.copies() < 2)
        );
    }

    #[test]
    fn exporters_are_told_by_name_and_strange_ones_are_still_dmabufs() {
        assert_eq!(MemoryKind::of_exporter("videobuf2_vmalloc"), MemoryKind::Vmalloc);
        assert_eq!(MemoryKind::of_exporter("linux,cma@1000"), MemoryKind::Contiguous);
        assert_eq!(MemoryKind::of_exporter("something_new"), MemoryKind::Unknown);
        assert!(MemoryKind::Unknown.is_dmabuf());
    }
}
