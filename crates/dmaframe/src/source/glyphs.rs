//! The few letters that a placeholder is written in.

/// What a placeholder says.
pub(super) const TEXT: &str = "NO CAMERA";

/// Rows of a letter, the leftmost of its five columns in bit 4.
const fn rows(letter: u8) -> [u8; 7] {
    match letter {
        b'N' => [0x11, 0x19, 0x15, 0x13, 0x11, 0x11, 0x11],
        b'O' => [0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e],
        b'C' => [0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e],
        b'A' => [0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
        b'M' => [0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11],
        b'E' => [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f],
        b'R' => [0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11],
        _ => [0; 7],
    }
}

/// Columns of the whole text: six a letter, the last one's gap left out.
pub(super) const COLUMNS: u32 = TEXT.len() as u32 * 6 - 1;
/// Rows of it.
pub(super) const ROWS: u32 = 7;

/// Whether the text covers a cell.
pub(super) fn covers(column: u32, row: u32) -> bool {
    let (letter, bit) = (column / 6, column % 6);
    let byte = TEXT.as_bytes().get(letter as usize).copied().unwrap_or(b' ');
    bit < 5 && row < ROWS && rows(byte)[row as usize] >> (4 - bit) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_of_the_text_is_drawn_and_legible() {
        let lines: Vec<String> = (0..ROWS)
            .map(|row| {
                (0..COLUMNS)
                    .map(|x| if covers(x, row) { '#' } else { ' ' })
                    .collect()
            })
            .collect();
        assert_eq!(lines[0], "#   #  ###         ###   ###  #   # ##### ####   ### ");
        assert_eq!(lines[3], "#  ## #   #       #     ##### # # # ####  ####  #####");
        assert!(lines.iter().all(|line| line.len() == 53));
    }
}
