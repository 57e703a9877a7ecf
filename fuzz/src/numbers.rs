//! Numbers as a peer would send them: mostly plausible, sometimes at an edge, sometimes anything.

use dmaframe_core::format::all_formats;
use dmaframe_core::{Fourcc, Modifier};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

/// A pixel format code.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Code {
    /// An entry of the format table.
    Known(u8),
    /// Any number.
    Any(u32),
}

impl Code {
    /// The code.
    #[must_use]
    pub fn get(self) -> Fourcc {
        let table = all_formats();
        match self {
            Self::Known(index) => table[usize::from(index) % table.len()].fourcc,
            Self::Any(code) => Fourcc(code),
        }
    }
}

/// A modifier.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Modified {
    /// Rows.
    Linear,
    /// Not said.
    Implicit,
    /// One of a few, so that two sides meet.
    Vendor(u8),
    /// Any number.
    Any(u64),
}

impl Modified {
    /// The modifier.
    #[must_use]
    pub fn get(self) -> Modifier {
        match self {
            Self::Linear => Modifier::LINEAR,
            Self::Implicit => Modifier::INVALID,
            Self::Vendor(number) => Modifier(u64::from(number >> 2) << 56 | u64::from(number & 3)),
            Self::Any(modifier) => Modifier(modifier),
        }
    }
}

/// A width, a height, a stride.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Length {
    /// What fits a small object.
    Small(u8),
    /// What a camera has.
    Usual(u16),
    /// Near a power of two.
    Edge(u8, i8),
    /// Any number.
    Any(u32),
}

impl Length {
    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        match self {
            Self::Small(number) => number.into(),
            Self::Usual(number) => number.into(),
            Self::Edge(bit, by) => 1u32.rotate_left(bit.into()).wrapping_add_signed(by.into()),
            Self::Any(number) => number,
        }
    }
}

/// An offset or a size in bytes.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Offset {
    /// Inside a small object.
    Small(u16),
    /// Near a power of two.
    Edge(u8, i8),
    /// Any number.
    Any(u64),
}

impl Offset {
    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        match self {
            Self::Small(number) => number.into(),
            Self::Edge(bit, by) => 1u64.rotate_left(bit.into()).wrapping_add_signed(by.into()),
            Self::Any(number) => number,
        }
    }
}
