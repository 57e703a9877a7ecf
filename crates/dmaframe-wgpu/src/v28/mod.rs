//! For wgpu 28.

pub use wgpu_28 as wgpu;

mod sys;

// The same source for every version: what differs is in `sys`, beside this file.
#[path = "../each/mod.rs"]
mod each;

pub use each::*;
