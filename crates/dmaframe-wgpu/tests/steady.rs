//! Ten thousand frames through four slots: as many descriptors and objects at the end as after the first few. In a binary
//! of its own, since it looks at all descriptors of the process, and without the layer, which keeps records.

mod common;

common::each_version!("each/steady.rs");
