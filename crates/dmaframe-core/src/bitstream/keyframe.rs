//! Whether an access unit stands alone, by the codec's own headers: for producers that do not say.

use super::Codec;

/// Bytes that are looked at. Slices come after parameter sets and messages, which are rarely longer.
pub(super) const LOOK: usize = 4096;

/// What the first bytes of a unit say; `None` where they do not, and for codecs not known here.
pub(super) fn stands_alone(codec: Codec, start: &[u8]) -> Option<bool> {
    match codec {
        Codec::MJPEG | Codec::JPEG => Some(true),
        Codec::FWHT => fwht(start),
        Codec::H264 => h264(start),
        Codec::HEVC => hevc(start),
        Codec::VP8 => vp8(start),
        Codec::VP9 => vp9(start),
        _ => None,
    }
}

/// `struct fwht_cframe_hdr` (`linux/drivers/media/test-drivers/vicodec/codec-fwht.h`): eight bytes of magic, version,
/// width, height, flags, all big-endian; the flag is `V4L2_FWHT_FL_I_FRAME`.
fn fwht(start: &[u8]) -> Option<bool> {
    let header = start.first_chunk::<24>()?;
    let magic = [0x4f, 0x4f, 0x4f, 0x4f, 0xff, 0xff, 0xff, 0xff];
    let flags = u32::from_be_bytes([header[20], header[21], header[22], header[23]]);
    (header[..8] == magic).then_some(flags & 1 << 10 != 0)
}

/// The headers' first bytes of the NAL units of an Annex B byte stream, in order.
fn nal_headers(start: &[u8]) -> impl Iterator<Item = u8> + '_ {
    start
        .windows(4)
        .filter(|window| window[..3] == [0, 0, 1])
        .map(|window| window[3])
}

/// H.264, table 7-1: 5 is a slice of an IDR picture, 1 to 4 are of others.
fn h264(start: &[u8]) -> Option<bool> {
    nal_headers(start).find_map(|header| match header & 0x1f {
        5 => Some(true),
        1..=4 => Some(false),
        _ => None,
    })
}

/// H.265, table 7-1: 16 to 23 are pictures that can be begun at (IRAP), 0 to 9 others.
fn hevc(start: &[u8]) -> Option<bool> {
    nal_headers(start).find_map(|header| match header >> 1 & 0x3f {
        16..=23 => Some(true),
        0..=9 => Some(false),
        _ => None,
    })
}

/// RFC 6386, 9.1: the lowest bit of a frame's first byte is 0 in a key frame.
fn vp8(start: &[u8]) -> Option<bool> {
    start.first().map(|byte| byte & 1 == 0)
}

/// VP9, 6.2: a marker of two bits (`0b10`), two of the profile, one more in profile 3, one for a frame that is only shown
/// again, then 0 for a key frame.
fn vp9(start: &[u8]) -> Option<bool> {
    let byte = *start.first()?;
    if byte >> 6 != 0b10 {
        return None;
    }
    let skip = if byte >> 4 & 0b11 == 0b11 { 1 } else { 0 };
    let shown_again = byte >> (3 - skip) & 1 == 1;
    Some(!shown_again && byte >> (2 - skip) & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_streams_are_known_by_their_first_slice() {
        let parameters = [0, 0, 0, 1, 0x67, 0x42, 0, 0, 1, 0x68, 0xce];
        let with = |slice: u8| [&parameters[..], &[0, 0, 1, slice, 0x88]].concat();
        assert_eq!(stands_alone(Codec::H264, &with(0x65)), Some(true));
        assert_eq!(stands_alone(Codec::H264, &with(0x41)), Some(false));
        // Parameters alone say nothing yet, nor does what is no byte stream.
        assert_eq!(stands_alone(Codec::H264, &parameters), None);
        assert_eq!(stands_alone(Codec::H264, &[0x65; 40]), None);
        let hevc = |kind: u8| [0, 0, 0, 1, 0x40, 1, 0, 0, 1, kind << 1, 1, 0];
        assert_eq!(stands_alone(Codec::HEVC, &hevc(19)), Some(true));
        assert_eq!(stands_alone(Codec::HEVC, &hevc(1)), Some(false));
    }

    #[test]
    fn frames_with_a_header_are_known_by_it() {
        assert_eq!(stands_alone(Codec::VP8, &[0x10, 2, 0, 0x9d, 1, 0x2a]), Some(true));
        assert_eq!(stands_alone(Codec::VP8, &[0x11, 2, 0]), Some(false));
        // Profile 0: 10 00 0 0 for a key frame.
        assert_eq!(stands_alone(Codec::VP9, &[0b1000_0010, 0x49]), Some(true));
        assert_eq!(stands_alone(Codec::VP9, &[0b1000_0110]), Some(false));
        assert_eq!(stands_alone(Codec::VP9, &[0b1000_1000]), Some(false));
        // Profile 3 has one bit more.
        assert_eq!(stands_alone(Codec::VP9, &[0b1011_0001]), Some(true));
        assert_eq!(stands_alone(Codec::VP9, &[0b1011_0010]), Some(false));
        assert_eq!(stands_alone(Codec::VP9, &[0b0000_0000]), None);
        let mut fwht = [0x4f, 0x4f, 0x4f, 0x4f, 0xff, 0xff, 0xff, 0xff].to_vec();
        fwht.extend([0; 14]);
        assert_eq!(stands_alone(Codec::FWHT, &fwht), None, "too short");
        fwht.extend([4, 0]);
        assert_eq!(stands_alone(Codec::FWHT, &fwht), Some(true));
        fwht[22] = 0;
        assert_eq!(stands_alone(Codec::FWHT, &fwht), Some(false));
        assert_eq!(stands_alone(Codec::VP8, &[]), None);
        assert_eq!(stands_alone(Codec::MJPEG, &[]), Some(true));
    }
}
