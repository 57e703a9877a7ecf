#![doc = include_str!("../README.md")]

pub use dmaframe_core::*;

#[cfg(feature = "alloc")]
pub use dmaframe_alloc as alloc;
#[cfg(feature = "gstreamer")]
pub use dmaframe_gstreamer as gstreamer;
#[cfg(feature = "jpeg")]
pub use dmaframe_jpeg as jpeg;
#[cfg(feature = "libcamera")]
pub use dmaframe_libcamera as libcamera;
#[cfg(feature = "pipewire")]
pub use dmaframe_pipewire as pipewire;
#[cfg(feature = "v4l2")]
pub use dmaframe_v4l2 as v4l2;
#[cfg(feature = "vulkan")]
pub use dmaframe_vulkan as vulkan;
#[cfg(any(feature = "wgpu-28", feature = "wgpu-29", feature = "wgpu-30"))]
pub use dmaframe_wgpu as wgpu;

#[cfg(feature = "doctor")]
pub mod doctor;
#[cfg(feature = "sink")]
pub mod sink;
#[cfg(feature = "source")]
pub mod source;

/// The snippets of `docs/porting.md`, compiled and run.
#[cfg(all(
    doctest,
    feature = "alloc",
    feature = "convert",
    feature = "v4l2",
    feature = "vulkan"
))]
#[doc = include_str!("../../../docs/porting.md")]
mod porting {}
