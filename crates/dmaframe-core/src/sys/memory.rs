//! Mappings, owned bytes, and copies out of memory that somebody else may be writing.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// Bytes at a fixed place that several views may read and one may write; who may, the callers in
/// [`crate::view`] decide.
#[derive(Debug)]
pub(crate) struct Memory {
    start: NonNull<u8>,
    len: usize,
    writable: bool,
    kind: Kind,
}

/// How an object is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// Shared, to read and write.
    Writable,
    /// Shared, to read what others may be writing.
    Readable,
    /// Private, to read what nobody can write any more: of a descriptor that is open for writing, kernels before 6.7
    /// refuse a shared mapping once it is sealed with `F_SEAL_WRITE`, since it could be made writable.
    Frozen,
}

#[derive(Debug)]
enum Kind {
    /// From `mmap`.
    Mapped,
    /// A boxed slice of ours.
    Owned,
}

// SAFETY: the memory is owned by this value (a mapping or a box), lives at one address until it drops, and no
// thread-bound state goes with it. Access rules are those of the raw pointer it hands out.
unsafe impl Send for Memory {}
// SAFETY: as above; `&Memory` gives out only a raw pointer and the length.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps the first `len` bytes of an object.
    ///
    /// The caller has checked that the object has `len` bytes and cannot shrink (a dma-buf, or a memfd sealed
    /// against it), so no access ends in SIGBUS.
    pub(crate) fn map(fd: BorrowedFd<'_>, len: usize, how: Mapping) -> Result<Self, Errno> {
        let (prot, flags) = match how {
            Mapping::Writable => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED),
            Mapping::Readable => (ProtFlags::READ, MapFlags::SHARED),
            Mapping::Frozen => (ProtFlags::READ, MapFlags::PRIVATE),
        };
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, prot, flags, fd, 0)? };
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self {
            start,
            len,
            writable: how == Mapping::Writable,
            kind: Kind::Mapped,
        })
    }

    /// Takes over bytes of ours.
    pub(crate) fn owned(bytes: Box<[u8]>) -> Self {
        let len = bytes.len();
        let start = Box::into_raw(bytes);
        // SAFETY: a box is never null.
        let start = unsafe { NonNull::new_unchecked(start.cast()) };
        Self {
            start,
            len,
            writable: true,
            kind: Kind::Owned,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// `len` bytes from `offset` as a slice. `None` when they are not all inside.
    ///
    /// # Safety
    /// Nobody writes these bytes while the slice lives.
    pub(crate) unsafe fn slice(&self, offset: usize, len: usize) -> Option<&[u8]> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: in range of a live allocation (just checked); that nobody writes is the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), len) })
    }

    /// `len` bytes from `offset` as a mutable slice. `None` when they are not all inside or the memory is read-only.
    ///
    /// # Safety
    /// Nobody else reads or writes these bytes while the slice lives.
    #[allow(clippy::mut_from_ref, reason = "exclusive access is the caller's promise")]
    pub(crate) unsafe fn slice_mut(&self, offset: usize, len: usize) -> Option<&mut [u8]> {
        if !self.writable || offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: in range of a live, writable allocation (just checked); exclusivity is the caller's promise.
        Some(unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(offset), len) })
    }

    /// Copies bytes out while others may be writing them: every load is atomic, so a torn picture is the worst that
    /// can come of it. Returns `false`, having copied nothing, when the source range is not inside.
    pub(crate) fn copy_out(&self, offset: usize, to: &mut [u8]) -> bool {
        if offset.checked_add(to.len()).is_none_or(|end| end > self.len) {
            return false;
        }
        const WORD: usize = size_of::<usize>();
        // SAFETY: `offset` is at most `len` (just checked).
        let mut from = unsafe { self.start.as_ptr().add(offset) };
        let head = from.align_offset(WORD).min(to.len());
        let (head, rest) = to.split_at_mut(head);
        let mut words = rest.chunks_exact_mut(WORD);
        for byte in head {
            // SAFETY: inside the checked range; a byte has no alignment.
            *byte = unsafe { AtomicU8::from_ptr(from) }.load(Ordering::Relaxed);
            // SAFETY: at most one past the checked range.
            from = unsafe { from.add(1) };
        }
        for word in &mut words {
            // SAFETY: inside the checked range, and aligned since the head was peeled off.
            #[allow(clippy::cast_ptr_alignment, reason = "aligned by the head loop")]
            let value = unsafe { AtomicUsize::from_ptr(from.cast()) }.load(Ordering::Relaxed);
            word.copy_from_slice(&value.to_ne_bytes());
            // SAFETY: at most one past the checked range.
            from = unsafe { from.add(WORD) };
        }
        for byte in words.into_remainder() {
            // SAFETY: inside the checked range.
            *byte = unsafe { AtomicU8::from_ptr(from) }.load(Ordering::Relaxed);
            // SAFETY: at most one past the checked range.
            from = unsafe { from.add(1) };
        }
        true
    }
}

impl Memory {
    /// The mirror of [`Memory::copy_out`]: writes while others may be reading, every store atomic. Returns `false`,
    /// having written nothing, when the range is not inside or the memory is read-only.
    pub(crate) fn copy_in(&self, offset: usize, from: &[u8]) -> bool {
        if !self.writable || offset.checked_add(from.len()).is_none_or(|end| end > self.len) {
            return false;
        }
        const WORD: usize = size_of::<usize>();
        // SAFETY: `offset` is at most `len` (just checked).
        let mut to = unsafe { self.start.as_ptr().add(offset) };
        let (head, rest) = from.split_at(to.align_offset(WORD).min(from.len()));
        let words = rest.chunks_exact(WORD);
        let tail = words.remainder();
        for byte in head {
            // SAFETY: inside the checked range; a byte has no alignment.
            unsafe { AtomicU8::from_ptr(to) }.store(*byte, Ordering::Relaxed);
            // SAFETY: at most one past the checked range.
            to = unsafe { to.add(1) };
        }
        for word in words {
            let mut value = [0; WORD];
            value.copy_from_slice(word);
            // SAFETY: inside the checked range, and aligned since the head was peeled off.
            #[allow(clippy::cast_ptr_alignment, reason = "aligned by the head loop")]
            unsafe { AtomicUsize::from_ptr(to.cast()) }.store(usize::from_ne_bytes(value), Ordering::Relaxed);
            // SAFETY: at most one past the checked range.
            to = unsafe { to.add(WORD) };
        }
        for byte in tail {
            // SAFETY: inside the checked range.
            unsafe { AtomicU8::from_ptr(to) }.store(*byte, Ordering::Relaxed);
            // SAFETY: at most one past the checked range.
            to = unsafe { to.add(1) };
        }
        true
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self.kind {
            // SAFETY: the mapping is ours, whole, and every borrow of it has ended with `self`.
            Kind::Mapped => drop(unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) }),
            Kind::Owned => {
                let bytes = std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
                // SAFETY: pointer and length are those `owned` took from a box.
                drop(unsafe { Box::from_raw(bytes) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_out_is_exact_at_every_alignment_and_refuses_what_is_outside() {
        let memory = Memory::owned((0..64).collect());
        for offset in 0..20 {
            for len in 0..40 {
                let mut out = vec![0xff; len];
                assert!(memory.copy_out(offset, &mut out));
                assert!(out.iter().enumerate().all(|(i, b)| *b == (offset + i) as u8));
            }
        }
        for offset in 0..20 {
            for len in 0..40 {
                let target = Memory::owned(vec![0xff; 64].into());
                let bytes: Vec<u8> = (0..len).collect();
                assert!(target.copy_in(offset, &bytes));
                let mut out = [0; 64];
                assert!(target.copy_out(0, &mut out));
                let end = offset + usize::from(len);
                assert!(out[..offset].iter().chain(&out[end..]).all(|b| *b == 0xff));
                assert_eq!(out[offset..end], bytes);
            }
        }
        assert!(!memory.copy_in(60, &[0; 5]));
        assert!(!memory.copy_out(60, &mut [0; 5]));
        assert!(!memory.copy_out(usize::MAX, &mut [0; 5]));
    }
}
