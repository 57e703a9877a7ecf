//! Numbers of the SPA ABI (`spa/utils/type.h`, `spa/param/*.h`, `spa/buffer/{buffer,meta}.h`). Those that came after
//! PipeWire 0.3.65 are marked; they are part of the ABI whatever headers we are built with.

/// `SPA_TYPE_*`: what a pod's body is.
pub(crate) mod kind {
    pub(crate) const ID: u32 = 3;
    pub(crate) const INT: u32 = 4;
    pub(crate) const LONG: u32 = 5;
    pub(crate) const RECTANGLE: u32 = 10;
    pub(crate) const FRACTION: u32 = 11;
    pub(crate) const OBJECT: u32 = 15;
    pub(crate) const CHOICE: u32 = 19;
}

/// `SPA_TYPE_OBJECT_*`.
pub(crate) mod object {
    pub(crate) const FORMAT: u32 = 0x40003;
    pub(crate) const PARAM_BUFFERS: u32 = 0x40004;
    pub(crate) const PARAM_META: u32 = 0x40005;
}

/// `SPA_PARAM_*`.
#[cfg_attr(not(feature = "link"), allow(dead_code))]
pub(crate) mod param {
    pub(crate) const ENUM_FORMAT: u32 = 3;
    pub(crate) const FORMAT: u32 = 4;
    pub(crate) const BUFFERS: u32 = 5;
    pub(crate) const META: u32 = 6;
}

/// `SPA_CHOICE_*`.
pub(crate) mod choice {
    pub(crate) const RANGE: u32 = 1;
    pub(crate) const ENUM: u32 = 3;
    pub(crate) const FLAGS: u32 = 4;
}

/// `SPA_POD_PROP_FLAG_*`.
pub(crate) mod flag {
    pub(crate) const MANDATORY: u32 = 1 << 3;
    pub(crate) const DONT_FIXATE: u32 = 1 << 4;
    /// Since 1.6: drop the property if the other side lacks it.
    pub(crate) const DROP: u32 = 1 << 5;
}

/// `SPA_FORMAT_*`.
pub(crate) mod format {
    pub(crate) const MEDIA_TYPE: u32 = 1;
    pub(crate) const MEDIA_SUBTYPE: u32 = 2;
    pub(crate) const FORMAT: u32 = 0x20001;
    pub(crate) const MODIFIER: u32 = 0x20002;
    pub(crate) const SIZE: u32 = 0x20003;
    pub(crate) const FRAMERATE: u32 = 0x20004;
    pub(crate) const MAX_FRAMERATE: u32 = 0x20005;
    pub(crate) const INTERLACE_MODE: u32 = 0x20007;
    pub(crate) const CHROMA_SITE: u32 = 0x2000b;
    pub(crate) const COLOR_RANGE: u32 = 0x2000c;
    pub(crate) const COLOR_MATRIX: u32 = 0x2000d;
    pub(crate) const TRANSFER: u32 = 0x2000e;
    pub(crate) const PRIMARIES: u32 = 0x2000f;
}

pub(crate) const MEDIA_TYPE_VIDEO: u32 = 2;
pub(crate) const MEDIA_SUBTYPE_RAW: u32 = 1;

/// `SPA_PARAM_BUFFERS_*`.
pub(crate) mod buffers {
    pub(crate) const BUFFERS: u32 = 1;
    pub(crate) const BLOCKS: u32 = 2;
    pub(crate) const SIZE: u32 = 3;
    pub(crate) const STRIDE: u32 = 4;
    pub(crate) const DATA_TYPE: u32 = 6;
    /// Since 1.2.
    pub(crate) const META_TYPE: u32 = 7;
}

/// `SPA_PARAM_META_*`.
pub(crate) mod meta {
    pub(crate) const TYPE: u32 = 1;
    pub(crate) const SIZE: u32 = 2;
    /// Since 1.6.
    pub(crate) const FEATURES: u32 = 3;
}

/// `SPA_META_*`.
#[cfg_attr(not(feature = "link"), allow(dead_code))]
pub(crate) mod meta_type {
    pub(crate) const HEADER: u32 = 1;
    pub(crate) const VIDEO_CROP: u32 = 2;
    pub(crate) const VIDEO_DAMAGE: u32 = 3;
    pub(crate) const BUSY: u32 = 7;
    pub(crate) const VIDEO_TRANSFORM: u32 = 8;
    /// Since 1.2.
    pub(crate) const SYNC_TIMELINE: u32 = 9;
    /// Since 1.6: `SPA_META_FEATURE_SYNC_TIMELINE_RELEASE`.
    pub(crate) const SYNC_TIMELINE_RELEASE: u32 = 1;
}

/// `SPA_DATA_*`.
pub(crate) mod data {
    pub(crate) const MEM_PTR: u32 = 1;
    pub(crate) const MEM_FD: u32 = 2;
    pub(crate) const DMA_BUF: u32 = 3;
    /// Since 1.2.
    pub(crate) const SYNC_OBJ: u32 = 5;
}
