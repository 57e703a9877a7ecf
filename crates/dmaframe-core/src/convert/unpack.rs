//! Samples of more than 8 bits, out of whatever they are packed in, into 16-bit words. No crate has these.

/// How samples lie in a row's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// One byte each.
    Byte,
    /// Little-endian 16-bit words, `shift` unused bits below the sample.
    Word { shift: u8 },
    /// Four of 10 bits in five bytes, a little-endian bit stream (NV15, NV20, NV30).
    Le10,
    /// Three of 10 bits in a little-endian 32-bit word (P030).
    Le10Of32,
    /// CSI-2 RAW10: the upper 8 bits of four, then a byte with their lower 2.
    Csi10,
    /// CSI-2 RAW12: the upper 8 bits of two, then a byte with their lower 4.
    Csi12,
    /// CSI-2 RAW14: the upper 8 bits of four, then three bytes with their lower 6.
    Csi14,
}

impl Packing {
    /// The first `out.len()` samples of `row`, cut to `bits`; what `row` does not have stays as it is.
    pub(super) fn unpack(self, bits: u8, row: &[u8], out: &mut [u16]) {
        let mask = u16::MAX >> (16 - bits.clamp(1, 16));
        match self {
            Self::Byte => {
                for (to, from) in out.iter_mut().zip(row) {
                    *to = u16::from(*from);
                }
            }
            Self::Word { shift } => {
                for (to, from) in out.iter_mut().zip(row.chunks_exact(2)) {
                    *to = (u16::from_le_bytes([from[0], from[1]]) >> shift) & mask;
                }
            }
            Self::Le10 => groups::<5, 4>(row, out, |b| {
                let word = u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], 0, 0, 0]);
                std::array::from_fn(|i| (word >> (10 * i)) as u16 & 0x3ff)
            }),
            Self::Le10Of32 => groups::<4, 3>(row, out, |b| {
                let word = u32::from_le_bytes(b);
                std::array::from_fn(|i| (word >> (10 * i)) as u16 & 0x3ff)
            }),
            Self::Csi10 => groups::<5, 4>(row, out, |b| {
                std::array::from_fn(|i| (u16::from(b[i]) << 2) | (u16::from(b[4] >> (2 * i)) & 3))
            }),
            Self::Csi12 => groups::<3, 2>(row, out, |b| {
                std::array::from_fn(|i| (u16::from(b[i]) << 4) | (u16::from(b[2] >> (4 * i)) & 15))
            }),
            Self::Csi14 => groups::<7, 4>(row, out, |b| {
                let low = u32::from_le_bytes([b[4], b[5], b[6], 0]);
                std::array::from_fn(|i| (u16::from(b[i]) << 6) | ((low >> (6 * i)) as u16 & 63))
            }),
        }
    }
}

/// `N` samples from every `B` bytes; the last group may be cut.
fn groups<const B: usize, const N: usize>(row: &[u8], out: &mut [u16], f: impl Fn([u8; B]) -> [u16; N]) {
    for (to, from) in out.chunks_mut(N).zip(row.chunks_exact(B)) {
        let mut bytes = [0; B];
        bytes.copy_from_slice(from);
        to.copy_from_slice(&f(bytes)[..to.len()]);
    }
}

/// A sample of `bits` as 8 bits, rounded. With `full` range code values scale by their largest; limited ones by a
/// power of two, which is how H.273 defines them for every depth.
pub(super) fn luma8(value: u16, bits: u8, full: bool) -> u8 {
    let value = u32::from(value);
    let max = (1u32 << bits) - 1;
    let eight = if full {
        (value * 255 + max / 2) / max
    } else {
        (value + half(bits)) >> (bits - 8)
    };
    eight.min(255) as u8
}

/// As [`luma8`] for chroma, whose full range lies around the middle code value.
pub(super) fn chroma8(value: u16, bits: u8, full: bool) -> u8 {
    if !full {
        return luma8(value, bits, false);
    }
    let max = (1i32 << bits) - 1;
    let away = (i32::from(value) - (1 << (bits - 1))) * 255;
    let rounded = (2 * away + max * away.signum()) / (2 * max);
    (128 + rounded).clamp(0, 255) as u8
}

fn half(bits: u8) -> u32 {
    (1 << (bits - 8)) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(packing: Packing, bits: u8, row: &[u8], n: usize) -> Vec<u16> {
        let mut out = vec![0xeeee; n];
        packing.unpack(bits, row, &mut out);
        out
    }

    #[test]
    fn each_packing_gives_its_samples_in_order() {
        // 0x001, 0x155, 0x2aa, 0x3fe as a little-endian stream of 10-bit fields.
        let word = 0x001u64 | 0x155 << 10 | 0x2aa << 20 | 0x3fe << 30;
        assert_eq!(
            unpack(Packing::Le10, 10, &word.to_le_bytes()[..5], 4),
            [1, 0x155, 0x2aa, 0x3fe]
        );
        let word = 0x001u32 | 0x155 << 10 | 0x2aa << 20 | 3 << 30;
        assert_eq!(
            unpack(Packing::Le10Of32, 10, &word.to_le_bytes(), 3),
            [1, 0x155, 0x2aa]
        );
        // V4L2's own tables: low bits of the first sample in the lowest bits of the last byte.
        let csi10 = [0xff, 0, 0x80, 0x01, 0b11_10_01_00];
        assert_eq!(unpack(Packing::Csi10, 10, &csi10, 4), [0x3fc, 1, 0x202, 7]);
        assert_eq!(unpack(Packing::Csi12, 12, &[0xff, 0x01, 0xa5], 2), [0xff5, 0x01a]);
        let low = 0x01u32 | 0x02 << 6 | 0x3f << 12 | 0x20 << 18;
        let csi14 = [0xff, 0, 1, 0x80, low as u8, (low >> 8) as u8, (low >> 16) as u8];
        assert_eq!(unpack(Packing::Csi14, 14, &csi14, 4), [0x3fc1, 2, 0x7f, 0x2020]);
        assert_eq!(unpack(Packing::Word { shift: 6 }, 10, &[0x7f, 0xff], 1), [0x3fd]);
        assert_eq!(unpack(Packing::Word { shift: 0 }, 10, &[0xff, 0xff], 1), [0x3ff]);
    }

    #[test]
    fn a_cut_last_group_and_a_short_row_are_no_matter() {
        assert_eq!(unpack(Packing::Csi10, 10, &[1, 1, 1, 1, 0], 2), [4, 4]);
        assert_eq!(unpack(Packing::Csi12, 12, &[1, 1], 2), [0xeeee, 0xeeee]);
    }

    #[test]
    fn eight_bits_keep_black_white_and_neutral() {
        for bits in [10u8, 12] {
            let shift = bits - 8;
            for (code, full) in [(16u16, false), (235, false), (128, false)] {
                assert_eq!(u16::from(luma8(code << shift, bits, full)), code);
            }
            assert_eq!(luma8((1 << bits) - 1, bits, true), 255);
            assert_eq!(luma8((1 << bits) - 1, bits, false), 255);
            assert_eq!(chroma8(1 << (bits - 1), bits, true), 128);
            assert_eq!(
                (chroma8((1 << bits) - 1, bits, true), chroma8(0, bits, true)),
                (255, 0)
            );
        }
    }
}
