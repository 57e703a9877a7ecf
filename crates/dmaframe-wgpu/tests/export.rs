//! What the export pool gives out is what was rendered, wherever its memory is, and a slot is written again only when
//! everybody is done with it.

mod common;

common::each_version!(
    "each/export.rs",
    formats: "each/export/formats.rs",
    memfds: "each/export/memfds.rs",
    chroma: "each/export/chroma.rs",
    slots: "each/export/slots.rs",
);
