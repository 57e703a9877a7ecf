//! What wgpu 28 does its own way: everything else is in `each`.
