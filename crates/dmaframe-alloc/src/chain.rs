//! One allocator after another, and why.

use std::sync::{Mutex, PoisonError};

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Buffer, Layout};

use crate::allocator::{Allocator, Available, Sharing};
use crate::error::Error;
use crate::heap::DmaHeap;
use crate::request::Request;
use crate::shared::{Bytes, Memfd};
use crate::udmabuf::Udmabuf;
use crate::verdict::{PassedOver, Verdict};

/// Allocators in the order of liking. The first that can do it does; why each before it could not is kept in the
/// [`Verdict`].
///
/// ```
/// use dmaframe_alloc::{Allocator, Chain, Memfd, Request, Udmabuf};
/// use dmaframe_core::{Fourcc, Size, next_generation};
/// let chain = Chain::new(Udmabuf::at("/dev/null/nothing")).or(Memfd::new());
/// let buffers = chain.allocate_set(&Request::new(Fourcc::NV12, Size::new(64, 64)), 2, next_generation())?;
/// assert_eq!(buffers.len(), 2);
/// assert!(chain.verdict().to_string().starts_with("udmabuf passed over (/dev/null/nothing does not exist"));
/// assert!(chain.verdict().to_string().ends_with("memfd taken"));
/// # Ok::<(), dmaframe_alloc::Error>(())
/// ```
#[derive(Debug)]
pub struct Chain {
    allocators: Vec<Box<dyn Allocator>>,
    verdict: Mutex<Verdict>,
}

impl Chain {
    /// Begins with the one liked best.
    #[must_use]
    pub fn new(first: impl Allocator + 'static) -> Self {
        Self {
            allocators: vec![Box::new(first)],
            verdict: Mutex::default(),
        }
    }

    /// The next to ask.
    #[must_use]
    pub fn or(mut self, next: impl Allocator + 'static) -> Self {
        self.allocators.push(Box::new(next));
        self
    }

    /// dma-bufs that devices with an IOMMU can import, and GPUs: udmabuf, the system heap, then contiguous memory,
    /// which is scarce. An error where there is none.
    #[must_use]
    pub fn dmabuf() -> Self {
        Self::new(Udmabuf::new())
            .or(DmaHeap::system())
            .or(DmaHeap::contiguous())
    }

    /// [`Chain::dmabuf`], then a memfd, then bytes: always gives memory, and says what kind it had to be.
    #[must_use]
    pub fn standard() -> Self {
        Self::dmabuf().or(Memfd::new()).or(Bytes::new())
    }

    /// The allocators, in order.
    pub fn allocators(&self) -> impl Iterator<Item = &dyn Allocator> {
        self.allocators.iter().map(|allocator| &**allocator)
    }

    /// Asks one after another and keeps the verdict.
    fn first<T>(&self, ask: impl Fn(&dyn Allocator) -> Result<T, Error>) -> Result<T, Error> {
        let mut verdict = Verdict::default();
        let mut answer = None;
        for allocator in self.allocators() {
            match allocator.probe().and_then(|_| ask(allocator)) {
                Ok(given) => {
                    verdict.chosen = Some(allocator.name().to_owned());
                    answer = Some(given);
                    break;
                }
                Err(reason) => verdict.passed_over.push(PassedOver {
                    allocator: allocator.name().to_owned(),
                    reason,
                }),
            }
        }
        self.verdict
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&verdict);
        answer.ok_or(Error::NoAllocator(verdict))
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::standard()
    }
}

impl Allocator for Chain {
    fn name(&self) -> &str {
        "chain"
    }

    fn probe(&self) -> Result<Available, Error> {
        self.first(|allocator| allocator.probe())
    }

    /// What the allocators that work can make, together; those for devices first. Implicit modifiers are left out: they
    /// mean something on one device only, and a chain is of several.
    fn formats(&self) -> FormatSet {
        let mut all = FormatSet::new("chain");
        let shares = |a: &&dyn Allocator| a.probe().is_ok_and(|found| found.sharing == Sharing::Devices);
        let (devices, cpu): (Vec<_>, Vec<_>) = self.allocators().partition(shares);
        for allocator in devices.into_iter().chain(cpu) {
            let set = allocator.formats();
            for fourcc in set.fourccs() {
                for modifier in set.modifiers(fourcc).filter(|modifier| !modifier.is_implicit()) {
                    all.insert(fourcc, modifier);
                }
            }
        }
        all
    }

    fn plan(&self, request: &Request) -> Result<Layout, Error> {
        self.first(|allocator| allocator.plan(request))
    }

    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, Error> {
        self.first(|allocator| allocator.allocate(layout, generation))
    }

    /// All buffers come from one allocator: what one of them made before it failed is freed.
    fn allocate_set(&self, request: &Request, count: usize, generation: u64) -> Result<Vec<Buffer>, Error> {
        self.first(|allocator| allocator.allocate_set(request, count, generation))
    }

    fn verdict(&self) -> Verdict {
        self.verdict
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
