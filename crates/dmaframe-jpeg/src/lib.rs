#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod decoder;
mod error;
mod header;
mod planes;
mod shared;

pub use decoder::{Decoder, DecoderBuilder, Limits};
pub use error::Error;
pub use header::Header;
