//! The GPU waits for the producer where it can, the CPU with a deadline where not; frames go home with or after the work.

mod common;

common::each_version!(
    "each/sync.rs",
    producers: "each/sync/producers.rs",
    home: "each/sync/home.rs",
    fences: "each/sync/fences.rs",
    threads: "each/sync/threads.rs",
);
