//! Every route brings in exactly the frame's bytes, whatever the layout.

mod common;

common::each_version!("each/routes.rs");
