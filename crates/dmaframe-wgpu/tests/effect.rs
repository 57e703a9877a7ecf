//! An effect does to every pixel what its text says, its mistakes are named by line, and a processor brings frames through
//! it and out again.

mod common;

common::each_version!("each/effect.rs");
