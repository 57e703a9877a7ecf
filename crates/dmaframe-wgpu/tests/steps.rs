//! Routes switched off one by one step down, each with its reason, to the same bytes.

mod common;

common::each_version!("each/steps.rs");
