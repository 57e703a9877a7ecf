#![doc = include_str!("../README.md")]
#![deny(unsafe_op_in_unsafe_fn)]

mod camera;
mod capture;
mod color;
mod error;
mod format;
mod metadata;
mod orientation;
mod sys;

pub use camera::{Camera, Cameras, Listed};
pub use capture::{Capture, CaptureBuilder, Completed, Configured, ReleaseFences};
pub use dmaframe_core::capture::{Captured, Stats};
pub use error::Error;
pub use format::{OfferedFormat, PixelFormat, Role, StreamFormat, StreamRequest};
pub use metadata::{AeState, AfState, AwbState, CameraMetadata, OtherControl};

/// The binding whose controls and properties stand in this crate's interface.
pub use libcamera;
