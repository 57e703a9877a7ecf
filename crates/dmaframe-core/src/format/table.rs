//! The one table of plane geometry.

use super::Fourcc;
use crate::layout::Size;

/// What the samples of a format mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Model {
    /// Red, green and blue, with or without alpha.
    Rgb,
    /// Luma and chroma, to be read with the frame's matrix and range.
    Yuv,
    /// One channel.
    Gray,
    /// Raw sensor mosaic, one colour a pixel.
    Bayer,
}

/// Geometry of one plane, in the units of `drm_format_info`: sub-sampling, then blocks of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneFormat {
    /// Horizontal sub-sampling: picture columns per sample column.
    pub h_sub: u8,
    /// Vertical sub-sampling: picture rows per sample row.
    pub v_sub: u8,
    /// Sample columns in a block.
    pub block_width: u8,
    /// Bytes in a block.
    pub block_bytes: u8,
}

impl PlaneFormat {
    /// Rows of this plane for a picture `height` rows high; odd heights round up.
    #[must_use]
    pub const fn rows(&self, height: u32) -> u32 {
        height.div_ceil(self.v_sub as u32)
    }

    /// Bytes of one row that carry samples, without padding, for a picture `width` columns wide; odd widths and
    /// part blocks round up. `u64`, since `u32::MAX` columns of 8 bytes do not fit in `u32`.
    #[must_use]
    pub const fn row_bytes(&self, width: u32) -> u64 {
        let samples = width.div_ceil(self.h_sub as u32);
        samples.div_ceil(self.block_width as u32) as u64 * self.block_bytes as u64
    }
}

/// What the table knows about one format.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormatInfo {
    /// The code.
    pub fourcc: Fourcc,
    /// The name without its prefix, as in `drm_fourcc.h` (`"NV12"`, `"ARGB8888"`).
    pub name: &'static str,
    /// What the samples mean.
    pub model: Model,
    /// Bits per sample that carry information (10 for P010, which stores 16).
    pub depth: u8,
    /// Whether one channel is alpha.
    pub alpha: bool,
    planes: &'static [PlaneFormat],
}

impl FormatInfo {
    /// The entry for `fourcc`, or `None`.
    #[must_use]
    pub fn of(fourcc: Fourcc) -> Option<&'static Self> {
        TABLE.iter().find(|info| info.fourcc == fourcc)
    }

    /// The colour planes, 1 to 3. A modifier may add memory planes of its own (compression metadata) behind them.
    #[must_use]
    pub fn planes(&self) -> &'static [PlaneFormat] {
        self.planes
    }

    /// Where the upper left red sample of a Bayer mosaic is: column and row, 0 or 1 each. `None` for other models.
    #[must_use]
    pub fn red(&self) -> Option<(u32, u32)> {
        if self.model != Model::Bayer {
            return None;
        }
        // Two rows of two, as in `SGRBG10`.
        let at = u32::try_from(self.name.find('R')?).ok()?.checked_sub(1)?;
        Some((at % 2, at / 2))
    }

    /// Bytes of the whole picture without padding: what a tight copy needs. `None` when it overflows.
    #[must_use]
    pub fn tight_len(&self, size: Size) -> Option<u64> {
        self.planes.iter().try_fold(0u64, |sum, plane| {
            let len = plane
                .row_bytes(size.width)
                .checked_mul(u64::from(plane.rows(size.height)))?;
            sum.checked_add(len)
        })
    }
}

/// Every format in the table.
#[must_use]
pub fn all() -> &'static [FormatInfo] {
    TABLE
}

const fn plane(h_sub: u8, v_sub: u8, block_width: u8, block_bytes: u8) -> PlaneFormat {
    PlaneFormat {
        h_sub,
        v_sub,
        block_width,
        block_bytes,
    }
}

/// One plane at full resolution, so many bytes a pixel.
const fn px(bytes: u8) -> PlaneFormat {
    plane(1, 1, 1, bytes)
}

macro_rules! formats {
    ($($name:ident $code:literal $model:ident $depth:literal $alpha:ident [$($plane:expr),+] $doc:literal;)+) => {
        impl Fourcc {
            $(#[doc = $doc] pub const $name: Self = Self::new($code);)+
        }

        static TABLE: &[FormatInfo] = &[$(FormatInfo {
            fourcc: Fourcc::$name,
            name: stringify!($name),
            model: Model::$model,
            depth: $depth,
            alpha: formats!(@ $alpha),
            planes: &[$($plane),+],
        }),+];
    };
    (@ alpha) => { true };
    (@ opaque) => { false };
}

// The commonest formats first: look-ups walk the list.
formats! {
    NV12 b"NV12" Yuv 8 opaque [px(1), plane(2, 2, 1, 2)] "Y plane, then interleaved Cb, Cr at half width and height.";
    YUYV b"YUYV" Yuv 8 opaque [plane(1, 1, 2, 4)] "Packed 4:2:2: Y, Cb, Y, Cr.";
    XRGB8888 b"XR24" Rgb 8 opaque [px(4)] "Bytes B, G, R, unused.";
    ARGB8888 b"AR24" Rgb 8 alpha [px(4)] "Bytes B, G, R, A.";
    ABGR8888 b"AB24" Rgb 8 alpha [px(4)] "Bytes R, G, B, A: what `Rgba8` means elsewhere.";
    XBGR8888 b"XB24" Rgb 8 opaque [px(4)] "Bytes R, G, B, unused.";
    YUV420 b"YU12" Yuv 8 opaque [px(1), plane(2, 2, 1, 1), plane(2, 2, 1, 1)] "Planar 4:2:0: Y, Cb, Cr (I420).";

    NV21 b"NV21" Yuv 8 opaque [px(1), plane(2, 2, 1, 2)] "As NV12 with Cr first.";
    NV16 b"NV16" Yuv 8 opaque [px(1), plane(2, 1, 1, 2)] "Y plane, then Cb, Cr at half width.";
    NV61 b"NV61" Yuv 8 opaque [px(1), plane(2, 1, 1, 2)] "As NV16 with Cr first.";
    NV24 b"NV24" Yuv 8 opaque [px(1), px(2)] "Y plane, then Cb, Cr at full size.";
    NV42 b"NV42" Yuv 8 opaque [px(1), px(2)] "As NV24 with Cr first.";
    NV15 b"NV15" Yuv 10 opaque [plane(1, 1, 4, 5), plane(2, 2, 2, 5)] "As NV12 with 10-bit samples, four in five bytes.";
    NV20 b"NV20" Yuv 10 opaque [plane(1, 1, 4, 5), plane(2, 1, 2, 5)] "As NV16 with 10-bit samples, four in five bytes.";
    NV30 b"NV30" Yuv 10 opaque [plane(1, 1, 4, 5), plane(1, 1, 2, 5)] "As NV24 with 10-bit samples, four in five bytes.";
    P010 b"P010" Yuv 10 opaque [px(2), plane(2, 2, 1, 4)] "As NV12 in 16-bit little-endian words, the upper 10 bits used.";
    P012 b"P012" Yuv 12 opaque [px(2), plane(2, 2, 1, 4)] "As NV12 in 16-bit words, the upper 12 bits used.";
    P016 b"P016" Yuv 16 opaque [px(2), plane(2, 2, 1, 4)] "As NV12 in 16-bit words.";
    P210 b"P210" Yuv 10 opaque [px(2), plane(2, 1, 1, 4)] "As NV16 in 16-bit words, the upper 10 bits used.";
    P030 b"P030" Yuv 10 opaque [plane(1, 1, 3, 4), plane(2, 2, 3, 8)] "As NV12 with 10-bit samples, three in four bytes.";

    YVU420 b"YV12" Yuv 8 opaque [px(1), plane(2, 2, 1, 1), plane(2, 2, 1, 1)] "Planar 4:2:0: Y, Cr, Cb.";
    YUV422 b"YU16" Yuv 8 opaque [px(1), plane(2, 1, 1, 1), plane(2, 1, 1, 1)] "Planar 4:2:2: Y, Cb, Cr.";
    YVU422 b"YV16" Yuv 8 opaque [px(1), plane(2, 1, 1, 1), plane(2, 1, 1, 1)] "Planar 4:2:2: Y, Cr, Cb.";
    YUV444 b"YU24" Yuv 8 opaque [px(1), px(1), px(1)] "Planar 4:4:4: Y, Cb, Cr.";
    YVU444 b"YV24" Yuv 8 opaque [px(1), px(1), px(1)] "Planar 4:4:4: Y, Cr, Cb.";

    YVYU b"YVYU" Yuv 8 opaque [plane(1, 1, 2, 4)] "Packed 4:2:2: Y, Cr, Y, Cb.";
    UYVY b"UYVY" Yuv 8 opaque [plane(1, 1, 2, 4)] "Packed 4:2:2: Cb, Y, Cr, Y.";
    VYUY b"VYUY" Yuv 8 opaque [plane(1, 1, 2, 4)] "Packed 4:2:2: Cr, Y, Cb, Y.";
    Y210 b"Y210" Yuv 10 opaque [plane(1, 1, 2, 8)] "As YUYV in 16-bit words, the upper 10 bits used.";
    AYUV b"AYUV" Yuv 8 alpha [px(4)] "Packed 4:4:4: bytes Cr, Cb, Y, A.";
    XYUV8888 b"XYUV" Yuv 8 opaque [px(4)] "Packed 4:4:4: bytes Cr, Cb, Y, unused.";
    VUY888 b"VU24" Yuv 8 opaque [px(3)] "Packed 4:4:4: bytes Y, Cb, Cr.";

    R8 b"R8  " Gray 8 opaque [px(1)] "One 8-bit channel; also luma of a monochrome camera.";
    R10 b"R10 " Gray 10 opaque [px(2)] "One channel, the lower 10 bits of a 16-bit word.";
    R12 b"R12 " Gray 12 opaque [px(2)] "One channel, the lower 12 bits of a 16-bit word.";
    R16 b"R16 " Gray 16 opaque [px(2)] "One 16-bit channel.";
    GR88 b"GR88" Rgb 8 opaque [px(2)] "Bytes R, G: what `Rg8` means elsewhere (a chroma plane on its own).";
    RG88 b"RG88" Rgb 8 opaque [px(2)] "Bytes G, R.";
    GR1616 b"GR32" Rgb 16 opaque [px(4)] "16-bit words R, G.";
    RG1616 b"RG32" Rgb 16 opaque [px(4)] "16-bit words G, R.";

    RGB565 b"RG16" Rgb 5 opaque [px(2)] "16-bit words, red in the upper 5 bits.";
    BGR565 b"BG16" Rgb 5 opaque [px(2)] "16-bit words, blue in the upper 5 bits.";
    RGB888 b"RG24" Rgb 8 opaque [px(3)] "Bytes B, G, R.";
    BGR888 b"BG24" Rgb 8 opaque [px(3)] "Bytes R, G, B.";
    RGBX8888 b"RX24" Rgb 8 opaque [px(4)] "Bytes unused, B, G, R.";
    BGRX8888 b"BX24" Rgb 8 opaque [px(4)] "Bytes unused, R, G, B.";
    RGBA8888 b"RA24" Rgb 8 alpha [px(4)] "Bytes A, B, G, R.";
    BGRA8888 b"BA24" Rgb 8 alpha [px(4)] "Bytes A, R, G, B.";
    XRGB2101010 b"XR30" Rgb 10 opaque [px(4)] "32-bit words, blue in the lowest 10 bits.";
    XBGR2101010 b"XB30" Rgb 10 opaque [px(4)] "32-bit words, red in the lowest 10 bits.";
    ARGB2101010 b"AR30" Rgb 10 alpha [px(4)] "As XRGB2101010 with 2 bits of alpha.";
    ABGR2101010 b"AB30" Rgb 10 alpha [px(4)] "As XBGR2101010 with 2 bits of alpha.";
    XBGR16161616 b"XB48" Rgb 16 opaque [px(8)] "16-bit words R, G, B, unused.";
    ABGR16161616 b"AB48" Rgb 16 alpha [px(8)] "16-bit words R, G, B, A.";
    XBGR16161616F b"XB4H" Rgb 16 opaque [px(8)] "Half floats R, G, B, unused.";
    ABGR16161616F b"AB4H" Rgb 16 alpha [px(8)] "Half floats R, G, B, A.";

    SRGGB8 b"RGGB" Bayer 8 opaque [px(1)] "Raw Bayer, first row R, G.";
    SGRBG8 b"GRBG" Bayer 8 opaque [px(1)] "Raw Bayer, first row G, R.";
    SGBRG8 b"GBRG" Bayer 8 opaque [px(1)] "Raw Bayer, first row G, B.";
    SBGGR8 b"BA81" Bayer 8 opaque [px(1)] "Raw Bayer, first row B, G.";
    SRGGB10 b"RG10" Bayer 10 opaque [px(2)] "Raw Bayer RG, the lower 10 bits of 16-bit words.";
    SGRBG10 b"BA10" Bayer 10 opaque [px(2)] "Raw Bayer GR, the lower 10 bits of 16-bit words.";
    SGBRG10 b"GB10" Bayer 10 opaque [px(2)] "Raw Bayer GB, the lower 10 bits of 16-bit words.";
    SBGGR10 b"BG10" Bayer 10 opaque [px(2)] "Raw Bayer BG, the lower 10 bits of 16-bit words.";
    SRGGB12 b"RG12" Bayer 12 opaque [px(2)] "Raw Bayer RG, the lower 12 bits of 16-bit words.";
    SGRBG12 b"BA12" Bayer 12 opaque [px(2)] "Raw Bayer GR, the lower 12 bits of 16-bit words. V4L2's and libcamera's code, which DRM also gave to BGRA4444.";
    SGBRG12 b"GB12" Bayer 12 opaque [px(2)] "Raw Bayer GB, the lower 12 bits of 16-bit words.";
    SBGGR12 b"BG12" Bayer 12 opaque [px(2)] "Raw Bayer BG, the lower 12 bits of 16-bit words.";
    SRGGB14 b"RG14" Bayer 14 opaque [px(2)] "Raw Bayer RG, the lower 14 bits of 16-bit words.";
    SGRBG14 b"GR14" Bayer 14 opaque [px(2)] "Raw Bayer GR, the lower 14 bits of 16-bit words. V4L2's code; libcamera's is BA14.";
    SGBRG14 b"GB14" Bayer 14 opaque [px(2)] "Raw Bayer GB, the lower 14 bits of 16-bit words.";
    SBGGR14 b"BG14" Bayer 14 opaque [px(2)] "Raw Bayer BG, the lower 14 bits of 16-bit words.";
    SRGGB16 b"RGB6" Bayer 16 opaque [px(2)] "Raw Bayer RG, 16-bit words. libcamera's code: V4L2's own is DRM's RGB565.";
    SGRBG16 b"GRB6" Bayer 16 opaque [px(2)] "Raw Bayer GR, 16-bit words. A code like RGB6: V4L2's and libcamera's is GR16.";
    SGBRG16 b"GBR6" Bayer 16 opaque [px(2)] "Raw Bayer GB, 16-bit words. A code like RGB6: V4L2's and libcamera's is GB16.";
    SBGGR16 b"BYR6" Bayer 16 opaque [px(2)] "Raw Bayer BG, 16-bit words. A code like RGB6: V4L2's and libcamera's is BYR2.";
    SRGGB10P b"pRAA" Bayer 10 opaque [plane(1, 1, 4, 5)] "Raw Bayer RG, CSI-2 packed, four pixels in five bytes. V4L2's code, as the packed ones below; libcamera has the code of the 16-bit words and a modifier.";
    SGRBG10P b"pgAA" Bayer 10 opaque [plane(1, 1, 4, 5)] "Raw Bayer GR, CSI-2 packed, four pixels in five bytes.";
    SGBRG10P b"pGAA" Bayer 10 opaque [plane(1, 1, 4, 5)] "Raw Bayer GB, CSI-2 packed, four pixels in five bytes.";
    SBGGR10P b"pBAA" Bayer 10 opaque [plane(1, 1, 4, 5)] "Raw Bayer BG, CSI-2 packed, four pixels in five bytes.";
    SRGGB12P b"pRCC" Bayer 12 opaque [plane(1, 1, 2, 3)] "Raw Bayer RG, CSI-2 packed, two pixels in three bytes.";
    SGRBG12P b"pgCC" Bayer 12 opaque [plane(1, 1, 2, 3)] "Raw Bayer GR, CSI-2 packed, two pixels in three bytes.";
    SGBRG12P b"pGCC" Bayer 12 opaque [plane(1, 1, 2, 3)] "Raw Bayer GB, CSI-2 packed, two pixels in three bytes.";
    SBGGR12P b"pBCC" Bayer 12 opaque [plane(1, 1, 2, 3)] "Raw Bayer BG, CSI-2 packed, two pixels in three bytes.";
    SRGGB14P b"pREE" Bayer 14 opaque [plane(1, 1, 4, 7)] "Raw Bayer RG, CSI-2 packed, four pixels in seven bytes.";
    SGRBG14P b"pgEE" Bayer 14 opaque [plane(1, 1, 4, 7)] "Raw Bayer GR, CSI-2 packed, four pixels in seven bytes.";
    SGBRG14P b"pGEE" Bayer 14 opaque [plane(1, 1, 4, 7)] "Raw Bayer GB, CSI-2 packed, four pixels in seven bytes.";
    SBGGR14P b"pBEE" Bayer 14 opaque [plane(1, 1, 4, 7)] "Raw Bayer BG, CSI-2 packed, four pixels in seven bytes.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_round_up() {
        let planes = Fourcc::NV12.info().unwrap().planes();
        assert_eq!((planes[1].rows(5), planes[1].row_bytes(5)), (3, 6));
        assert_eq!(Fourcc::YUYV.info().unwrap().planes()[0].row_bytes(3), 8);
        assert_eq!(Fourcc::NV15.info().unwrap().planes()[1].row_bytes(6), 10);
    }

    #[test]
    fn no_code_stands_twice() {
        for (i, a) in all().iter().enumerate() {
            assert!(all()[i + 1..].iter().all(|b| b.fourcc != a.fourcc), "{}", a.name);
        }
    }

    #[test]
    fn tight_length_of_the_largest_size_overflows_to_none_or_fits() {
        let huge = Size {
            width: u32::MAX,
            height: u32::MAX,
        };
        for info in all() {
            let exact: u128 = info
                .planes()
                .iter()
                .map(|p| u128::from(p.row_bytes(huge.width)) * u128::from(p.rows(huge.height)))
                .sum();
            assert_eq!(
                info.tight_len(huge).map(u128::from),
                u64::try_from(exact).ok().map(u128::from)
            );
        }
    }
}
