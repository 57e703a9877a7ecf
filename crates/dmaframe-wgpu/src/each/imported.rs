//! A frame as a shader sees it.

use arrayvec::ArrayVec;
use dmaframe_core::Frame;

use super::wgpu;
use crate::Route;

/// A plane in a buffer: read it as `array<u32>`.
#[derive(Clone, Debug)]
pub struct PlaneBuffer {
    /// The buffer; planes of one object share it. Usage `STORAGE | COPY_SRC`.
    pub buffer: wgpu::Buffer,
    /// Where the first row begins, in bytes. Any number: no alignment is promised.
    pub offset: u64,
    /// From row to row, in bytes. Any number.
    pub stride: u32,
}

/// A plane as a texture (R8 and RG8 for NV12). Usage `TEXTURE_BINDING | COPY_SRC`.
#[derive(Clone, Debug)]
pub struct PlaneTexture {
    /// The texture. It may be wider than the plane: sample only `width` columns.
    pub texture: wgpu::Texture,
    /// Columns of the plane.
    pub width: u32,
    /// Rows of the plane.
    pub height: u32,
}

/// Where a frame's pixels are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In buffers, one entry a plane.
    Buffers(ArrayVec<PlaneBuffer, 4>),
    /// In textures, one a plane.
    Textures(ArrayVec<PlaneTexture, 4>),
}

/// A frame that the GPU can read. Keeps the frame, and so its lease, until it is dropped.
#[derive(Clone, Debug)]
#[must_use = "dropping it gives the frame back"]
pub struct Imported {
    pub(super) frame: Frame,
    pub(super) route: Route,
    pub(super) source: Source,
}

impl Imported {
    /// The frame.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// How it came in.
    #[must_use]
    pub fn route(&self) -> Route {
        self.route
    }

    /// Where its pixels are.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }
}
