//! Conversions give the pixels that the core's CPU conversion gives, from every format, by fragment and compute shader,
//! under the validation layer.
//!
//! `-- --nocapture` prints the largest difference of each format.

mod common;
// Random pictures of every format, bit by bit, from a description that shares nothing with the code under test.
#[path = "../../dmaframe-core/tests/convert/pack.rs"]
#[allow(dead_code)]
mod pack;

common::each_version!("each/convert.rs");
