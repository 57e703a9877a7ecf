//! What wgpu 29 does its own way: everything else is in `each`.
