//! Building a pool.

use std::sync::Mutex;

use dmaframe_core::Budget;

use super::slots::Slots;
use super::wake::Wake;
use super::{Config, FramePool};
use crate::allocator::Allocator;
use crate::chain::Chain;
use crate::error::{Error, Rejected};
use crate::request::Request;

/// Most slots a pool can have. Hardware queues end at 64; a pool that wants more has a leak, not a need.
pub const MAX_SLOTS: usize = 256;

/// What a pool is to be like; made by [`FramePool::builder`].
#[derive(Debug)]
#[must_use = "nothing is allocated before PoolBuilder::build"]
pub struct PoolBuilder {
    request: Request,
    slots: usize,
    allocator: Box<dyn Allocator>,
    config: Config,
}

impl PoolBuilder {
    pub(super) fn new(request: Request) -> Self {
        Self {
            request,
            slots: 4,
            allocator: Box::new(Chain::standard()),
            config: Config {
                budget: Budget::default(),
                implicit: false,
            },
        }
    }

    /// How many frames can be out at once, 1 to [`MAX_SLOTS`]. 4 unless said otherwise: one being filled, one next,
    /// two with consumers.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Where the memory comes from. [`Chain::standard`] unless said otherwise.
    pub fn allocator(mut self, allocator: impl Allocator + 'static) -> Self {
        self.allocator = Box::new(allocator);
        self
    }

    /// What [`FramePool::delivery`] goes by.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.config.budget = budget;
        self
    }

    /// Also waits for the fences that consumers put on the dma-bufs themselves (implicit sync: OpenGL, older
    /// compositors) before a slot is used again. Costs a `poll` per object of each frame that comes back, and an
    /// `EXPORT_SYNC_FILE` where a fence is pending.
    ///
    /// Without it such fences still count: a CPU view for writing waits for them, with its own deadline.
    pub fn implicit_fences(mut self, wait: bool) -> Self {
        self.config.implicit = wait;
        self
    }

    /// Allocates all slots.
    ///
    /// # Errors
    /// Those of the allocator, [`Error::Slots`], [`Error::Os`] when no eventfd or epoll can be had. The builder comes
    /// back with them.
    pub fn build(self) -> Result<FramePool, Box<Rejected<Self>>> {
        match self.parts() {
            Ok((slots, wake)) => Ok(FramePool {
                slots: Mutex::new(slots),
                wake,
                allocator: Mutex::new(self.allocator),
                config: self.config,
            }),
            Err(error) => Err(Rejected::new(self, error)),
        }
    }

    fn parts(&self) -> Result<(Slots, Wake), Error> {
        let wake = Wake::new()?;
        let slots = Slots::allocate(&*self.allocator, &self.request, self.slots, self.config)?;
        slots.watch(&wake)?;
        Ok((slots, wake))
    }
}
