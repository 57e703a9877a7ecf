//! Where the chroma samples of a 4:2:0 result lie.

use super::kind::{Kind, Sub};
use super::orient::Turn;
use crate::meta::ChromaSiting;

/// Along one axis, of the two luma samples that share a chroma sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    First,
    Between,
    Last,
    Unknown,
}

/// The siting of what [`super::yuv420::from_yuv`] makes.
///
/// An axis that the source has not halved is averaged, which puts chroma between its two. One that it has keeps its place:
/// samples are moved where the blocks coincide, and where a crop puts them apart, the mean of two neighbours lies where
/// theirs did, one pixel on. A turn takes places along. What has no name in [`ChromaSiting`] is not said.
pub(super) fn of_420(kind: Kind, siting: ChromaSiting, turn: Turn) -> ChromaSiting {
    // Without chroma it is as good as averaged.
    let sub = kind.sub().unwrap_or(Sub::S444);
    let (x, y) = match siting {
        ChromaSiting::Left => (At::First, At::Between),
        ChromaSiting::Center => (At::Between, At::Between),
        ChromaSiting::TopLeft => (At::First, At::First),
        ChromaSiting::Top => (At::Between, At::First),
        ChromaSiting::BottomLeft => (At::First, At::Last),
        ChromaSiting::Bottom => (At::Between, At::Last),
        ChromaSiting::Unspecified => (At::Unknown, At::Unknown),
    };
    let x = if sub.h() == 1 { At::Between } else { x };
    let y = if sub.v() == 1 { At::Between } else { y };
    let turned = |at: At, reverses: bool| match at {
        At::First if reverses => At::Last,
        At::Last if reverses => At::First,
        other => other,
    };
    let (x, y) = (
        turned(x, turn.reverses_columns()),
        turned(y, turn.reverses_rows()),
    );
    let (x, y) = if turn.swaps_axes() { (y, x) } else { (x, y) };
    match (x, y) {
        (At::First, At::Between) => ChromaSiting::Left,
        (At::Between, At::Between) => ChromaSiting::Center,
        (At::First, At::First) => ChromaSiting::TopLeft,
        (At::Between, At::First) => ChromaSiting::Top,
        (At::First, At::Last) => ChromaSiting::BottomLeft,
        (At::Between, At::Last) => ChromaSiting::Bottom,
        // Beside the right column: H.273 has no such type.
        _ => ChromaSiting::Unspecified,
    }
}
