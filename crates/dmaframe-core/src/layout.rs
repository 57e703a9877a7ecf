//! Where the samples lie: size, planes, offsets and strides.

use arrayvec::ArrayVec;

use crate::error::LayoutError;
use crate::format::{FormatInfo, Fourcc, Modifier, PlaneFormat};

/// Most memory objects and planes a frame can have, as in the kernel's framebuffer interface.
pub const MAX_PLANES: usize = 4;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Size {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// `width` columns by `height` rows.
    #[must_use]
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }
}

impl std::str::FromStr for Size {
    type Err = crate::Error;

    /// `1280x720`, from 1x1 to 65536x65536: what people write on command lines.
    ///
    /// # Errors
    /// [`crate::Error::NoSize`].
    fn from_str(text: &str) -> Result<Self, crate::Error> {
        let number = |part: &str| part.parse().ok().filter(|side| (1..=65_536).contains(side));
        text.split_once(['x', 'X'])
            .and_then(|(width, height)| Some(Self::new(number(width)?, number(height)?)))
            .ok_or_else(|| crate::Error::NoSize {
                text: text.to_owned(),
            })
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A rectangle inside a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left column.
    pub x: u32,
    /// Top row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Rect {
    /// The whole of `size`.
    #[must_use]
    pub const fn full(size: Size) -> Self {
        Self {
            x: 0,
            y: 0,
            width: size.width,
            height: size.height,
        }
    }

    /// Whether the rectangle is not empty and lies inside `size`.
    #[must_use]
    pub const fn fits(&self, size: Size) -> bool {
        let right = self.x as u64 + self.width as u64;
        let bottom = self.y as u64 + self.height as u64;
        self.width > 0 && self.height > 0 && right <= size.width as u64 && bottom <= size.height as u64
    }
}

/// One plane: which memory object it is in, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plane {
    /// Index into the frame's objects.
    pub object: usize,
    /// First byte of the first row, from the start of the object.
    pub offset: u64,
    /// Bytes from one row to the next. For layouts that are not linear: as if they were.
    pub stride: u32,
}

/// A validated picture layout: format, size and planes that are known to lie inside their objects.
///
/// Fields are private because everything that maps, imports or copies relies on them having been checked. Two
/// ways make one: [`Layout::tight`] for memory that is to be allocated, and validation of
/// [`FrameParts`](crate::FrameParts) or [`Layout::check`] for planes from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    fourcc: Fourcc,
    modifier: Modifier,
    size: Size,
    planes: ArrayVec<Plane, MAX_PLANES>,
}

impl Layout {
    /// A linear layout in one object, planes one behind another, each row starting at a multiple of `align` bytes.
    ///
    /// `align` must be a power of two; 256 suits every GPU's linear pitch, 1 gives the tight layout of files.
    ///
    /// # Errors
    /// [`LayoutError`] for a format that is not in the table, a size of 0, a bad `align`, or overflow.
    pub fn linear(fourcc: Fourcc, size: Size, align: u32) -> Result<Self, LayoutError> {
        let info = info_of(fourcc)?;
        nonzero(size)?;
        if !align.is_power_of_two() {
            return Err(LayoutError::Alignment { align });
        }
        let mut planes = ArrayVec::new();
        let mut offset = 0u64;
        for (index, format) in info.planes().iter().enumerate() {
            let overflow = LayoutError::Overflow { plane: index };
            let row = format.row_bytes(size.width);
            let stride = row
                .checked_next_multiple_of(u64::from(align))
                .ok_or(overflow.clone())?;
            let stride = u32::try_from(stride).map_err(|_| overflow.clone())?;
            planes.push(Plane {
                object: 0,
                offset,
                stride,
            });
            let len = u64::from(stride).checked_mul(u64::from(format.rows(size.height)));
            offset = len.and_then(|len| offset.checked_add(len)).ok_or(overflow)?;
        }
        Ok(Self {
            fourcc,
            modifier: Modifier::LINEAR,
            size,
            planes,
        })
    }

    /// [`Layout::linear`] without any padding.
    ///
    /// # Errors
    /// As [`Layout::linear`].
    pub fn tight(fourcc: Fourcc, size: Size) -> Result<Self, LayoutError> {
        Self::linear(fourcc, size, 1)
    }

    /// Checks planes that came from outside against the format's geometry and the objects' true sizes (bytes).
    ///
    /// For [`Modifier::LINEAR`] every plane must have its format's row bytes within its stride, and its last row's
    /// last sample inside its object. For a tiled or implicit modifier only what holds for every driver is checked:
    /// the plane count is the format's or more, objects exist and offsets lie inside them.
    ///
    /// # Errors
    /// [`LayoutError`], naming the plane, the number found and the limit.
    pub fn check(
        fourcc: Fourcc,
        modifier: Modifier,
        size: Size,
        planes: &[Plane],
        object_sizes: &[u64],
    ) -> Result<Self, LayoutError> {
        let info = info_of(fourcc)?;
        nonzero(size)?;
        let expected = info.planes().len();
        let linear = modifier.is_linear();
        if planes.len() < expected || planes.len() > MAX_PLANES || (linear && planes.len() != expected) {
            return Err(LayoutError::PlaneCount {
                fourcc,
                found: planes.len(),
                expected,
            });
        }
        if object_sizes.is_empty() || object_sizes.len() > MAX_PLANES {
            return Err(LayoutError::ObjectCount {
                found: object_sizes.len(),
                limit: MAX_PLANES,
            });
        }
        for (index, plane) in planes.iter().enumerate() {
            let Some(&object_size) = object_sizes.get(plane.object) else {
                return Err(LayoutError::ObjectIndex {
                    plane: index,
                    found: plane.object,
                    objects: object_sizes.len(),
                });
            };
            // Metadata planes of a modifier have a geometry of their own: only their start can be checked.
            let end = match info.planes().get(index).filter(|_| linear) {
                Some(format) => linear_end(index, format, plane, size)?,
                None => plane
                    .offset
                    .checked_add(1)
                    .ok_or(LayoutError::Overflow { plane: index })?,
            };
            if end > object_size {
                return Err(LayoutError::PastEnd {
                    plane: index,
                    end,
                    object: plane.object,
                    object_size,
                });
            }
        }
        if let Some(unused) = (0..object_sizes.len()).find(|i| planes.iter().all(|p| p.object != *i)) {
            return Err(LayoutError::UnusedObject { object: unused });
        }
        Ok(Self {
            fourcc,
            modifier,
            size,
            planes: planes.iter().copied().collect(),
        })
    }

    /// The pixel format.
    #[must_use]
    pub fn fourcc(&self) -> Fourcc {
        self.fourcc
    }

    /// The format's entry in the table.
    #[must_use]
    pub fn info(&self) -> &'static FormatInfo {
        match self.fourcc.info() {
            Some(info) => info,
            // Both constructors look the format up first.
            None => unreachable!("a layout's format is in the table"),
        }
    }

    /// The modifier.
    #[must_use]
    pub fn modifier(&self) -> Modifier {
        self.modifier
    }

    /// The coded size: what the planes hold. The part to show is the frame's visible rect.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The planes; for a linear layout exactly the format's own.
    #[must_use]
    pub fn planes(&self) -> &[Plane] {
        &self.planes
    }

    /// Rows of plane `index`, or 0 for a plane the format does not have.
    #[must_use]
    pub fn rows(&self, index: usize) -> u32 {
        self.info()
            .planes()
            .get(index)
            .map_or(0, |p| p.rows(self.size.height))
    }

    /// Bytes of a row of plane `index` that carry samples, or 0 for a plane the format does not have.
    #[must_use]
    pub fn row_bytes(&self, index: usize) -> usize {
        // A linear layout's rows fit their `u32` stride; the saturation is for tiled layouts, whose rows nobody maps.
        self.info().planes().get(index).map_or(0, |p| {
            usize::try_from(p.row_bytes(self.size.width)).unwrap_or(usize::MAX)
        })
    }

    /// Bytes object `object` must have for this layout (linear layouts only; 0 for an object no plane is in).
    #[must_use]
    pub fn object_len(&self, object: usize) -> u64 {
        self.planes
            .iter()
            .enumerate()
            .filter(|(_, plane)| plane.object == object)
            .map(|(index, plane)| {
                // Saturates only where the last row's padding, which need not exist, would reach past u64.
                plane
                    .offset
                    .saturating_add(u64::from(plane.stride) * u64::from(self.rows(index)))
            })
            .max()
            .unwrap_or(0)
    }

    /// Bytes of the picture without padding.
    #[must_use]
    pub fn tight_len(&self) -> u64 {
        self.info().tight_len(self.size).unwrap_or(u64::MAX)
    }
}

fn info_of(fourcc: Fourcc) -> Result<&'static FormatInfo, LayoutError> {
    fourcc.info().ok_or(LayoutError::UnknownFormat { fourcc })
}

fn nonzero(size: Size) -> Result<(), LayoutError> {
    if size.width == 0 || size.height == 0 {
        return Err(LayoutError::EmptySize { size });
    }
    Ok(())
}

/// One past the last byte of a linear plane that carries a sample. The last row's padding need not be there:
/// V4L2 and GStreamer both hand out buffers that end with the last sample.
fn linear_end(index: usize, format: &PlaneFormat, plane: &Plane, size: Size) -> Result<u64, LayoutError> {
    let row_bytes = format.row_bytes(size.width);
    if u64::from(plane.stride) < row_bytes {
        return Err(LayoutError::StrideTooSmall {
            plane: index,
            stride: plane.stride,
            row_bytes,
        });
    }
    let last_row = u64::from(plane.stride).checked_mul(u64::from(format.rows(size.height)) - 1);
    last_row
        .and_then(|start| start.checked_add(plane.offset))
        .and_then(|start| start.checked_add(row_bytes))
        .ok_or(LayoutError::Overflow { plane: index })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_they_are_written_and_nothing_else_is() {
        let size = Size::new(1280, 720);
        assert_eq!(
            (size.to_string().parse(), "1280X720".parse()),
            (Ok(size), Ok(size))
        );
        for bad in [
            "",
            "x",
            "1280",
            "1280x",
            "0x5",
            "5x65537",
            "1280x720x3",
            "-1x5",
            " 5x5",
            "5 x 5",
        ] {
            let error = bad.parse::<Size>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("'{bad}' is not WIDTHxHEIGHT, for example 1280x720")
            );
        }
    }

    #[test]
    fn linear_layout_passes_its_own_check() {
        for info in crate::format::all_formats() {
            for size in [Size::new(1, 1), Size::new(641, 361), Size::new(1920, 1080)] {
                let layout = Layout::linear(info.fourcc, size, 64).unwrap();
                let len = layout.object_len(0);
                let again =
                    Layout::check(info.fourcc, Modifier::LINEAR, size, layout.planes(), &[len]).unwrap();
                assert_eq!(again, layout, "{}", info.name);
            }
        }
    }

    proptest! {
        /// The promise every mapping rests on: a layout that was accepted never points outside its objects.
        #[test]
        fn accepted_linear_planes_never_reach_outside_their_objects(
            format in 0..crate::format::all_formats().len(),
            width in prop_oneof![1u32..5000, any::<u32>()],
            height in prop_oneof![1u32..5000, any::<u32>()],
            planes in prop::collection::vec(
                (0usize..5, prop_oneof![0u64..1 << 24, any::<u64>()], prop_oneof![0u32..1 << 16, any::<u32>()]), 0..6),
            sizes in prop::collection::vec(prop_oneof![0u64..1 << 26, any::<u64>()], 0..6),
        ) {
            let info = &crate::format::all_formats()[format];
            let planes: Vec<_> =
                planes.into_iter().map(|(object, offset, stride)| Plane { object, offset, stride }).collect();
            let size = Size { width, height };
            if let Ok(layout) = Layout::check(info.fourcc, Modifier::LINEAR, size, &planes, &sizes) {
                for (index, plane) in layout.planes().iter().enumerate() {
                    let last = u128::from(plane.offset)
                        + u128::from(plane.stride) * u128::from(layout.rows(index) - 1)
                        + layout.row_bytes(index) as u128;
                    prop_assert!(last <= u128::from(sizes[plane.object]));
                    prop_assert!(layout.row_bytes(index) <= plane.stride as usize);
                }
            }
        }
    }
}
