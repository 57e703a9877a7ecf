//! Writing pods.

use super::enums::{choice, kind};

/// A pod of our own, aligned as libpipewire reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodBuf {
    words: Vec<u64>,
    len: usize,
}

impl PodBuf {
    /// The whole pod, header and padding included.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self {
            words,
            len: bytes.len(),
        }
    }
}

/// An object under construction.
#[derive(Debug)]
pub(super) struct ObjectWriter(Vec<u8>);

/// One value's bytes and its type.
pub(super) trait Scalar: Copy {
    const KIND: u32;
    fn bytes(self) -> ([u8; 8], usize);
}

macro_rules! scalar {
    ($name:ident, $kind:expr, $inner:ty, $len:literal) => {
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name(pub(super) $inner);

        impl Scalar for $name {
            const KIND: u32 = $kind;

            fn bytes(self) -> ([u8; 8], usize) {
                let mut all = [0; 8];
                all[..$len].copy_from_slice(&self.0.to_ne_bytes());
                (all, $len)
            }
        }
    };
}

scalar!(Id, kind::ID, u32, 4);
scalar!(Int, kind::INT, u32, 4);
scalar!(Long, kind::LONG, u64, 8);

/// A rectangle or a fraction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<const KIND: u32>(pub(super) u32, pub(super) u32);

impl<const KIND: u32> Scalar for Pair<KIND> {
    const KIND: u32 = KIND;

    fn bytes(self) -> ([u8; 8], usize) {
        let mut all = [0; 8];
        all[..4].copy_from_slice(&self.0.to_ne_bytes());
        all[4..].copy_from_slice(&self.1.to_ne_bytes());
        (all, 8)
    }
}

pub(super) type Rectangle = Pair<{ kind::RECTANGLE }>;
pub(super) type Fraction = Pair<{ kind::FRACTION }>;

impl ObjectWriter {
    pub(super) fn new(object: u32, id: u32) -> Self {
        let mut writer = Self(Vec::with_capacity(512));
        // The size is filled in at the end.
        writer.word(0).word(kind::OBJECT).word(object).word(id);
        writer
    }

    fn word(&mut self, word: u32) -> &mut Self {
        self.0.extend_from_slice(&word.to_ne_bytes());
        self
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
    }

    /// One fixed value.
    pub(super) fn value<T: Scalar>(mut self, key: u32, flags: u32, value: T) -> Self {
        let (bytes, len) = value.bytes();
        self.word(key).word(flags).word(small(len)).word(T::KIND);
        self.0.extend_from_slice(&bytes[..len]);
        self.pad();
        self
    }

    fn choice<T: Scalar>(mut self, key: u32, flags: u32, how: u32, values: &[T]) -> Self {
        let len = values.first().map_or(0, |value| value.bytes().1);
        let body = small(16 + len * values.len());
        self.word(key).word(flags).word(body).word(kind::CHOICE);
        self.word(how).word(0).word(small(len)).word(T::KIND);
        for value in values {
            let (bytes, len) = value.bytes();
            self.0.extend_from_slice(&bytes[..len]);
        }
        self.pad();
        self
    }

    /// Any of `values`, the first preferred.
    pub(super) fn any_of<T: Scalar>(self, key: u32, flags: u32, values: &[T]) -> Self {
        // The preferred value stands in front of the list, which has it again.
        let list: Vec<T> = values.first().into_iter().chain(values).copied().collect();
        self.choice(key, flags, choice::ENUM, &list)
    }

    /// Anything from `min` to `max`.
    pub(super) fn range<T: Scalar>(self, key: u32, default: T, min: T, max: T) -> Self {
        self.choice(key, 0, choice::RANGE, &[default, min, max])
    }

    /// Any of these bits.
    pub(super) fn flags<T: Scalar>(self, key: u32, bits: T) -> Self {
        self.choice(key, 0, choice::FLAGS, &[bits])
    }

    pub(super) fn finish(mut self) -> PodBuf {
        let size = small(self.0.len() - 8).to_ne_bytes();
        self.0[..4].copy_from_slice(&size);
        PodBuf::new(&self.0)
    }
}

/// Our own pods are a few hundred bytes; a `FormatSet` with more modifiers than 32 bits count is not to be had.
fn small(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
