//! Structs in memory that is shared with other processes (`spa/buffer/{buffer,meta}.h`), those of releases after 0.3.65
//! included. All are plain numbers, so any bytes are a valid value.

/// A release of PipeWire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

impl Version {
    /// The first with `SPA_META_SyncTimeline` and `SPA_PARAM_BUFFERS_metaType`.
    pub(crate) const SYNC_TIMELINE: Self = Self(1, 2);
    /// The first with `SPA_PARAM_META_features` and `SPA_POD_PROP_FLAG_DROP`.
    pub(crate) const FEATURES: Self = Self(1, 6);

    /// Major and minor of "1.6.9"; 0.0 for anything else.
    pub(crate) fn parse(text: &str) -> Self {
        let mut numbers = text.split('.').map(|part| part.parse().unwrap_or(0));
        Self(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

/// `SPA_DATA_FLAG_*`.
pub(crate) mod data_flag {
    pub(crate) const READWRITE: u32 = 3;
    /// Since 1.0 or so; older readers ignore it.
    pub(crate) const MAPPABLE: u32 = 1 << 3;
}

/// `SPA_CHUNK_FLAG_*`.
pub(crate) mod chunk_flag {
    pub(crate) const CORRUPTED: i32 = 1;
}

/// `SPA_META_HEADER_FLAG_*`.
pub(crate) mod header_flag {
    pub(crate) const CORRUPTED: u32 = 2;
}

/// `struct spa_meta_header`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) flags: u32,
    pub(crate) offset: u32,
    /// Nanoseconds, or -1.
    pub(crate) pts: i64,
    pub(crate) dts_offset: i64,
    pub(crate) seq: u64,
}

/// `struct spa_meta_region`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crop {
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// `struct spa_meta_sync_timeline` (1.2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SyncPoints {
    pub(crate) flags: u32,
    pub(crate) padding: u32,
    pub(crate) acquire: u64,
    pub(crate) release: u64,
}

impl SyncPoints {
    /// `SPA_META_SYNC_TIMELINE_UNSCHEDULED_RELEASE` (1.6): set by the producer, cleared by the consumer when it promises
    /// to signal the release point.
    pub(crate) const UNSCHEDULED_RELEASE: u32 = 1;
}

/// Bytes of the metas we ask for.
pub(crate) mod meta_size {
    pub(crate) const HEADER: usize = size_of::<super::Header>();
    pub(crate) const CROP: usize = size_of::<super::Crop>();
    pub(crate) const TRANSFORM: usize = size_of::<u32>();
    pub(crate) const SYNC: usize = size_of::<super::SyncPoints>();
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipewire::spa::sys as spa;

    #[test]
    fn structs_are_as_the_headers_have_them() {
        assert_eq!(size_of::<Header>(), size_of::<spa::spa_meta_header>());
        assert_eq!(
            std::mem::offset_of!(Header, seq),
            std::mem::offset_of!(spa::spa_meta_header, seq)
        );
        assert_eq!(size_of::<Crop>(), size_of::<spa::spa_meta_region>());
        assert_eq!(size_of::<SyncPoints>(), 24);
        assert_eq!(std::mem::offset_of!(SyncPoints, acquire), 8);
    }

    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(Version::parse("1.10.0") > Version::parse("1.6.9"));
        assert!(Version::parse("0.3.65") < Version::SYNC_TIMELINE);
        assert_eq!(Version::parse("1.6.9-1~bpo"), Version(1, 6));
    }
}
