//! Conversions give the pixels that the core's CPU conversion gives, from every format, by fragment and compute shader,
//! under the validation layer.
//!
//! `-- --nocapture` prints the largest difference of each format.
//!
//! One version in each binary: the mappings of three are more than a guest process of the lab can have at the host's
//! usual limit.

mod common;
// Random pictures of every format, bit by bit, from a description that shares nothing with the code under test.
#[path = "../../dmaframe-core/tests/convert/pack.rs"]
#[allow(dead_code)]
mod pack;

common::version_30!(
    "each/convert.rs",
    pixels: "each/convert/pixels.rs",
    colour: "each/convert/colour.rs",
    scaling: "each/convert/scaling.rs",
    targets: "each/convert/targets.rs",
    refused: "each/convert/refused.rs",
);
