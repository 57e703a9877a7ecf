//! CPU conversion against a float reference: every format, odd sizes, padding, crops, turns, memory of all kinds.
#![cfg(feature = "convert")]

mod compare;
mod pack;
mod random;
mod reference;
mod refused;
mod rgba;
mod yuv420;
