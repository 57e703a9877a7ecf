//! What a frame says about itself besides its memory.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::layout::Rect;

/// The clock a timestamp was read from. Comparing times of two clocks is a bug that a suspend makes visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Clock {
    /// `CLOCK_MONOTONIC`: stands still in suspend. What V4L2 normally gives.
    Monotonic,
    /// `CLOCK_BOOTTIME`: counts suspend.
    Boottime,
    /// `CLOCK_REALTIME`: can jump.
    Realtime,
    /// The producer does not say.
    Unknown,
}

/// When the frame was captured: the clock's nanoseconds at the start of exposure or at the end of the transfer, as the
/// producer defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// Nanoseconds.
    pub ns: u64,
    /// Of this clock.
    pub clock: Clock,
}

impl Timestamp {
    /// The clock now.
    #[must_use]
    pub fn now(clock: Clock) -> Self {
        use rustix::time::ClockId;
        let id = match clock {
            Clock::Boottime => ClockId::Boottime,
            Clock::Realtime => ClockId::Realtime,
            Clock::Monotonic | Clock::Unknown => ClockId::Monotonic,
        };
        let now = rustix::time::clock_gettime(id);
        let ns = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
        Self {
            ns: u64::try_from(ns).unwrap_or(0),
            clock,
        }
    }

    /// The same moment on another clock, by the two clocks' distance now. `None` when this clock is unknown.
    #[must_use]
    pub fn to_clock(self, clock: Clock) -> Option<Self> {
        if self.clock == clock {
            return Some(self);
        }
        if self.clock == Clock::Unknown || clock == Clock::Unknown {
            return None;
        }
        let distance = i128::from(Self::now(clock).ns) - i128::from(Self::now(self.clock).ns);
        let ns = u64::try_from(i128::from(self.ns) + distance).ok()?;
        Some(Self { ns, clock })
    }
}

/// How the picture must be turned to be seen upright: first mirrored left to right if `mirror`, then turned
/// clockwise. The eight values of EXIF, GStreamer, PipeWire and Wayland.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Orientation {
    /// Clockwise turn.
    pub rotation: Rotation,
    /// Mirrored left to right, before the turn.
    pub mirror: bool,
}

/// Quarter turns, clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rotation {
    /// As it is.
    #[default]
    R0,
    /// A quarter turn.
    R90,
    /// Upside down.
    R180,
    /// Three quarters.
    R270,
}

impl Rotation {
    /// From degrees clockwise; `None` for anything but quarter turns.
    #[must_use]
    pub fn from_degrees(degrees: i64) -> Option<Self> {
        match degrees.rem_euclid(360) {
            0 => Some(Self::R0),
            90 => Some(Self::R90),
            180 => Some(Self::R180),
            270 => Some(Self::R270),
            _ => None,
        }
    }

    /// Degrees clockwise.
    #[must_use]
    pub fn degrees(self) -> u32 {
        self as u32 * 90
    }
}

impl Orientation {
    /// As it is.
    pub const IDENTITY: Self = Self {
        rotation: Rotation::R0,
        mirror: false,
    };

    /// All eight.
    #[must_use]
    pub fn all() -> [Self; 8] {
        let turns = [Rotation::R0, Rotation::R90, Rotation::R180, Rotation::R270];
        std::array::from_fn(|i| Self {
            rotation: turns[i % 4],
            mirror: i >= 4,
        })
    }

    /// Whether width and height change places.
    #[must_use]
    pub fn swaps_axes(self) -> bool {
        matches!(self.rotation, Rotation::R90 | Rotation::R270)
    }
}

/// Colour description by the code points of ITU-T H.273. 2 is "unspecified" in each table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColorInfo {
    /// `ColourPrimaries` (table 2): 1 is BT.709, 5 and 6 are BT.601, 9 is BT.2020.
    pub primaries: u8,
    /// `TransferCharacteristics` (table 3): 1 is BT.709, 13 is sRGB, 16 is PQ, 18 is HLG.
    pub transfer: u8,
    /// `MatrixCoefficients` (table 4): 0 is RGB, 1 is BT.709, 5 and 6 are BT.601, 9 is BT.2020 non-constant.
    pub matrix: u8,
    /// How code values map to levels.
    pub range: Range,
    /// Where chroma samples lie.
    pub siting: ChromaSiting,
}

/// Code value range (`VideoFullRangeFlag`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Range {
    /// Not said: limited for YUV and full for RGB, by custom.
    #[default]
    Unspecified,
    /// 16 to 235 (240 for chroma).
    Limited,
    /// 0 to 255.
    Full,
}

/// Where a chroma sample lies among the luma samples that share it: the six types of ITU-T H.273's
/// `Chroma420SampleLocType` (8.7), by their usual names. They are for 4:2:0; of 4:2:2, which has chroma on every row,
/// only the place between columns is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChromaSiting {
    /// Not said.
    #[default]
    Unspecified,
    /// Beside the left column, between the rows (type 0: MPEG-2, H.264).
    Left,
    /// Between columns and rows (type 1: JPEG, MPEG-1).
    Center,
    /// On the upper left luma sample (type 2: BT.2020).
    TopLeft,
    /// On the upper row, between columns (type 3).
    Top,
    /// On the lower left luma sample (type 4).
    BottomLeft,
    /// On the lower row, between columns (type 5).
    Bottom,
}

impl ColorInfo {
    /// Nothing said.
    pub const UNSPECIFIED: Self = Self {
        primaries: 2,
        transfer: 2,
        matrix: 2,
        range: Range::Unspecified,
        siting: ChromaSiting::Unspecified,
    };
    /// BT.709 limited: HD video.
    pub const BT709: Self = Self {
        primaries: 1,
        transfer: 1,
        matrix: 1,
        range: Range::Limited,
        siting: ChromaSiting::Left,
    };
    /// BT.601 (525 lines) limited: SD video.
    pub const BT601: Self = Self {
        primaries: 6,
        transfer: 6,
        matrix: 6,
        range: Range::Limited,
        siting: ChromaSiting::Left,
    };
    /// JFIF: BT.601 matrix, sRGB, full range, centred chroma. What JPEG decoders give.
    pub const JFIF: Self = Self {
        primaries: 1,
        transfer: 13,
        matrix: 6,
        range: Range::Full,
        siting: ChromaSiting::Center,
    };
    /// sRGB pixels, full range.
    pub const SRGB: Self = Self {
        primaries: 1,
        transfer: 13,
        matrix: 0,
        range: Range::Full,
        siting: ChromaSiting::Unspecified,
    };
}

impl Default for ColorInfo {
    fn default() -> Self {
        Self::UNSPECIFIED
    }
}

/// Everything known about one capture besides its memory.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct FrameMeta {
    /// When.
    pub timestamp: Option<Timestamp>,
    /// The producer's count; a gap means frames it lost.
    pub sequence: Option<u64>,
    /// The part of the coded size to show; `None` is all of it.
    pub visible: Option<Rect>,
    /// How to turn it upright.
    pub orientation: Orientation,
    /// Colour.
    pub color: ColorInfo,
    /// What a producer adds by type: sensor exposure, white balance, damage.
    pub extensions: Extensions,
}

/// Typed extras of a frame. Cloning shares them; an empty set allocates nothing.
#[derive(Clone, Default)]
pub struct Extensions(Option<Arc<Vec<Arc<dyn Any + Send + Sync>>>>);

impl Extensions {
    /// Adds a value, or replaces the one of the same type.
    pub fn insert<T: Any + Send + Sync>(&mut self, value: T) {
        let list = Arc::make_mut(self.0.get_or_insert_default());
        list.retain(|item| !item.is::<T>());
        list.push(Arc::new(value));
    }

    /// The value of type `T`.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.iter().find_map(|item| item.downcast_ref())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |list| list.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extensions({})", self.len())
    }
}

impl PartialEq for Extensions {
    /// The same set, not equal values: extensions are opaque here.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_found_by_type_and_replaced_not_doubled() {
        let mut ext = Extensions::default();
        ext.insert(1u32);
        let before = ext.clone();
        ext.insert(2u32);
        ext.insert("gain");
        assert_eq!(
            (ext.get::<u32>(), ext.get::<&str>(), ext.len()),
            (Some(&2), Some(&"gain"), 2)
        );
        assert_eq!(before.get::<u32>(), Some(&1), "clones do not see later changes");
        assert_eq!(ext.get::<u64>(), None);
    }

    #[test]
    fn a_timestamp_moves_between_clocks_and_back() {
        let start = Timestamp::now(Clock::Monotonic);
        let there = start.to_clock(Clock::Realtime).unwrap();
        let back = there.to_clock(Clock::Monotonic).unwrap();
        assert!(back.ns.abs_diff(start.ns) < 50_000_000);
        assert_eq!(
            Timestamp {
                ns: 5,
                clock: Clock::Unknown
            }
            .to_clock(Clock::Monotonic),
            None
        );
    }
}
