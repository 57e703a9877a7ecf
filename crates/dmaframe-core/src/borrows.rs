//! Who looks at an object's memory just now.
//!
//! Views of one object can come from several frames: an object is shared between buffers through its `Arc`. Slices to
//! read may be many; slices to write are alone; copies go along with readers, since both only read, and never with a
//! writer. A descriptor that is lent out ends slices for good, and cannot be lent while there are any.

use std::sync::atomic::{AtomicU32, Ordering};

/// State of one object, in one word: the two flags, and how many views of each kind there are.
#[derive(Debug, Default)]
pub(crate) struct Borrows(AtomicU32);

/// What a view holds until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Slices to read.
    Slices,
    /// Rows copied out.
    Copies,
    /// Slices to write.
    Writer,
    /// Nothing: the descriptor is lent, every access is atomic.
    Lent,
}

const LENT: u32 = 1 << 31;
const WRITER: u32 = 1 << 30;
const COPY: u32 = 1 << 15;
const COPIES: u32 = 0x7fff * COPY;
const SLICE: u32 = 1;
const SLICES: u32 = 0x7fff * SLICE;

impl Borrows {
    /// One more reader, with slices if it may have them. `None` while there is a writer (or 32767 readers).
    pub(crate) fn read(&self, slices: bool) -> Option<Hold> {
        let (one, all, hold) = if slices {
            (SLICE, SLICES, Hold::Slices)
        } else {
            (COPY, COPIES, Hold::Copies)
        };
        self.change(
            |now| (now & WRITER == 0 && now & all != all).then_some(now + one),
            hold,
        )
    }

    /// The one writer. `None` while anybody else is there.
    pub(crate) fn write(&self) -> Option<Hold> {
        self.change(|now| (now == 0).then_some(WRITER), Hold::Writer)
    }

    fn change(&self, next: impl Fn(u32) -> Option<u32>, hold: Hold) -> Option<Hold> {
        let changed = self.0.fetch_update(Ordering::Acquire, Ordering::Acquire, |now| {
            if now & LENT == 0 { next(now) } else { None }
        });
        match changed {
            Ok(_) => Some(hold),
            Err(now) if now & LENT != 0 => Some(Hold::Lent),
            Err(_) => None,
        }
    }

    pub(crate) fn end(&self, hold: Hold) {
        let one = match hold {
            Hold::Slices => SLICE,
            Hold::Copies => COPY,
            Hold::Writer => WRITER,
            Hold::Lent => return,
        };
        self.0.fetch_sub(one, Ordering::Release);
    }

    /// From now on without slices; the number of views that have some now, if there are any.
    pub(crate) fn lend(&self) -> Result<(), u32> {
        let slices = |now: u32| (now & SLICES) + u32::from(now & WRITER != 0);
        let changed = self.0.fetch_update(Ordering::Acquire, Ordering::Acquire, |now| {
            (slices(now) == 0).then_some(now | LENT)
        });
        changed.map(drop).map_err(slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_alone_and_a_lent_object_has_no_slices() {
        let borrows = Borrows::default();
        let (a, b) = (borrows.read(true).unwrap(), borrows.read(false).unwrap());
        assert_eq!((a, b), (Hold::Slices, Hold::Copies));
        assert_eq!(borrows.write(), None);
        assert_eq!(borrows.lend(), Err(1));
        borrows.end(a);
        assert_eq!(borrows.write(), None, "somebody still copies rows out");
        assert_eq!(borrows.lend(), Ok(()), "who copies does not mind");
        assert_eq!(
            (borrows.read(true), borrows.write()),
            (Some(Hold::Lent), Some(Hold::Lent))
        );
        borrows.end(b);
        assert_eq!(borrows.lend(), Ok(()));

        let borrows = Borrows::default();
        let writer = borrows.write().unwrap();
        assert_eq!(
            (borrows.read(true), borrows.read(false), borrows.write()),
            (None, None, None)
        );
        assert_eq!(borrows.lend(), Err(1));
        borrows.end(writer);
        assert!(borrows.read(true).is_some());
    }
}
