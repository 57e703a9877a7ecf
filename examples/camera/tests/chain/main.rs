//! One process from the camera to an encoder, a virtual camera and a window at once: nothing is copied where it need not be,
//! and what becomes of one output is nothing to the others.
#![cfg(all(feature = "record", feature = "pipewire"))]

#[path = "../common/mod.rs"]
mod common;

mod app;
mod copies;
mod ends;
mod failures;
mod files;
mod quiet;
#[cfg(feature = "window")]
mod soak;
