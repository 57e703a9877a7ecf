//! What we ask of buffers: `SPA_PARAM_Buffers` and `SPA_PARAM_Meta`.
#![cfg_attr(not(feature = "link"), allow(dead_code))]

use super::enums::{buffers, flag, meta as key, object, param};
use super::write::{Id, Int, ObjectWriter, PodBuf};

/// One layout of buffers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BuffersOffer {
    /// Wished for, least, most.
    pub(crate) count: (u32, u32, u32),
    /// Data blocks, timelines included; `None` leaves it to the other side.
    pub(crate) blocks: Option<u32>,
    /// Bytes of a block and between rows; `None` leaves them to the other side.
    pub(crate) size: Option<(u32, u32)>,
    /// Bits `1 << SPA_DATA_*`.
    pub(crate) types: u32,
    /// Only together with this meta (`SPA_META_*`).
    pub(crate) with_meta: Option<u32>,
}

impl BuffersOffer {
    pub(crate) fn to_pod(self) -> PodBuf {
        let (count, min, max) = self.count;
        let mut pod = ObjectWriter::new(object::PARAM_BUFFERS, param::BUFFERS).range(
            buffers::BUFFERS,
            Int(count),
            Int(min),
            Int(max),
        );
        if let Some(blocks) = self.blocks {
            pod = pod.value(buffers::BLOCKS, 0, Int(blocks));
        }
        if let Some((size, stride)) = self.size {
            pod = pod
                .value(buffers::SIZE, 0, Int(size))
                .value(buffers::STRIDE, 0, Int(stride));
        }
        pod = pod.flags(buffers::DATA_TYPE, Int(self.types));
        if let Some(meta) = self.with_meta {
            pod = pod.value(buffers::META_TYPE, flag::MANDATORY, Int(1 << meta));
        }
        pod.finish()
    }
}

/// A meta of so many bytes.
pub(crate) fn meta(kind: u32, size: usize) -> PodBuf {
    writer(kind, size).finish()
}

/// The same with features that are dropped where the other side lacks them.
pub(crate) fn meta_with_features(kind: u32, size: usize, features: u32) -> PodBuf {
    writer(kind, size)
        .value(key::FEATURES, flag::DROP, Int(features))
        .finish()
}

fn writer(kind: u32, size: usize) -> ObjectWriter {
    ObjectWriter::new(object::PARAM_META, param::META)
        .value(key::TYPE, 0, Id(kind))
        .value(key::SIZE, 0, Int(u32::try_from(size).unwrap_or(u32::MAX)))
}
