#![doc = include_str!("../README.md")]
#![forbid(unsafe_op_in_unsafe_fn)]
// The point of `each`: one source for every version.
#![allow(clippy::duplicate_mod)]

mod convert;
mod effect;
mod error;
mod export;
mod level;
mod options;
mod sys;
mod timing;
mod track;
mod verdict;

pub use convert::{
    Area, Assume, ChromaFilter, Conversion, ConvertError, Converted, Filter, HighRange, Light,
};
pub use dmaframe_vulkan::{self as vulkan, Refusal, Route};
pub use effect::EFFECT_CONTRACT;
pub use error::Error;
pub use export::{Counts, ExportMemory, PassedOver};
pub use level::Level;
pub use options::{FenceExport, GpuOptions, ImportOptions, Routes};
pub use timing::Timing;
pub use verdict::Verdict;

#[cfg(feature = "wgpu-28")]
pub mod v28;
#[cfg(feature = "wgpu-29")]
pub mod v29;
#[cfg(feature = "wgpu-30")]
pub mod v30;
