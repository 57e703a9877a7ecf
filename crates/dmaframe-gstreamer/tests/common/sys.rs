//! The environment, before GStreamer reads it.

/// Sets a variable.
pub fn set_env(name: &str, value: &std::ffi::OsStr) {
    // SAFETY: called under a `Once` before GStreamer is used in this process; the other threads are libtest's, which
    // wait in the same `Once` or do not touch the environment.
    unsafe { std::env::set_var(name, value) };
}

/// A memory of `len` bytes of a descriptor, which it takes over.
pub fn fd_memory(fd: std::os::fd::OwnedFd, len: usize) -> gst::Memory {
    use gst_allocators::prelude::*;
    let allocator = gst_allocators::FdAllocator::default();
    // SAFETY: the descriptor is ours and given away; without DONT_CLOSE the memory closes it.
    unsafe {
        allocator.alloc_fd(
            std::os::fd::IntoRawFd::into_raw_fd(fd),
            len,
            gst_allocators::FdMemoryFlags::NONE,
        )
    }
    .expect("a memory")
}
