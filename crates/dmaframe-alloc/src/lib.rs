#![doc = include_str!("../README.md")]
#![forbid(unsafe_op_in_unsafe_fn)]

mod allocator;
mod chain;
#[cfg(feature = "drm")]
mod dumb;
mod error;
#[cfg(feature = "gbm")]
mod gbm;
mod heap;
mod linear;
mod node;
mod plan;
mod pool;
mod request;
mod shared;
mod sys;
mod udmabuf;
mod verdict;

pub use allocator::{Allocator, Available, Sharing};
pub use chain::Chain;
#[cfg(feature = "drm")]
pub use dumb::DrmDumb;
pub use error::{Error, Rejected};
#[cfg(feature = "gbm")]
pub use gbm::Gbm;
pub use heap::DmaHeap;
pub use plan::{Picture, Way, Ways, plan};
pub use pool::{FramePool, MAX_SLOTS, PoolBuilder, Stats};
pub use request::Request;
pub use shared::{Bytes, Memfd};
pub use udmabuf::Udmabuf;
pub use verdict::{PassedOver, Verdict};
