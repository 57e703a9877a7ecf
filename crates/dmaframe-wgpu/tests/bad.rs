//! What is wrong is a typed error, and the frame is as before, or goes home.

mod common;

common::each_version!("each/bad.rs");
