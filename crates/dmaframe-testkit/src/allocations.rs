//! What a piece of work allocates.

use crate::sys;

/// Heap allocations of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocated {
    /// How many.
    pub calls: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// Counts the allocations `work` makes on this thread. Needs
/// `#[global_allocator] static COUNTING: CountingAllocator = CountingAllocator;` in the test binary; without it the
/// answer is an error, not 0.
///
/// # Panics
/// When the counting allocator is not installed.
pub fn allocated_by<T>(work: impl FnOnce() -> T) -> (T, Allocated) {
    let (probed, _) = sys::allocated();
    drop(std::hint::black_box(Box::new(1u8)));
    let (calls, bytes) = sys::allocated();
    assert!(
        calls > probed,
        "the test binary has no `#[global_allocator]` of type CountingAllocator"
    );
    let result = work();
    let (calls_after, bytes_after) = sys::allocated();
    (
        result,
        Allocated {
            calls: calls_after - calls,
            bytes: bytes_after - bytes,
        },
    )
}
