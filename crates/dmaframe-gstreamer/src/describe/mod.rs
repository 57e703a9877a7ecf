//! What caps, video metadata and memory sizes say, as plain data: nothing in here needs GStreamer.
//!
//! Everything that comes from another element goes through [`Picture::from_caps`] and [`Picture::planes`] before a
//! descriptor is looked at. Both are pure functions that allocate nothing when they succeed, and are fuzzed
//! (`fuzz/fuzz_targets/gst_caps.rs`).

mod color;
mod drm;
mod formats;

use arrayvec::ArrayVec;
use dmaframe_core::{
    ColorInfo, Fourcc, FrameParts, Layout, LayoutError, MAX_PLANES, Modifier, Plane, Rect, Size,
};

pub use color::{chroma_site, colorimetry, parse_chroma_site, parse_colorimetry};
pub use drm::{drm_format, parse_drm_format};
pub use formats::{DefaultPlanes, default_planes, formats};
pub(crate) use formats::{by_fourcc, by_name};

/// Caps, metadata or memories that do not describe a picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// Not raw video.
    #[error("caps are {found}, not video/x-raw")]
    MediaType {
        /// What they are.
        found: String,
    },
    /// Memory that is neither mappable nor a dma-buf (`memory:GLMemory`, `memory:VAMemory` ...).
    #[error(
        "caps feature {found} is no memory that descriptors describe; only memory:DMABuf and system memory are"
    )]
    Feature {
        /// The feature found.
        found: String,
    },
    /// A field that fixed caps must have, or whose value is out of range.
    #[error("caps field {field} is missing or out of range ({found})")]
    Field {
        /// Which.
        field: &'static str,
        /// Its value.
        found: i64,
    },
    /// A format that has no DRM code, or one whose geometry is not known.
    #[error("format {name} has no known DRM format")]
    UnknownFormat {
        /// Its name.
        name: String,
    },
    /// `drm-format` is not `CODE` or `CODE:0xMODIFIER`.
    #[error("drm-format {text:?} is not CODE or CODE:0xMODIFIER")]
    DrmFormat {
        /// What it is.
        text: String,
    },
    /// `format=DMA_DRM` outside `memory:DMABuf`, where it means nothing.
    #[error("format=DMA_DRM without the feature memory:DMABuf")]
    DrmWithoutFeature,
    /// `colorimetry` is neither a name nor four numbers.
    #[error("colorimetry {text:?} is neither a known name nor range:matrix:transfer:primaries")]
    Colorimetry {
        /// What it is.
        text: String,
    },
    /// Fields of two moments in one picture.
    #[error("interlace-mode {mode} is not progressive")]
    Interlaced {
        /// The mode.
        mode: String,
    },
    /// Strides of a picture this large do not fit GStreamer's own layout.
    #[error("GStreamer has no layout for a picture of {size}")]
    TooLarge {
        /// The size.
        size: Size,
    },
    /// The layout is the driver's own and only metadata could say where planes lie.
    #[error("{fourcc} {modifier} without a GstVideoMeta: nothing says where its planes are")]
    NoMeta {
        /// The format.
        fourcc: Fourcc,
        /// The modifier.
        modifier: Modifier,
    },
    /// Rows from bottom to top.
    #[error("plane {plane} has stride {stride}; rows must follow each other downwards")]
    Stride {
        /// The plane.
        plane: usize,
        /// The stride found.
        stride: i32,
    },
    /// A plane starts behind the buffer's last byte.
    #[error("plane {plane} starts at byte {offset} of a buffer of {len} bytes in {memories} memories")]
    Offset {
        /// The plane.
        plane: usize,
        /// Where.
        offset: u64,
        /// Bytes there are.
        len: u64,
        /// Memories there are.
        memories: usize,
    },
    /// Planes that do not lie inside the memories.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// The fields of fixed video caps that say what a picture is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CapsFields<'a> {
    /// `video/x-raw`.
    pub media_type: &'a str,
    /// The caps' memory feature; `None` for system memory.
    pub feature: Option<&'a str>,
    /// `format`.
    pub format: Option<&'a str>,
    /// `drm-format`.
    pub drm_format: Option<&'a str>,
    /// `width`, 0 if missing.
    pub width: i32,
    /// `height`, 0 if missing.
    pub height: i32,
    /// `interlace-mode`.
    pub interlace_mode: Option<&'a str>,
    /// `colorimetry`.
    pub colorimetry: Option<&'a str>,
    /// `chroma-site`.
    pub chroma_site: Option<&'a str>,
}

/// What a `GstVideoMeta` and a `GstVideoCropMeta` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetaFields {
    /// Size of the whole picture in memory; caps have the size to show.
    pub size: Size,
    /// First byte of each plane, counted through all memories of the buffer.
    pub offsets: ArrayVec<u64, MAX_PLANES>,
    /// Bytes from one row to the next.
    pub strides: ArrayVec<i32, MAX_PLANES>,
}

/// The part of a descriptor's bytes that a `GstMemory` stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryWindow {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

impl MemoryWindow {
    /// `size` bytes from `offset` on.
    #[must_use]
    pub const fn new(offset: u64, size: u64) -> Self {
        Self { offset, size }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn caps<'a>(format: &'a str, feature: Option<&'a str>) -> CapsFields<'a> {
        CapsFields {
            media_type: "video/x-raw",
            feature,
            format: Some(format),
            width: 640,
            height: 480,
            ..CapsFields::default()
        }
    }

    #[test]
    fn old_dmabuf_caps_do_not_become_linear_by_themselves() {
        let old = caps("NV12", Some("memory:DMABuf"));
        let picture = Picture::from_caps(&old, Modifier::INVALID).unwrap();
        assert_eq!(picture.modifier, Modifier::INVALID);
        let system = Picture::from_caps(&caps("NV12", None), Modifier::INVALID).unwrap();
        assert_eq!(system.modifier, Modifier::LINEAR);
    }

    #[test]
    fn linear_is_the_bare_code_and_comes_back() {
        assert_eq!(
            drm_format(Fourcc::NV12, Modifier::LINEAR).as_deref(),
            Some("NV12")
        );
        assert_eq!(drm_format(Fourcc::NV12, Modifier::INVALID), None);
        let tiled = Modifier(0x0100_0000_0000_0002);
        let text = drm_format(Fourcc::NV12, tiled).unwrap();
        assert_eq!(text, "NV12:0x0100000000000002");
        assert_eq!(parse_drm_format(&text), Ok((Fourcc::NV12, tiled)));
        assert_eq!(parse_drm_format("R8"), Ok((Fourcc::R8, Modifier::LINEAR)));
        for wrong in [
            "",
            "NV12:",
            "NV12:0x",
            "NV12:+1",
            "NV12:0x+1",
            "NV123",
            "NV12:0x00ffffffffffffff",
            "NV1\n",
        ] {
            assert!(parse_drm_format(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn planes_are_found_through_several_memories() {
        let picture = Picture::from_caps(&caps("NV12", None), Modifier::INVALID).unwrap();
        let memories = [MemoryWindow::new(64, 640 * 480), MemoryWindow::new(0, 640 * 240)];
        let placed = picture.planes(None, None, &memories).unwrap();
        assert_eq!(placed.memories.as_slice(), [0, 1]);
        let at = |object, offset| Plane {
            object,
            offset,
            stride: 640,
        };
        assert_eq!(placed.planes.as_slice(), [at(0, 64), at(1, 0)]);
        let short = [
            MemoryWindow::new(0, 640 * 480),
            MemoryWindow::new(0, 640 * 240 - 1),
        ];
        assert!(matches!(
            picture.planes(None, None, &short),
            Err(DescribeError::Layout(LayoutError::PastEnd { plane: 1, .. }))
        ));
    }

    #[test]
    fn the_memorys_window_counts_not_the_descriptors_size() {
        let picture = Picture::from_caps(&caps("GRAY8", None), Modifier::INVALID).unwrap();
        let whole = MemoryWindow::new(0, 640 * 480);
        assert!(picture.planes(None, None, &[whole]).is_ok());
        assert!(
            picture
                .planes(None, None, &[MemoryWindow::new(0, 640 * 480 - 1)])
                .is_err()
        );
    }

    #[test]
    fn metadata_that_lies_is_refused_by_name() {
        let picture = Picture::from_caps(&caps("NV12", None), Modifier::INVALID).unwrap();
        let memory = [MemoryWindow::new(0, 640 * 720)];
        let meta = |strides: [i32; 2], offsets: [u64; 2]| MetaFields {
            size: Size::new(640, 480),
            offsets: offsets.into_iter().collect(),
            strides: strides.into_iter().collect(),
        };
        let refused = |meta: MetaFields| picture.planes(Some(&meta), None, &memory).unwrap_err();
        assert!(matches!(
            refused(meta([-640, 640], [0, 0])),
            DescribeError::Stride { plane: 0, .. }
        ));
        assert!(matches!(
            refused(meta([640, 640], [0, u64::MAX])),
            DescribeError::Offset { plane: 1, .. }
        ));
        assert!(matches!(
            refused(meta([639, 640], [0, 640 * 480])),
            DescribeError::Layout(_)
        ));
        let mut one = meta([640, 640], [0, 640 * 480]);
        one.offsets.pop();
        assert!(matches!(
            refused(one),
            DescribeError::Layout(LayoutError::PlaneCount {
                found: 1,
                expected: 2,
                ..
            })
        ));
        let good = meta([640, 640], [0, 640 * 480]);
        let outside = Rect {
            x: 600,
            y: 0,
            width: 41,
            height: 1,
        };
        assert!(picture.planes(Some(&good), Some(outside), &memory).is_err());
    }

    #[test]
    fn a_coded_size_larger_than_the_caps_shows_only_what_the_caps_say() {
        let picture = Picture::from_caps(&caps("GRAY8", None), Modifier::INVALID).unwrap();
        let meta = MetaFields {
            size: Size::new(704, 512),
            offsets: [0].into_iter().collect(),
            strides: [704].into_iter().collect(),
        };
        let placed = picture
            .planes(Some(&meta), None, &[MemoryWindow::new(0, 704 * 512)])
            .unwrap();
        assert_eq!(
            (placed.coded, placed.visible),
            (meta.size, Some(Rect::full(Size::new(640, 480))))
        );
    }

    #[test]
    fn colours_come_back() {
        for color in [
            ColorInfo::BT709,
            ColorInfo::BT601,
            ColorInfo::SRGB,
            ColorInfo::JFIF,
        ] {
            let text = colorimetry(&color).unwrap();
            let back = parse_colorimetry(&text).unwrap();
            let siting = chroma_site(color.siting)
                .map(parse_chroma_site)
                .unwrap_or_default();
            assert_eq!(ColorInfo { siting, ..back }, color, "{text}");
        }
        assert_eq!(colorimetry(&ColorInfo::UNSPECIFIED), None);
        assert!(parse_colorimetry("1:2:3").is_err() && parse_colorimetry("1:2:3:4:5").is_err());
    }

    #[test]
    fn fields_are_refused() {
        let mut interlaced = caps("NV12", None);
        interlaced.interlace_mode = Some("interleaved");
        assert!(matches!(
            Picture::from_caps(&interlaced, Modifier::INVALID),
            Err(DescribeError::Interlaced { .. })
        ));
        let gl = caps("NV12", Some("memory:GLMemory"));
        assert!(matches!(
            Picture::from_caps(&gl, Modifier::INVALID),
            Err(DescribeError::Feature { .. })
        ));
        let drm = caps("DMA_DRM", None);
        assert_eq!(
            Picture::from_caps(&drm, Modifier::INVALID),
            Err(DescribeError::DrmWithoutFeature)
        );
    }
}
