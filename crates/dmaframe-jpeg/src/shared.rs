//! An allocator that outlives a pool that could not be made.

use std::sync::Arc;

use dmaframe_alloc::{Allocator, Available, Error, Request, Verdict};
use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Buffer, Layout};

/// One of several handles.
#[derive(Clone, Debug)]
pub(crate) struct Shared(pub(crate) Arc<dyn Allocator>);

impl Allocator for Shared {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn probe(&self) -> Result<Available, Error> {
        self.0.probe()
    }

    fn formats(&self) -> FormatSet {
        self.0.formats()
    }

    fn plan(&self, request: &Request) -> Result<Layout, Error> {
        self.0.plan(request)
    }

    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, Error> {
        self.0.allocate(layout, generation)
    }

    fn allocate_set(&self, request: &Request, count: usize, generation: u64) -> Result<Vec<Buffer>, Error> {
        self.0.allocate_set(request, count, generation)
    }

    fn verdict(&self) -> Verdict {
        self.0.verdict()
    }
}
