//! The window on real display servers: what is on the screen is the picture that the CPU converts, while the window is
//! resized, turned, scaled and hidden, and the CPU touches none of it.
#![cfg(feature = "window")]

#[path = "../common/mod.rs"]
mod common;

mod preview;
mod refreshes;
mod shown;
mod unplugged;
