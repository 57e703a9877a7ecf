//! The allocator interface.

use std::fmt;

use dmaframe_core::negotiate::{FormatSet, MemoryKind};
use dmaframe_core::{Buffer, Layout};

use crate::error::Error;
use crate::request::Request;
use crate::verdict::Verdict;

/// Who can be given the memory without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sharing {
    /// Nobody: bytes of this process.
    Process,
    /// Other processes' CPUs: a sealed memfd.
    Processes,
    /// Devices and other processes: a dma-buf.
    Devices,
}

/// What an allocator that works can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Available {
    /// Who can be given the memory.
    pub sharing: Sharing,
    /// Most bytes one object can have, where there is a limit.
    pub max_object_len: Option<u64>,
    /// Whether the memory is contiguous for devices without an IOMMU.
    pub contiguous: bool,
    /// What it is made of.
    pub kind: MemoryKind,
}

impl Available {
    /// Memory of system pages; drivers' own says otherwise.
    pub(crate) const fn new(sharing: Sharing) -> Self {
        Self {
            sharing,
            max_object_len: None,
            contiguous: false,
            kind: match sharing {
                Sharing::Process => MemoryKind::Private,
                Sharing::Processes => MemoryKind::Shared,
                Sharing::Devices => MemoryKind::Pages,
            },
        }
    }
}

/// Makes memory for frames, in two steps: [`Allocator::plan`] settles what the request left open, and
/// [`Allocator::allocate`] makes as many buffers of that one layout as are wanted.
///
/// All calls may block for as long as the kernel needs to find pages. Buffers own their descriptors; an allocator
/// keeps none of them and may be dropped first.
pub trait Allocator: fmt::Debug + Send + Sync {
    /// What reports call it: `udmabuf`, `dma_heap/system`, `gbm /dev/dri/renderD128`.
    fn name(&self) -> &str;

    /// Whether it works here; frees what it had to allocate to know, a few pages at most.
    ///
    /// # Errors
    /// The reason why not and what would help: [`Error::Missing`], [`Error::Denied`], [`Error::NoDriver`],
    /// [`Error::Incapable`].
    fn probe(&self) -> Result<Available, Error>;

    /// The formats it can make, for negotiation. Empty when it does not work here.
    fn formats(&self) -> FormatSet;

    /// The layout it would make for `request`: the first step. Drivers that only find out by allocating allocate one
    /// buffer and free it.
    ///
    /// # Errors
    /// [`Error::Format`], [`Error::Modifier`], [`Error::TooLarge`], [`Error::Layout`], and those of
    /// [`Allocator::probe`].
    fn plan(&self, request: &Request) -> Result<Layout, Error>;

    /// A buffer of exactly `layout`, stamped with `generation` ([`dmaframe_core::next_generation`]). Its objects are
    /// as long as the layout needs, rounded up to pages. The content is zeros, or undefined where a GPU's driver made
    /// it.
    ///
    /// # Errors
    /// As [`Allocator::plan`], and [`Error::OutOfMemory`], [`Error::Changed`], [`Error::Core`], [`Error::Os`].
    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, Error>;

    /// `count` buffers of one layout and from one allocator, or none at all.
    ///
    /// # Errors
    /// As [`Allocator::plan`] and [`Allocator::allocate`].
    fn allocate_set(&self, request: &Request, count: usize, generation: u64) -> Result<Vec<Buffer>, Error> {
        let layout = self.plan(request)?;
        (0..count).map(|_| self.allocate(&layout, generation)).collect()
    }

    /// Which allocator made the last buffers and which were passed over. Of one allocator: itself.
    fn verdict(&self) -> Verdict {
        Verdict {
            chosen: Some(self.name().to_owned()),
            passed_over: Vec::new(),
        }
    }
}

impl<A: Allocator + ?Sized> Allocator for Box<A> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn probe(&self) -> Result<Available, Error> {
        (**self).probe()
    }

    fn formats(&self) -> FormatSet {
        (**self).formats()
    }

    fn plan(&self, request: &Request) -> Result<Layout, Error> {
        (**self).plan(request)
    }

    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, Error> {
        (**self).allocate(layout, generation)
    }

    fn allocate_set(&self, request: &Request, count: usize, generation: u64) -> Result<Vec<Buffer>, Error> {
        (**self).allocate_set(request, count, generation)
    }

    fn verdict(&self) -> Verdict {
        (**self).verdict()
    }
}
