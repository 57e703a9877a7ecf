#![doc = include_str!("../README.md")]
#![forbid(unsafe_op_in_unsafe_fn)]

#[cfg(feature = "link")]
mod camera;
#[cfg(feature = "link")]
mod capture;
#[cfg(feature = "link")]
mod error;
#[cfg(feature = "link")]
mod negotiate;
#[cfg(feature = "link")]
mod nodes;
pub mod pod;
#[cfg(feature = "portal")]
pub mod portal;
#[cfg(feature = "link")]
mod sys;
#[cfg(feature = "link")]
mod thread;
#[cfg(feature = "link")]
mod wake;

#[cfg(feature = "link")]
pub use camera::{CameraBuilder, CameraEvent, CameraStats, Pushed, VirtualCamera};
#[cfg(feature = "link")]
pub use capture::{CaptureBuilder, CaptureStream, Damage, Event, Stats, Target, Unguarded};
#[cfg(feature = "link")]
pub use error::{Error, Rejected};
#[cfg(feature = "link")]
pub use nodes::{Node, video_sources};
