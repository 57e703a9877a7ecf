//! An application may destroy what it was lent, at any time: no dead handle reaches the driver, and the next import works.

mod common;

common::each_version!("each/destroyed.rs");
