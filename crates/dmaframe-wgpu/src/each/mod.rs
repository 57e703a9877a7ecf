//! One source, compiled once for each version of wgpu: `wgpu` is that version, and `super::sys` what it does its own way.

use super::wgpu;

mod gpu;
mod imported;
mod sys;

pub use gpu::Gpu;
pub use imported::{Imported, PlaneBuffer, PlaneTexture, Source};
