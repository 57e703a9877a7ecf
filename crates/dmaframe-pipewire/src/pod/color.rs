//! Colour and orientation: SPA's enumerations (`spa/param/video/{color,chroma}.h`, GStreamer's numbers) and H.273's.

use dmaframe_core::{ChromaSiting, ColorInfo, Orientation, Range, Rotation};

/// SPA number, H.273 number; where several SPA numbers mean one, the first is what we write.
type Table = &'static [(u32, u8)];

const MATRIX: Table = &[(1, 0), (2, 4), (3, 1), (4, 6), (4, 5), (5, 7), (6, 9)];
const TRANSFER: Table = &[
    (1, 8),
    (4, 4),
    (5, 1),
    (6, 7),
    (7, 13),
    (8, 5),
    (9, 9),
    (10, 10),
    (11, 15),
    (13, 14),
    (14, 16),
    (15, 18),
    (16, 6),
];
const PRIMARIES: Table = &[
    (1, 1),
    (2, 4),
    (3, 5),
    (4, 6),
    (5, 7),
    (6, 8),
    (7, 9),
    (9, 10),
    (10, 11),
    (11, 12),
    (12, 22),
];

fn to_h273(table: Table, spa: u32) -> u8 {
    table.iter().find(|(s, _)| *s == spa).map_or(2, |(_, h)| *h)
}

fn to_spa(table: Table, h273: u8) -> u32 {
    table.iter().find(|(_, h)| *h == h273).map_or(0, |(s, _)| *s)
}

/// What a format pod says, each number 0 where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SpaColor {
    pub(super) site: u32,
    pub(super) range: u32,
    pub(super) matrix: u32,
    pub(super) transfer: u32,
    pub(super) primaries: u32,
}

impl SpaColor {
    pub(super) fn of(color: &ColorInfo) -> Self {
        Self {
            site: match color.siting {
                ChromaSiting::Center => 1,
                ChromaSiting::Left => 2,
                ChromaSiting::Top => 4,
                ChromaSiting::TopLeft => 6,
                // Nothing said, or the lower row, which SPA has no number for.
                _ => 0,
            },
            range: match color.range {
                Range::Unspecified => 0,
                Range::Full => 1,
                Range::Limited => 2,
            },
            matrix: to_spa(MATRIX, color.matrix),
            transfer: to_spa(TRANSFER, color.transfer),
            primaries: to_spa(PRIMARIES, color.primaries),
        }
    }

    pub(super) fn info(self) -> ColorInfo {
        ColorInfo {
            primaries: to_h273(PRIMARIES, self.primaries),
            transfer: to_h273(TRANSFER, self.transfer),
            matrix: to_h273(MATRIX, self.matrix),
            range: match self.range {
                1 => Range::Full,
                2 => Range::Limited,
                _ => Range::Unspecified,
            },
            siting: match self.site {
                1 => ChromaSiting::Center,
                2 => ChromaSiting::Left,
                4 => ChromaSiting::Top,
                6 => ChromaSiting::TopLeft,
                _ => ChromaSiting::Unspecified,
            },
        }
    }
}

/// How to turn a picture upright to which `SPA_META_TRANSFORMATION_*` was applied: SPA turns counter-clockwise after
/// flipping, we turn clockwise after mirroring, and undoing the one is the other (mirrored, the turns change sides).
#[cfg_attr(not(feature = "link"), allow(dead_code))]
pub(crate) fn orientation_of(transform: u32) -> Option<Orientation> {
    let quarter = [Rotation::R0, Rotation::R90, Rotation::R180, Rotation::R270];
    let turns = (transform & 3) as usize;
    match transform {
        0..=3 => Some(Orientation {
            rotation: quarter[turns],
            mirror: false,
        }),
        4..=7 => Some(Orientation {
            rotation: quarter[(4 - turns) % 4],
            mirror: true,
        }),
        _ => None,
    }
}

/// The other way.
#[cfg_attr(not(feature = "link"), allow(dead_code))]
pub(crate) fn transform_of(orientation: Orientation) -> u32 {
    let turns = orientation.rotation.degrees() / 90;
    if orientation.mirror {
        4 + (4 - turns) % 4
    } else {
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_survive_the_way_to_spa_and_back() {
        for color in [
            ColorInfo::BT709,
            ColorInfo::BT601,
            ColorInfo::JFIF,
            ColorInfo::SRGB,
            ColorInfo::UNSPECIFIED,
        ] {
            assert_eq!(SpaColor::of(&color).info(), color);
        }
        let sited = |siting| {
            let color = ColorInfo {
                siting,
                ..ColorInfo::BT709
            };
            SpaColor::of(&color).info().siting
        };
        for siting in [ChromaSiting::TopLeft, ChromaSiting::Top] {
            assert_eq!(sited(siting), siting);
        }
        // Nothing said is better than something wrong.
        for siting in [ChromaSiting::BottomLeft, ChromaSiting::Bottom] {
            assert_eq!(sited(siting), ChromaSiting::Unspecified);
        }
    }

    #[test]
    fn every_orientation_has_one_transform_and_undoes_it() {
        for orientation in Orientation::all() {
            assert_eq!(orientation_of(transform_of(orientation)), Some(orientation));
        }
        assert_eq!(orientation_of(8), None);
        // As GStreamer's pipewiresrc has it: Flipped90 is "flip-rotate-270".
        let flipped = orientation_of(5).unwrap();
        assert_eq!((flipped.mirror, flipped.rotation), (true, Rotation::R270));
    }
}
