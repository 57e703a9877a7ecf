//! One source, compiled once for each version of wgpu: `wgpu` is that version, and `super::sys` what it does its own way.

use super::{sys as version, wgpu};

mod converter;
mod copies;
mod effect;
mod export;
mod gpu;
mod host;
mod images;
mod imported;
mod importer;
mod in_place;
mod marker;
mod open;
mod order;
mod ownership;
mod presenter;
mod processor;
mod scope;
mod submission;
mod submit;
mod sys;
mod texture;
mod upload;
mod viewer;

#[doc(hidden)]
pub use converter::Shape;
pub use converter::{Converter, PassTarget, Path, Picture, Target};
pub use effect::Effect;
pub use export::{ExportBuilder, ExportPool, ExportTarget, Exporting};
pub use gpu::Gpu;
pub use imported::{Imported, PlaneBuffer, PlaneTexture, Source};
pub use importer::Importer;
pub use open::{open_best, open_device, open_for};
pub use ownership::{Acquired, Tracked};
pub(crate) use presenter::Next;
pub use presenter::{Overlay, Presenter, Turn};
pub use processor::{Processor, ProcessorBuilder};
pub use submission::Submission;
pub use viewer::Viewer;
