//! From what caps and metadata say to a picture and its planes.

use arrayvec::ArrayVec;
use dmaframe_core::{
    ColorInfo, Fourcc, FrameParts, Layout, LayoutError, MAX_PLANES, Modifier, Plane, Rect, Size,
};

use super::color::{parse_chroma_site, parse_colorimetry};
use super::drm::parse_drm_format;
use super::error::DescribeError;
use super::formats::{by_name, default_planes};
use super::{CapsFields, MemoryWindow, MetaFields};

/// What caps alone say about every picture of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Picture {
    /// Pixel format.
    pub fourcc: Fourcc,
    /// Layout; see [`Picture::from_caps`] for caps that do not name one.
    pub modifier: Modifier,
    /// The size caps give: what is to be shown.
    pub size: Size,
    /// Colour.
    pub color: ColorInfo,
    /// Whether the caps promise dma-bufs. Without it buffers may still be dma-bufs: that is for the memory to say.
    pub dmabuf: bool,
}

/// Where the planes of one buffer are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placed {
    /// Size of the whole picture in memory.
    pub coded: Size,
    /// Planes; `object` is an index into [`Placed::memories`].
    pub planes: ArrayVec<Plane, MAX_PLANES>,
    /// The memories that hold a plane, by their index in the buffer. Others (metadata, padding) are not needed.
    pub memories: ArrayVec<usize, MAX_PLANES>,
    /// The part to show, where it is not all.
    pub visible: Option<Rect>,
}

impl Picture {
    /// Reads fixed caps.
    ///
    /// `unnamed` is the modifier of caps with `memory:DMABuf` and an ordinary format, as GStreamer before 1.24 wrote them
    /// for whatever layout the driver had: [`Modifier::INVALID`] unless somebody knows better. System memory is always
    /// LINEAR.
    ///
    /// # Errors
    /// [`DescribeError`]; nothing is guessed.
    pub fn from_caps(caps: &CapsFields<'_>, unnamed: Modifier) -> Result<Self, DescribeError> {
        if caps.media_type != "video/x-raw" {
            return Err(DescribeError::MediaType {
                found: caps.media_type.to_owned(),
            });
        }
        let dmabuf = match caps.feature {
            None | Some("memory:SystemMemory") => false,
            Some("memory:DMABuf") => true,
            Some(found) => {
                return Err(DescribeError::Feature {
                    found: found.to_owned(),
                });
            }
        };
        let name = caps.format.ok_or(DescribeError::Field {
            field: "format",
            found: 0,
        })?;
        let (fourcc, modifier) = match (name, dmabuf) {
            ("DMA_DRM", true) => parse_drm_format(caps.drm_format.ok_or(DescribeError::Field {
                field: "drm-format",
                found: 0,
            })?)?,
            ("DMA_DRM", false) => return Err(DescribeError::DrmWithoutFeature),
            (name, _) => {
                let known = by_name(name).ok_or_else(|| DescribeError::UnknownFormat {
                    name: name.to_owned(),
                })?;
                (known.fourcc, if dmabuf { unnamed } else { Modifier::LINEAR })
            }
        };
        if fourcc.info().is_none() {
            return Err(DescribeError::UnknownFormat {
                name: fourcc.to_string(),
            });
        }
        if let Some(mode) = caps.interlace_mode.filter(|mode| *mode != "progressive") {
            return Err(DescribeError::Interlaced {
                mode: mode.to_owned(),
            });
        }
        let mut color = match caps.colorimetry {
            Some(text) => parse_colorimetry(text)?,
            None => ColorInfo::UNSPECIFIED,
        };
        color.siting = caps.chroma_site.map(parse_chroma_site).unwrap_or_default();
        Ok(Self {
            fourcc,
            modifier,
            size: Size::new(length("width", caps.width)?, length("height", caps.height)?),
            color,
            dmabuf,
        })
    }

    /// Finds the planes of one buffer: from its metadata if it has any, from GStreamer's own layout if not.
    ///
    /// Every linear plane lies inside the window of its memory afterwards, not only inside the descriptor's bytes.
    ///
    /// # Errors
    /// [`DescribeError`].
    pub fn planes(
        &self,
        meta: Option<&MetaFields>,
        crop: Option<Rect>,
        memories: &[MemoryWindow],
    ) -> Result<Placed, DescribeError> {
        let from_default;
        let (coded, offsets, strides) = match meta {
            Some(meta) => (meta.size, &meta.offsets, &meta.strides),
            None if self.modifier.is_linear() || self.modifier.is_implicit() => {
                from_default = default_planes(self.fourcc, self.size)?;
                (self.size, &from_default.offsets, &from_default.strides)
            }
            None => {
                return Err(DescribeError::NoMeta {
                    fourcc: self.fourcc,
                    modifier: self.modifier,
                });
            }
        };
        let mut placed = Placed {
            coded,
            planes: ArrayVec::new(),
            memories: ArrayVec::new(),
            visible: crop,
        };
        if placed.visible.is_none() && coded != self.size {
            placed.visible = Some(Rect::full(self.size));
        }
        for (index, (offset, stride)) in offsets.iter().zip(strides).enumerate() {
            let stride = u32::try_from(*stride).map_err(|_| DescribeError::Stride {
                plane: index,
                stride: *stride,
            })?;
            let (memory, offset) = find(memories, *offset).ok_or_else(|| DescribeError::Offset {
                plane: index,
                offset: *offset,
                len: memories
                    .iter()
                    .fold(0, |sum, memory| sum.saturating_add(memory.size)),
                memories: memories.len(),
            })?;
            let object = placed.memories.iter().position(|known| *known == memory);
            let object = object.unwrap_or_else(|| {
                // At most one for each plane, and planes are at most as many.
                placed.memories.push(memory);
                placed.memories.len() - 1
            });
            placed.planes.push(Plane {
                object,
                offset,
                stride,
            });
        }
        let ends: ArrayVec<u64, MAX_PLANES> = placed
            .memories
            .iter()
            .map(|memory| memories[*memory].offset.saturating_add(memories[*memory].size))
            .collect();
        Layout::check(self.fourcc, self.modifier, coded, &placed.planes, &ends)?;
        if let Some(rect) = placed.visible.filter(|rect| !rect.fits(coded)) {
            return Err(LayoutError::Visible { rect, size: coded }.into());
        }
        Ok(placed)
    }

    /// The same as [`FrameParts`] without their objects, for whoever has the memories' descriptors: those of
    /// [`Placed::memories`], in that order.
    #[must_use]
    pub fn parts(&self, placed: &Placed) -> FrameParts {
        let mut parts = FrameParts::new(self.fourcc, placed.coded);
        parts.modifier = self.modifier;
        parts.planes = placed.planes.to_vec();
        parts.meta.visible = placed.visible;
        parts.meta.color = self.color;
        parts
    }
}

fn length(field: &'static str, found: i32) -> Result<u32, DescribeError> {
    match u32::try_from(found) {
        Ok(length) if length > 0 => Ok(length),
        _ => Err(DescribeError::Field {
            field,
            found: found.into(),
        }),
    }
}

/// Which memory a byte of the buffer is in, and which byte of its descriptor it is.
fn find(memories: &[MemoryWindow], offset: u64) -> Option<(usize, u64)> {
    let mut start = 0u64;
    for (index, memory) in memories.iter().enumerate() {
        let end = start.checked_add(memory.size)?;
        if offset < end {
            return Some((index, memory.offset.checked_add(offset - start)?));
        }
        start = end;
    }
    None
}
