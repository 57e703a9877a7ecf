//! One source, compiled once for each version of wgpu: `wgpu` is that version, and `super::sys` what it does its own way.

use super::wgpu;

mod converter;
mod gpu;
mod imported;
mod importer;
mod open;
mod scope;
mod submit;
mod sys;
mod upload;

#[doc(hidden)]
pub use converter::Shape;
pub use converter::{Converter, PassTarget, Path, Picture, Target};
pub use gpu::Gpu;
pub use imported::{Imported, PlaneBuffer, PlaneTexture, Source};
pub use importer::Importer;
pub use open::open_device;
pub use submit::{Submission, Tracked};
