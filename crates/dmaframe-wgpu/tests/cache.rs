//! Importing a buffer again costs no system call and no allocation; an entry never outlives what it was made from.
//! In a binary of its own, since the counting allocator is global.

mod common;

#[global_allocator]
static GLOBAL: dmaframe_testkit::CountingAllocator = dmaframe_testkit::CountingAllocator;

common::each_version!("each/cache.rs");
