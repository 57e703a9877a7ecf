//! Frames into Vulkan.

mod barriers;
mod buffer;
mod host;
mod image;
mod importer;
mod make_image;

pub use barriers::Barriers;
pub use buffer::{BufferImport, BufferPlane};
pub use image::{ImageImport, PlaneImage};
pub use importer::{Held, ImportOptions, Importer};
