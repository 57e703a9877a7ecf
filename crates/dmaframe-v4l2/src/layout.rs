//! Where a format's colour planes lie in a buffer's memory planes.

use arrayvec::ArrayVec;
use dmaframe_core::{Layout, LayoutError, Plane};

use crate::device::Device;
use crate::error::Error;
use crate::format::{Field, Format};
use crate::pixelformat::FrameFormat;
use crate::sys::abi;

impl Format {
    /// The colour planes of one buffer: which object each is in, its offset and stride.
    ///
    /// For contiguous planar formats V4L2 gives one stride and one size, and the rest follows from the rules in
    /// `Documentation/userspace-api/media/v4l/pixfmt-yuv-planar.rst`: chroma strides are the luma stride in proportion
    /// to the bytes of a row, and planes follow each other without a gap.
    ///
    /// # Errors
    /// [`Error::UnmappedFormat`] for a format no frame has, [`Error::Interlaced`], [`Error::PlaneCount`],
    /// [`Error::Layout`] when the driver's own sizes do not hold the planes.
    pub fn layout(&self, device: &Device) -> Result<Layout, Error> {
        let sizes: ArrayVec<u64, { abi::VIDEO_MAX_PLANES }> = self
            .memory_planes()
            .iter()
            .map(|plane| plane.size.into())
            .collect();
        self.layout_at(device.path(), &sizes, &[])
    }

    /// [`Format::layout`] against the true sizes of a buffer's memory planes, with the data of each beginning `starts`
    /// bytes into it (0 where it does not say).
    pub(crate) fn layout_at(
        &self,
        device: &std::path::Path,
        sizes: &[u64],
        starts: &[u32],
    ) -> Result<Layout, Error> {
        let device = || device.to_owned();
        let Some(frame) = self.pixel_format.frame() else {
            return Err(Error::UnmappedFormat {
                device: device(),
                format: self.pixel_format,
            });
        };
        if self.field != Field::Progressive {
            return Err(Error::Interlaced {
                device: device(),
                field: self.field,
            });
        }
        let expected = usize::from(frame.memory_planes);
        if self.memory_planes().len() != expected {
            return Err(Error::PlaneCount {
                device: device(),
                format: self.pixel_format,
                found: self.memory_planes().len(),
                expected,
            });
        }
        let mut planes = self.planes_of(frame).map_err(|error| Error::Layout {
            device: device(),
            error,
        })?;
        for plane in &mut planes {
            plane.offset = plane
                .offset
                .saturating_add(starts.get(plane.object).copied().unwrap_or(0).into());
        }
        Layout::check(frame.fourcc, frame.modifier, self.size, &planes, sizes).map_err(|error| {
            Error::Layout {
                device: device(),
                error,
            }
        })
    }

    fn planes_of(&self, frame: FrameFormat) -> Result<ArrayVec<Plane, 4>, LayoutError> {
        let info = frame
            .fourcc
            .info()
            .ok_or(LayoutError::UnknownFormat { fourcc: frame.fourcc })?;
        let first = info.planes()[0];
        let mut planes = ArrayVec::new();
        let mut offset = 0u64;
        for (index, format) in info.planes().iter().enumerate() {
            let overflow = LayoutError::Overflow { plane: index };
            let memory = if frame.memory_planes == 1 { 0 } else { index };
            // A driver may leave bytesperline 0 where there is no padding (old ones do, for planar formats).
            let given = match self.memory_planes()[memory].stride {
                0 => (if memory == index { *format } else { first }).row_bytes(self.size.width),
                stride => u64::from(stride),
            };
            let stride = if index == 0 || memory == index {
                given
            } else {
                // Bytes of a chroma row for each byte of a luma row: 1 for NV12, 1/2 for YU12, 2 for NV24.
                let of = u64::from(format.block_bytes) * u64::from(first.block_width);
                let per =
                    u64::from(format.block_width) * u64::from(format.h_sub) * u64::from(first.block_bytes);
                (given * of).div_ceil(per)
            };
            let stride = u32::try_from(stride).map_err(|_| overflow.clone())?;
            planes.push(Plane {
                object: memory,
                offset: if memory == index { 0 } else { offset },
                stride,
            });
            let len = u64::from(stride).checked_mul(u64::from(format.rows(self.size.height)));
            offset = len.and_then(|len| offset.checked_add(len)).ok_or(overflow)?;
        }
        Ok(planes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixelformat::PixelFormat;
    use crate::sys::AnyFormat;
    use crate::sys::abi::Plain;
    use std::path::Path;

    fn single(code: &[u8; 4], width: u32, height: u32, stride: u32, size: u32) -> Format {
        Format::from_sys(&AnyFormat::Single(abi::PixFormat {
            width,
            height,
            pixelformat: PixelFormat::new(code).0,
            field: abi::FIELD_NONE,
            bytesperline: stride,
            sizeimage: size,
            ..abi::PixFormat::zeroed()
        }))
    }

    fn multi(code: &[u8; 4], width: u32, height: u32, planes: &[(u32, u32)]) -> Format {
        let mut mp = abi::PixFormatMplane {
            width,
            height,
            pixelformat: PixelFormat::new(code).0,
            field: abi::FIELD_NONE,
            num_planes: planes.len() as u8,
            ..abi::PixFormatMplane::zeroed()
        };
        for (to, (stride, size)) in mp.plane_fmt.iter_mut().zip(planes) {
            to.bytesperline = *stride;
            to.sizeimage = *size;
        }
        Format::from_sys(&AnyFormat::Multi(mp))
    }

    fn planes(format: &Format) -> Result<Vec<(usize, u64, u32)>, Error> {
        let sizes: Vec<_> = format.memory_planes().iter().map(|p| u64::from(p.size)).collect();
        let layout = format.layout_at(Path::new("/dev/video-test"), &sizes, &[])?;
        Ok(layout
            .planes()
            .iter()
            .map(|p| (p.object, p.offset, p.stride))
            .collect())
    }

    /// Chroma strides in proportion to the luma stride with its padding, planes without a gap.
    #[test]
    fn contiguous_chroma_follows_the_kernels_rules() {
        let nv12 = planes(&single(b"NV12", 640, 360, 704, 704 * 540)).unwrap();
        assert_eq!(nv12, [(0, 0, 704), (0, 704 * 360, 704)]);
        let i420 = planes(&single(b"YU12", 640, 360, 704, 704 * 540)).unwrap();
        assert_eq!(
            i420,
            [(0, 0, 704), (0, 704 * 360, 352), (0, 704 * 360 + 352 * 180, 352)]
        );
        let nv24 = planes(&single(b"NV24", 640, 360, 704, 704 * 360 * 3)).unwrap();
        assert_eq!(nv24, [(0, 0, 704), (0, 704 * 360, 1408)]);
        let nv15 = planes(&single(b"NV15", 640, 360, 832, 832 * 540)).unwrap();
        assert_eq!(nv15, [(0, 0, 832), (0, 832 * 360, 832)]);
        let p010 = planes(&single(b"P010", 640, 360, 1280, 1280 * 540)).unwrap();
        assert_eq!(p010, [(0, 0, 1280), (0, 1280 * 360, 1280)]);
        let yuyv = planes(&single(b"YUYV", 640, 360, 1280, 1280 * 360)).unwrap();
        assert_eq!(yuyv, [(0, 0, 1280)]);
    }

    #[test]
    fn odd_sizes_round_chroma_up() {
        let i420 = planes(&single(b"YU12", 641, 361, 641, 641 * 361 + 2 * 321 * 181)).unwrap();
        assert_eq!(
            i420,
            [(0, 0, 641), (0, 641 * 361, 321), (0, 641 * 361 + 321 * 181, 321)]
        );
    }

    #[test]
    fn memory_planes_of_their_own_start_at_zero_with_their_own_stride() {
        let nm12 = planes(&multi(b"NM12", 640, 360, &[(704, 704 * 360), (768, 768 * 180)])).unwrap();
        assert_eq!(nm12, [(0, 0, 704), (1, 0, 768)]);
        let ym12 = planes(&multi(
            b"YM12",
            640,
            360,
            &[(640, 640 * 360), (320, 57600), (320, 57600)],
        ))
        .unwrap();
        assert_eq!(ym12, [(0, 0, 640), (1, 0, 320), (2, 0, 320)]);
        // NV12 in one memory plane through the multi-planar API is an ordinary contiguous format.
        let nv12 = planes(&multi(b"NV12", 640, 360, &[(640, 640 * 540)])).unwrap();
        assert_eq!(nv12, [(0, 0, 640), (0, 640 * 360, 640)]);
    }

    /// Vivid's NM16 has a header in front of the data of each plane, as some sensors do.
    #[test]
    fn data_behind_a_header_moves_every_plane_of_its_memory() {
        let format = multi(
            b"NM12",
            640,
            360,
            &[(640, 640 * 360 + 128), (640, 640 * 180 + 64)],
        );
        let sizes = [640 * 360 + 128, 640 * 180 + 64];
        let layout = format
            .layout_at(Path::new("/dev/video-test"), &sizes, &[128, 64])
            .unwrap();
        assert_eq!(
            layout.planes().iter().map(|p| p.offset).collect::<Vec<_>>(),
            [128, 64]
        );
        let past = format
            .layout_at(Path::new("/dev/video-test"), &sizes, &[129, 64])
            .unwrap_err();
        assert!(
            matches!(
                past,
                Error::Layout {
                    error: LayoutError::PastEnd { plane: 0, .. },
                    ..
                }
            ),
            "{past}"
        );
        assert!(
            format
                .layout_at(Path::new("/dev/video-test"), &sizes, &[u32::MAX])
                .is_err()
        );
    }

    #[test]
    fn a_missing_stride_means_no_padding() {
        assert_eq!(
            planes(&single(b"NV12", 640, 360, 0, 640 * 540)).unwrap(),
            [(0, 0, 640), (0, 640 * 360, 640)]
        );
        let nm12 = planes(&multi(b"NM12", 640, 360, &[(0, 640 * 360), (0, 640 * 180)])).unwrap();
        assert_eq!(nm12, [(0, 0, 640), (1, 0, 640)]);
    }

    /// What a broken or hostile driver may claim ends in a typed error, never in a layout.
    #[test]
    fn claims_that_do_not_hold_together_are_refused() {
        let short = planes(&single(b"NV12", 640, 360, 640, 640 * 540 - 1)).unwrap_err();
        assert!(
            matches!(
                short,
                Error::Layout {
                    error: LayoutError::PastEnd { plane: 1, .. },
                    ..
                }
            ),
            "{short}"
        );
        assert!(short.to_string().contains("/dev/video-test"), "{short}");
        let narrow = planes(&single(b"YUYV", 640, 360, 1279, u32::MAX)).unwrap_err();
        assert!(
            matches!(
                narrow,
                Error::Layout {
                    error: LayoutError::StrideTooSmall { .. },
                    ..
                }
            ),
            "{narrow}"
        );
        let empty = planes(&single(b"YUYV", 0, 0, 0, 0)).unwrap_err();
        assert!(
            matches!(
                empty,
                Error::Layout {
                    error: LayoutError::EmptySize { .. },
                    ..
                }
            ),
            "{empty}"
        );
        let huge = planes(&single(b"NV24", u32::MAX, u32::MAX, u32::MAX, u32::MAX)).unwrap_err();
        assert!(matches!(huge, Error::Layout { .. }), "{huge}");
        let count = planes(&multi(b"NM12", 640, 360, &[(640, 640 * 540)])).unwrap_err();
        assert!(
            matches!(
                count,
                Error::PlaneCount {
                    found: 1,
                    expected: 2,
                    ..
                }
            ),
            "{count}"
        );
        let unknown = planes(&single(b"HSV3", 640, 360, 1920, 1920 * 360)).unwrap_err();
        assert!(matches!(unknown, Error::UnmappedFormat { .. }), "{unknown}");
        let mut fields = single(b"YUYV", 640, 360, 1280, 1280 * 360);
        fields.field = Field::from_raw(4);
        assert!(matches!(
            planes(&fields),
            Err(Error::Interlaced {
                field: Field::Interlaced(4),
                ..
            })
        ));
    }

    /// Random claims for every mapped format: an error or a layout inside the sizes, never an overflow or a panic.
    #[test]
    fn no_claim_of_a_driver_makes_a_layout_outside_its_memory() {
        let mut state = 1u64;
        let mut random = |limit: u64| {
            // Knuth's MMIX generator; its upper bits are the good ones.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 16) % limit
        };
        let formats: Vec<PixelFormat> = dmaframe_core::format::all_formats()
            .iter()
            .flat_map(|i| PixelFormat::spellings(i.fourcc))
            .collect();
        let mut accepted = 0;
        for round in 0..200_000 {
            let format = formats[round % formats.len()];
            let extreme = random(4) == 0;
            let top = if extreme { u64::from(u32::MAX) + 1 } else { 4096 };
            let count = format.frame().map_or(1, |frame| frame.memory_planes);
            let mut mp = abi::PixFormatMplane {
                width: random(top) as u32,
                height: random(top) as u32,
                pixelformat: format.0,
                num_planes: if random(16) == 0 { random(256) as u8 } else { count },
                ..abi::PixFormatMplane::zeroed()
            };
            for plane in &mut mp.plane_fmt {
                plane.bytesperline = random(top * 4) as u32;
                plane.sizeimage = random(if extreme { top } else { 1 << 26 }) as u32;
            }
            let format = Format::from_sys(&AnyFormat::Multi(mp));
            let sizes: Vec<u64> = format
                .memory_planes()
                .iter()
                .map(|plane| plane.size.into())
                .collect();
            let starts = [random(top) as u32, random(256) as u32];
            if let Ok(layout) = format.layout_at(Path::new("/dev/video-test"), &sizes, &starts) {
                accepted += 1;
                for (index, plane) in layout.planes().iter().enumerate() {
                    let rows = u128::from(layout.rows(index)) - 1;
                    let end = u128::from(plane.offset) + u128::from(plane.stride) * rows;
                    assert!(end + layout.row_bytes(index) as u128 <= u128::from(sizes[plane.object]));
                }
            }
        }
        assert!(
            accepted > 1000,
            "{accepted} of the claims were sound: the test tests something"
        );
    }

    #[test]
    fn a_plane_count_beyond_the_array_is_cut_not_followed() {
        let mut mp = abi::PixFormatMplane::zeroed();
        mp.num_planes = 255;
        assert_eq!(
            Format::from_sys(&AnyFormat::Multi(mp)).memory_planes().len(),
            abi::VIDEO_MAX_PLANES
        );
    }
}
