//! dma-bufs from the kernel's heaps, through `/dev/dma_heap`.

use std::path::{Path, PathBuf};

use dmaframe_core::negotiate::{FormatSet, MemoryKind, Usage};
use dmaframe_core::{Buffer, Layout};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::allocator::{Allocator, Available, Sharing};
use crate::error::Error;
use crate::linear;
use crate::node::{self, Node};
use crate::request::Request;
use crate::sys;

const DIR: &str = "/dev/dma_heap";

/// Names under which kernels and vendors give out contiguous memory, the usual one first.
const CONTIGUOUS: [&str; 4] = ["default_cma_region", "linux,cma", "reserved", "cma"];

/// A heap of `/dev/dma_heap` (`Documentation/userspace-api/dma-buf-heaps.rst`).
///
/// `system` gives cached, scattered pages without a size limit; a CMA heap gives contiguous memory for devices without
/// an IOMMU. A heap maps all its pages at once, which costs more than the frame that is read: keep buffers, as
/// [`FramePool`](crate::FramePool) does.
#[derive(Debug)]
pub struct DmaHeap {
    node: Node,
    name: String,
    contiguous: bool,
}

impl DmaHeap {
    /// The heap of that name in `/dev/dma_heap`. Opens nothing yet.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::at(Path::new(DIR).join(name))
    }

    /// The `system` heap.
    #[must_use]
    pub fn system() -> Self {
        Self::named("system")
    }

    /// The first heap of contiguous memory there is, by the names in use: `default_cma_region`, `linux,cma`,
    /// `reserved`, `cma`. Where there is none, one whose probe says so.
    #[must_use]
    pub fn contiguous() -> Self {
        let there = |name: &&&str| Path::new(DIR).join(name).exists();
        Self::named(CONTIGUOUS.iter().find(there).unwrap_or(&CONTIGUOUS[0]))
    }

    /// A heap by its path, as sandboxes have.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let heap = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        Self {
            contiguous: CONTIGUOUS.contains(&&*heap),
            name: format!("dma_heap/{heap}"),
            // The ioctl asks for no mode, so neither does this: read permission is enough.
            node: Node::new(path, OFlags::RDONLY),
        }
    }

    /// Names of the heaps this machine has, sorted.
    #[must_use]
    pub fn list() -> Vec<String> {
        let names = node::entries(DIR, "").into_iter();
        names
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect()
    }

    fn remedy() -> String {
        let heaps = Self::list();
        if heaps.is_empty() {
            "the kernel has no heaps (CONFIG_DMABUF_HEAPS with CONFIG_DMABUF_HEAPS_SYSTEM or _CMA)".to_owned()
        } else {
            format!("the heaps of this machine are {}", heaps.join(", "))
        }
    }

    fn object(&self, len: u64) -> Result<sys::Fresh, Error> {
        let node = self.node.open(Self::remedy)?;
        sys::heap::allocate(node, len).map_err(|errno| match errno {
            Errno::NOTTY => Error::NoDriver {
                device: self.node.name(),
                call: "DMA_HEAP_IOCTL_ALLOC",
                errno,
                remedy: Self::remedy(),
            },
            errno => Error::allocation(&self.node.name(), len, "DMA_HEAP_IOCTL_ALLOC", errno),
        })
    }
}

impl Allocator for DmaHeap {
    fn name(&self) -> &str {
        &self.name
    }

    fn probe(&self) -> Result<Available, Error> {
        self.node.open(Self::remedy)?;
        let found = Available::new(Sharing::Devices);
        Ok(Available {
            contiguous: self.contiguous,
            kind: if self.contiguous {
                MemoryKind::Contiguous
            } else {
                found.kind
            },
            ..found
        })
    }

    fn formats(&self) -> FormatSet {
        match self.probe() {
            Ok(_) => linear::formats(&self.name, Usage::Any),
            Err(_) => FormatSet::new(&self.name),
        }
    }

    fn plan(&self, request: &Request) -> Result<Layout, Error> {
        linear::plan(&self.name, request)
    }

    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, Error> {
        linear::assemble(&self.name, layout, generation, |len| self.object(len))
    }
}
