//! Colorimetry and chroma site, as caps write them, to and from the code points of H.273.
//!
//! Caps have names for the common combinations (`bt709`) and otherwise `range:matrix:transfer:primaries` in
//! GStreamer's own numbers (`video-color.h`), which are not H.273's.

use dmaframe_core::{ChromaSiting, ColorInfo, Range};

use super::DescribeError;

/// GStreamer's number -> H.273's, by position; 2 is "unspecified".
const MATRIX: [u8; 7] = [2, 0, 4, 1, 6, 7, 9];
const TRANSFER: [u8; 17] = [2, 8, 2, 2, 4, 1, 7, 13, 5, 9, 10, 15, 2, 14, 16, 18, 6];
const PRIMARIES: [u8; 13] = [2, 1, 4, 5, 6, 7, 8, 9, 2, 10, 11, 12, 22];

/// Name, then range, matrix, transfer and primaries in GStreamer's numbers.
const NAMES: [(&str, [u8; 4]); 8] = [
    ("bt601", [2, 4, 16, 4]),
    ("bt709", [2, 3, 5, 1]),
    ("smpte240m", [2, 5, 6, 5]),
    ("sRGB", [1, 1, 7, 1]),
    ("bt2020", [2, 6, 11, 7]),
    ("bt2020-10", [2, 6, 13, 7]),
    ("bt2100-pq", [2, 6, 14, 7]),
    ("bt2100-hlg", [2, 6, 15, 7]),
];

/// Reads the `colorimetry` field. Numbers that H.273 has no code for become "unspecified".
///
/// # Errors
/// [`DescribeError::Colorimetry`] for what is neither a known name nor four numbers.
pub fn parse_colorimetry(text: &str) -> Result<ColorInfo, DescribeError> {
    let refused = || DescribeError::Colorimetry {
        text: text.to_owned(),
    };
    let numbers = match NAMES.iter().find(|(name, _)| *name == text) {
        Some((_, numbers)) => *numbers,
        None => {
            let mut parts = text.split(':');
            let mut next = || parts.next()?.parse::<u8>().ok();
            let numbers = [next(), next(), next(), next()];
            if parts.next().is_some() {
                return Err(refused());
            }
            let [Some(a), Some(b), Some(c), Some(d)] = numbers else {
                return Err(refused());
            };
            [a, b, c, d]
        }
    };
    let [range, matrix, transfer, primaries] = numbers.map(usize::from);
    let at = |table: &[u8], index: usize| table.get(index).copied().unwrap_or(2);
    Ok(ColorInfo {
        primaries: at(&PRIMARIES, primaries),
        transfer: at(&TRANSFER, transfer),
        matrix: at(&MATRIX, matrix),
        range: match range {
            1 => Range::Full,
            2 => Range::Limited,
            _ => Range::Unspecified,
        },
        siting: ChromaSiting::Unspecified,
    })
}

/// The `colorimetry` field for a colour; `None` when nothing is said.
#[must_use]
pub fn colorimetry(color: &ColorInfo) -> Option<String> {
    let number = |table: &[u8], code: u8| -> u8 {
        // Some codes of H.273 stand for the same thing: BT.470 B/G and BT.601 625 lines share a matrix.
        let code = if std::ptr::eq(table, MATRIX.as_slice()) && code == 5 {
            6
        } else {
            code
        };
        let found = table.iter().position(|known| *known == code && code != 2);
        found.and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
    };
    let numbers = [
        match color.range {
            Range::Unspecified => 0,
            Range::Full => 1,
            Range::Limited => 2,
        },
        number(&MATRIX, color.matrix),
        number(&TRANSFER, color.transfer),
        number(&PRIMARIES, color.primaries),
    ];
    if numbers == [0; 4] {
        return None;
    }
    if let Some((name, _)) = NAMES.iter().find(|(_, known)| *known == numbers) {
        return Some((*name).to_owned());
    }
    let [range, matrix, transfer, primaries] = numbers;
    Some(format!("{range}:{matrix}:{transfer}:{primaries}"))
}

/// Reads the `chroma-site` field; unknown ones are unspecified, since pixels are still readable.
#[must_use]
pub fn parse_chroma_site(text: &str) -> ChromaSiting {
    match text {
        "mpeg2" | "h-cosited" | "v-none+h-cosited" => ChromaSiting::Left,
        "jpeg" | "none" => ChromaSiting::Center,
        "cosited" | "v-cosited+h-cosited" | "h-cosited+v-cosited" => ChromaSiting::TopLeft,
        "v-cosited" => ChromaSiting::Top,
        _ => ChromaSiting::Unspecified,
    }
}

/// The `chroma-site` field; `None` when nothing is said, and for chroma on the lower row, which caps have no name for.
#[must_use]
pub fn chroma_site(siting: ChromaSiting) -> Option<&'static str> {
    match siting {
        ChromaSiting::Left => Some("mpeg2"),
        ChromaSiting::Center => Some("jpeg"),
        ChromaSiting::TopLeft => Some("cosited"),
        ChromaSiting::Top => Some("v-cosited"),
        _ => None,
    }
}
