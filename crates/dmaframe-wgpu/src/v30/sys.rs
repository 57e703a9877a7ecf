//! What wgpu 30 does its own way: everything else is in `each`.
