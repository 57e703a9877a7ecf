//! Negotiation as data.
//!
//! Every endpoint says what it takes as a [`FormatSet`]. [`negotiate()`] gives the formats both sides share, best first.
//! [`plan()`] goes on from there: it adds whose memory the frames lie in and by which [`Route`] the consumer gets at
//! them, cheapest first, with the [quirks](crate::quirks) of drivers taken into account. Either gives the next offer
//! when one is refused, since sharing a modifier does not guarantee that an import works
//! (`Documentation/userspace-api/dma-buf-alloc-exchange.rst`), and explains itself when there is none.
//!
//! ```
//! use dmaframe_core::{Fourcc, Modifier, negotiate::*};
//! let camera = FormatSet::new("camera")
//!     .with(Fourcc::YUYV, Modifier::LINEAR)
//!     .with(Fourcc::NV12, Modifier::LINEAR)
//!     .with_own_memory(MemoryKind::Vmalloc)
//!     .takes(Takes::Dmabufs);
//! let gpu = FormatSet::new("gpu")
//!     .by(Route::Buffer).with(Fourcc::NV12, Modifier::LINEAR)
//!     .by(Route::Copy).with(Fourcc::NV12, Modifier::LINEAR);
//! let mut plan = plan(&camera, &gpu, &[]).unwrap();
//! assert_eq!(plan.current().unwrap().to_string(), "NV12 LINEAR in the camera's own memory (vmalloc), by buffer");
//! assert_eq!(plan.refuse("no memory type").unwrap().route, Route::Copy);
//! let why = plan.refuse("out of memory").unwrap_err().to_string();
//! assert!(why.contains("by buffer: no memory type") && why.contains("by copy: out of memory"));
//! ```

mod memory;
mod offers;
mod plan;
mod set;

pub use memory::{MemoryKind, Route, Takes};
pub use offers::{NoCommonFormat, Offers, negotiate};
pub use plan::{Candidate, Memory, MemoryOffer, NoPlan, Plan, Reason, plan};
pub use set::{FormatSet, Pair, Usage};
