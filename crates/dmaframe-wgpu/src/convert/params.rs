//! The shader's parameters, as it declares them.

use bytemuck::{Pod, Zeroable};

/// `Params` of `convert.wgsl`, field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Params {
    pub(crate) steps: [i32; 4],
    pub(crate) base: [i32; 2],
    pub(crate) extent: [i32; 2],
    pub(crate) window: [i32; 4],
    pub(crate) chroma_window: [i32; 4],
    pub(crate) scale: [f32; 4],
    pub(crate) shift: [f32; 2],
    pub(crate) origin: [f32; 2],
    pub(crate) radius: [f32; 2],
    pub(crate) stride: [i32; 2],
    pub(crate) siting: [f32; 2],
    pub(crate) last: [i32; 2],
    pub(crate) pair: [i32; 2],
    pub(crate) unused: [i32; 2],
    pub(crate) planes: [[u32; 4]; 3],
    pub(crate) rows: [[f32; 4]; 3],
}

/// Bytes of it.
pub(crate) const LEN: u64 = size_of::<Params>() as u64;
