//! What the fuzz targets share: numbers and names that are often, but not always, near the interesting ones.

mod numbers;
mod object;

pub use numbers::{Code, Length, Modified, Offset};
pub use object::{Descriptor, Made, pattern};
