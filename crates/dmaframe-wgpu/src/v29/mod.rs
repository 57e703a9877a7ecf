//! For wgpu 29.

pub use wgpu_29 as wgpu;

mod sys;

// The same source for every version: what differs is in `sys`, beside this file.
#[path = "../each/mod.rs"]
mod each;

pub use each::*;
