//! What a picture is bound with.

use arrayvec::ArrayVec;
use dmaframe_core::format::FormatInfo;
use dmaframe_core::{ColorInfo, Fourcc, Orientation, Rect, Size};

use super::super::in_place::Reading;
use super::super::{Gpu, Imported, PlaneBuffer, PlaneTexture, Source, wgpu};
use crate::convert::{ConvertError, Input, Kind, Params, Texel};

/// What is converted: planes that the GPU can read, and what they mean. An [`Imported`] frame is one; so is anything
/// that lies in buffers or textures of the application's own.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Not to be had back: what an [`Imported`] lends out it has to know of.
    source: &'a Source,
    /// What it is of, if it is a frame.
    imported: Option<&'a Imported>,
    /// The format.
    pub fourcc: Fourcc,
    /// The coded size.
    pub size: Size,
    /// The part to show.
    pub visible: Rect,
    /// How to turn it upright.
    pub orientation: Orientation,
    /// Colour.
    pub color: ColorInfo,
}

impl<'a> Picture<'a> {
    /// All of it, upright, of unspecified colour.
    #[must_use]
    pub fn new(source: &'a Source, fourcc: Fourcc, size: Size) -> Self {
        Self {
            source,
            imported: None,
            fourcc,
            size,
            visible: Rect::full(size),
            orientation: Orientation::IDENTITY,
            color: ColorInfo::UNSPECIFIED,
        }
    }
}

impl Picture<'_> {
    /// What an encoder keeps that reads it.
    pub(super) fn reading(&self) -> Option<Reading> {
        self.imported.and_then(Imported::reading)
    }
}

impl<'a> From<&'a Imported> for Picture<'a> {
    fn from(imported: &'a Imported) -> Self {
        let frame = imported.frame();
        Self {
            source: imported.source(),
            imported: Some(imported),
            fourcc: frame.fourcc(),
            size: frame.layout().size(),
            visible: frame.visible(),
            orientation: frame.meta().orientation,
            color: frame.meta().color,
        }
    }
}

/// The planes as a bind group has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) planes: ArrayVec<Plane, 3>,
}

/// One plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plane {
    Buffer {
        buffer: wgpu::Buffer,
        start: u64,
        len: u64,
    },
    Texture {
        texture: wgpu::Texture,
        uint: bool,
    },
}

/// What a bind group's layout depends on: of each plane, what it is.
pub(super) type LayoutKey = ArrayVec<PlaneType, 3>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PlaneType {
    Buffer,
    Float,
    Uint,
}

impl Bound {
    /// Checks the planes, and fills in where in their bindings they begin.
    pub(super) fn new(
        picture: &Picture<'_>,
        kind: Kind,
        (gpu, limits): (&Gpu, &wgpu::Limits),
        params: &mut Params,
    ) -> Result<(Self, Input), ConvertError> {
        let fourcc = picture.fourcc;
        if picture.imported.is_some_and(|its| !its.gpu().is_same(gpu)) {
            return Err(ConvertError::OtherDevice);
        }
        let info = fourcc.info().ok_or(ConvertError::Format { fourcc })?;
        let needed = kind.planes();
        let found = match picture.source {
            Source::Buffers(planes) => planes.len(),
            Source::Textures(planes) => planes.len(),
        };
        if found < needed {
            return Err(ConvertError::Planes {
                fourcc,
                found,
                needed,
            });
        }
        let mut planes = ArrayVec::new();
        let input = match picture.source {
            Source::Buffers(buffers) => {
                let mut aligned = true;
                for (index, plane) in buffers.iter().take(needed).enumerate() {
                    let (bound, first) = buffer(info, picture.size, index, plane, limits)?;
                    params.planes[index] = [first, plane.stride, 0, 0];
                    let unit = kind.unit(index);
                    aligned &= first % unit == 0 && plane.stride % unit == 0;
                    planes.push(bound);
                }
                Input::Buffers { aligned }
            }
            Source::Textures(textures) => {
                let mut texels = ArrayVec::new();
                for (index, plane) in textures.iter().take(needed).enumerate() {
                    let texel = texel(info, picture.size, kind, index, plane)?;
                    planes.push(Plane::Texture {
                        texture: plane.texture.clone(),
                        uint: texel.is_uint(),
                    });
                    texels.push(texel);
                }
                Input::Textures(texels)
            }
        };
        Ok((Self { planes }, input))
    }

    pub(super) fn layout(&self) -> LayoutKey {
        self.planes
            .iter()
            .map(|plane| match plane {
                Plane::Buffer { .. } => PlaneType::Buffer,
                Plane::Texture { uint: true, .. } => PlaneType::Uint,
                Plane::Texture { .. } => PlaneType::Float,
            })
            .collect()
    }
}

/// The part of a buffer that a plane lies in, and where in that part it begins.
fn buffer(
    info: &FormatInfo,
    size: Size,
    index: usize,
    plane: &PlaneBuffer,
    limits: &wgpu::Limits,
) -> Result<(Plane, u32), ConvertError> {
    let format = info.planes()[index];
    let rows = u64::from(format.rows(size.height)) - 1;
    // Saturates far beyond any buffer.
    let end = u64::from(plane.stride)
        .saturating_mul(rows)
        .saturating_add(format.row_bytes(size.width))
        .saturating_add(plane.offset)
        .saturating_add(3)
        / 4
        * 4;
    let found = plane.buffer.size();
    if end > found {
        return Err(ConvertError::Range {
            plane: index,
            needed: end,
            found,
        });
    }
    let align = u64::from(limits.min_storage_buffer_offset_alignment.max(4));
    let start = plane.offset / align * align;
    let len = end - start;
    // The shader counts bytes in 32 bits, however much the device binds.
    #[allow(clippy::useless_conversion, reason = "32 bits in wgpu 28")]
    let limit = u64::from(limits.max_storage_buffer_binding_size).min(u64::from(u32::MAX));
    if len > limit {
        return Err(ConvertError::Binding {
            plane: index,
            needed: len,
            limit,
        });
    }
    let bound = Plane::Buffer {
        buffer: plane.buffer.clone(),
        start,
        len,
    };
    // Below `len`, which fits.
    Ok((bound, (plane.offset - start) as u32))
}

fn texel(
    info: &FormatInfo,
    size: Size,
    kind: Kind,
    index: usize,
    plane: &PlaneTexture,
) -> Result<Texel, ConvertError> {
    let format = plane.texture.format();
    let needed = kind.texel_bytes(index);
    let texel = texel_of(format).filter(|texel| Some(texel.bytes()) == needed);
    let (Some(texel), Some(bytes)) = (texel, needed) else {
        return Err(ConvertError::Texture {
            plane: index,
            fourcc: info.fourcc,
            found: format!("{format:?}"),
            needed: needed.unwrap_or(0),
        });
    };
    let format = info.planes()[index];
    let columns = format.row_bytes(size.width) / u64::from(bytes);
    let needed = Size::new(
        u32::try_from(columns).unwrap_or(u32::MAX),
        format.rows(size.height),
    );
    let found = Size::new(
        plane.width.min(plane.texture.width()),
        plane.height.min(plane.texture.height()),
    );
    if found.width < needed.width || found.height < needed.height {
        return Err(ConvertError::TextureSize {
            plane: index,
            needed,
            found,
        });
    }
    Ok(texel)
}

/// How a texture's texel becomes bytes again: sRGB ones would have been decoded, so they are not here.
fn texel_of(format: wgpu::TextureFormat) -> Option<Texel> {
    use wgpu::TextureFormat as F;
    let unorm = |components, bits| Some(Texel::Unorm { components, bits });
    let uint = |components, bits| Some(Texel::Uint { components, bits });
    match format {
        F::R8Unorm => unorm(1, 8),
        F::Rg8Unorm => unorm(2, 8),
        F::Rgba8Unorm => unorm(4, 8),
        F::R16Unorm => unorm(1, 16),
        F::Rg16Unorm => unorm(2, 16),
        F::Rgba16Unorm => unorm(4, 16),
        F::R8Uint => uint(1, 8),
        F::Rg8Uint => uint(2, 8),
        F::Rgba8Uint => uint(4, 8),
        F::R16Uint => uint(1, 16),
        F::Rg16Uint => uint(2, 16),
        F::Rgba16Uint => uint(4, 16),
        F::R32Uint => uint(1, 32),
        F::Rg32Uint => uint(2, 32),
        F::Bgra8Unorm => Some(Texel::Bgra8),
        F::Rgb10a2Unorm => Some(Texel::Rgb10a2),
        F::Rgba16Float => Some(Texel::Half),
        _ => None,
    }
}
