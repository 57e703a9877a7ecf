//! The `drm-format` field: `NV12`, or `NV12:0x0100000000000002`.
//!
//! Source: GStreamer's design document on dma-bufs. A modifier is always written, except that LINEAR never is; the
//! implicit modifier has no way to be written at all.

use dmaframe_core::{Fourcc, Modifier};

use super::DescribeError;

/// Reads the field. A written-out zero modifier is taken for LINEAR, although nobody should write it.
///
/// # Errors
/// [`DescribeError::DrmFormat`] for anything that is not a code of four characters with or without a hexadecimal
/// modifier, and for the implicit modifier.
pub fn parse_drm_format(text: &str) -> Result<(Fourcc, Modifier), DescribeError> {
    let refused = || DescribeError::DrmFormat {
        text: text.to_owned(),
    };
    let (code, modifier) = match text.split_once(':') {
        Some((code, modifier)) => {
            let digits = modifier.strip_prefix("0x").ok_or_else(refused)?;
            // `from_str_radix` would take a sign.
            if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(refused());
            }
            let number = u64::from_str_radix(digits, 16).map_err(|_| refused())?;
            (code, Modifier(number))
        }
        None => (text, Modifier::LINEAR),
    };
    // Codes shorter than four characters end in spaces, which some writers leave out.
    let mut bytes = [b' '; 4];
    if code.is_empty() || code.len() > 4 || !code.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        return Err(refused());
    }
    bytes[..code.len()].copy_from_slice(code.as_bytes());
    if modifier.is_implicit() {
        return Err(refused());
    }
    Ok((Fourcc::new(&bytes), modifier))
}

/// The field for a pair; `None` for the implicit modifier, which cannot be written, and codes that are no text.
#[must_use]
pub fn drm_format(fourcc: Fourcc, modifier: Modifier) -> Option<String> {
    let bytes = fourcc.0.to_le_bytes();
    if modifier.is_implicit() || !bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return None;
    }
    let code: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    Some(if modifier.is_linear() {
        code
    } else {
        format!("{code}:{:#018x}", modifier.0)
    })
}
