//! Where CPU and GPU have one memory, shaders read uploads where the CPU wrote them: exactly, and never while it writes.

mod common;

common::each_version!(
    "each/in_place.rs",
    pictures: "each/in_place/pictures.rs",
    memory: "each/in_place/memory.rs",
    ends: "each/in_place/ends.rs",
);
