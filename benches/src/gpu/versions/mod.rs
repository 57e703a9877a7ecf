//! The file of `queue.write_texture`, once for each version of wgpu.
#![allow(clippy::duplicate_mod, reason = "what `super::wgpu` is differs")]

pub(crate) mod v28;
pub(crate) mod v29;
pub(crate) mod v30;
