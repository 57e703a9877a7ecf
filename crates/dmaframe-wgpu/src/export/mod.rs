//! What the export pool knows without wgpu: which formats it writes, where the words go, and in which colour.

mod memory;
mod plan;

pub(crate) use memory::left_out;
pub use memory::{Counts, ExportMemory, PassedOver};
pub(crate) use plan::{Params, Plan, SHADER};
