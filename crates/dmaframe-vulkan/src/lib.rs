#![doc = include_str!("../README.md")]
#![forbid(unsafe_op_in_unsafe_fn)]

mod cache;
mod commands;
mod error;
pub mod export;
mod extensions;
pub mod formats;
mod gpu;
mod import;
mod queue;
pub mod raw;
mod report;
mod submission;
pub mod sync;
mod sys;
mod threads;
mod upload;
mod validation;

pub use ash;
pub use cache::{CacheStats, ImportCache};
pub use commands::Commands;
pub use error::{Error, Refusal, Route};
pub use extensions::Extensions;
pub use gpu::{Gpu, ListedGpu, LiveObjects, OpenOptions};
pub use import::{
    Barriers, BufferImport, BufferPlane, Held, ImageImport, ImportOptions, Importer, PlaneImage,
};
pub use queue::Queue;
pub use report::{Capabilities, FormatSupport, ModifierInfo};
pub use submission::Submission;
pub use upload::{Readback, Upload};
pub use validation::{Message, ValidationLog};
