//! Frames into Vulkan.

mod barriers;
mod buffer;
mod host;
mod image;
mod importer;
mod make_image;
mod object;

pub use barriers::Barriers;
pub use buffer::{BufferImport, BufferPlane};
pub(crate) use host::Use;
pub use image::{ImageImport, PlaneImage};
pub use importer::{Held, ImportOptions, Importer};
