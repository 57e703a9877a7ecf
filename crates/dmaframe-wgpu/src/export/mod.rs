//! What the export pool knows without wgpu: which formats it writes, where the words go, and in which colour.

mod memory;
mod plan;

pub use memory::{Counts, ExportMemory, PassedOver};
pub(crate) use plan::{Params, Plan, SHADER};
