//! One source, compiled once for each version of wgpu: `wgpu` is that version, and `super::sys` what it does its own way.

use super::wgpu;

mod gpu;
mod imported;
mod importer;
mod scope;
mod sys;
mod upload;

pub use gpu::Gpu;
pub use importer::Importer;
pub use imported::{Imported, PlaneBuffer, PlaneTexture, Source};
