//! Writing a dma-buf behind the back of everything that the crates keep: what a GPU does.

use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags};

/// A mapping of a whole dma-buf.
pub(crate) struct Window {
    start: NonNull<AtomicU32>,
    words: usize,
}

// SAFETY: all access is atomic, word by word.
unsafe impl Send for Window {}

impl Window {
    pub(crate) fn new(fd: impl AsFd, len: usize) -> Self {
        let (read_write, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice; a dma-buf cannot be truncated.
        let start =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, read_write, shared, fd, 0) }.unwrap();
        Self {
            start: NonNull::new(start.cast()).unwrap(),
            words: len / 4,
        }
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        for (i, word) in bytes.chunks_exact(4).take(self.words).enumerate() {
            // SAFETY: inside the mapping, which is page aligned and lives as long as this value.
            let to = unsafe { self.start.add(i).as_ref() };
            to.store(u32::from_ne_bytes(word.try_into().unwrap()), Ordering::Relaxed);
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `new`, of the same length, and nobody has a reference into it any more.
        unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.words * 4) }.unwrap();
    }
}

/// Sets a variable of the environment.
pub(crate) fn set_env(name: &str, value: impl AsRef<std::ffi::OsStr>) {
    // SAFETY: called between steps of a test, while nothing that reads the environment runs; the other threads are
    // libtest's and zbus's, which do not touch it.
    unsafe { std::env::set_var(name, value) };
}
