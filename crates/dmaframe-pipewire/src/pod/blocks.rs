//! The data blocks of a buffer: which of them are planes, and where.

use arrayvec::ArrayVec;
use dmaframe_core::{Fourcc, MAX_PLANES, Plane, Size};

use super::enums::data;
use super::one_block::{gstreamers_planes, in_proportion};

/// Most blocks a buffer can have: planes and two timelines.
pub const MAX_BLOCKS: usize = MAX_PLANES + 2;

/// What kind of memory a block is (`spa_data.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataKind {
    /// A memfd.
    MemFd,
    /// A dma-buf.
    DmaBuf,
    /// A `drm_syncobj`: no pixels.
    SyncObj,
    /// A pointer into this process.
    MemPtr,
    /// Something else.
    Other(u32),
}

impl DataKind {
    /// From the ABI's number.
    #[must_use]
    pub fn from_raw(kind: u32) -> Self {
        match kind {
            data::MEM_PTR => Self::MemPtr,
            data::MEM_FD => Self::MemFd,
            data::DMA_BUF => Self::DmaBuf,
            data::SYNC_OBJ => Self::SyncObj,
            other => Self::Other(other),
        }
    }
}

/// What does not change while a buffer lives (`struct spa_data`); the descriptor itself stays with whoever has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataBlock {
    /// Kind of memory.
    pub kind: DataKind,
    /// Where in its memfd the block begins.
    pub map_offset: u32,
    /// Its bytes; ignored for dma-bufs, where producers may say 0.
    pub max_size: u32,
}

/// What changes with each picture (`struct spa_chunk`), in memory the producer may write at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// First byte, from the block's start.
    pub offset: u32,
    /// Bytes of data; ignored for dma-bufs.
    pub size: u32,
    /// Bytes between rows; 0 is "as the format has it".
    pub stride: i32,
    /// `SPA_CHUNK_FLAG_*`.
    pub flags: i32,
}

/// Why blocks are no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Neither one block a plane nor one for all.
    #[error("{found} data blocks for {fourcc}, which has {planes} planes")]
    Count {
        /// Blocks of memory found.
        found: usize,
        /// The format.
        fourcc: Fourcc,
        /// Its planes.
        planes: usize,
    },
    /// Memory of a kind that is not offered.
    #[error("data block {block} is {kind:?}; dma-bufs and memfds are taken")]
    Kind {
        /// The block.
        block: usize,
        /// What it is.
        kind: DataKind,
    },
    /// A syncobj between planes, or not two of them.
    #[error("{found} timelines behind {planes} memory blocks; explicit sync has 2 at the end")]
    Timelines {
        /// Syncobj blocks found.
        found: usize,
        /// Blocks of memory.
        planes: usize,
    },
    /// Rows that go upwards, or do not divide as the format's planes do.
    #[error("data block {block}: stride {stride} is not one for {fourcc}")]
    Stride {
        /// The block.
        block: usize,
        /// The stride found.
        stride: i32,
        /// The format.
        fourcc: Fourcc,
    },
    /// The data begins behind the block's end.
    #[error("data block {block}: offset {offset} lies behind its {max_size} bytes")]
    Offset {
        /// The block.
        block: usize,
        /// The offset found.
        offset: u32,
        /// The block's bytes.
        max_size: u32,
    },
    /// The format table has no geometry for this code.
    #[error("format {fourcc} is not in the format table")]
    UnknownFormat {
        /// The code.
        fourcc: Fourcc,
    },
}

/// A buffer's blocks, sorted: memory first, then the two timelines of explicit sync, if there are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    memory: ArrayVec<DataBlock, MAX_PLANES>,
    timelines: bool,
}

impl Blocks {
    /// Sorts them. The number of blocks includes the two timelines (`SPA_DATA_SyncObj`: acquire, release), which are
    /// the last ones.
    ///
    /// # Errors
    /// [`BlockError::Count`], [`BlockError::Kind`], [`BlockError::Timelines`].
    pub fn sort(fourcc: Fourcc, blocks: &[DataBlock]) -> Result<Self, BlockError> {
        let info = fourcc.info().ok_or(BlockError::UnknownFormat { fourcc })?;
        let planes = info.planes().len();
        let first_sync = blocks.iter().position(|block| block.kind == DataKind::SyncObj);
        let (memory, sync) = blocks.split_at(first_sync.unwrap_or(blocks.len()));
        if !sync.is_empty() && (sync.len() != 2 || sync[1].kind != DataKind::SyncObj) {
            return Err(BlockError::Timelines {
                found: sync.len(),
                planes: memory.len(),
            });
        }
        if memory.is_empty() || memory.len() > MAX_PLANES || (memory.len() < planes && memory.len() != 1) {
            return Err(BlockError::Count {
                found: memory.len(),
                fourcc,
                planes,
            });
        }
        let odd = memory
            .iter()
            .position(|b| !matches!(b.kind, DataKind::MemFd | DataKind::DmaBuf) || b.kind != memory[0].kind);
        if let Some(block) = odd {
            return Err(BlockError::Kind {
                block,
                kind: memory[block].kind,
            });
        }
        Ok(Self {
            memory: memory.iter().copied().collect(),
            timelines: !sync.is_empty(),
        })
    }

    /// The blocks that hold pixels.
    #[must_use]
    pub fn memory(&self) -> &[DataBlock] {
        &self.memory
    }

    /// Whether the two timelines are there.
    #[must_use]
    pub fn has_timelines(&self) -> bool {
        self.timelines
    }

    /// Whether the pixels are in dma-bufs.
    #[must_use]
    pub fn is_dmabuf(&self) -> bool {
        self.memory
            .first()
            .is_some_and(|block| block.kind == DataKind::DmaBuf)
    }

    /// The planes of a picture, each naming its block as its object. Of dma-bufs neither `max_size` nor the chunk's
    /// size is looked at. One block for several planes holds them one behind another: a memfd whose chunk is exactly what
    /// GStreamer's default layout needs has that layout, and in all others strides are in proportion, as V4L2 has it.
    ///
    /// Whether the planes lie inside the memory is for [`dmaframe_core::Layout::check`] to say, with sizes from the
    /// kernel.
    ///
    /// # Errors
    /// [`BlockError::Stride`], [`BlockError::Offset`].
    pub fn planes(
        &self,
        fourcc: Fourcc,
        size: Size,
        chunks: &[Chunk],
    ) -> Result<ArrayVec<Plane, MAX_PLANES>, BlockError> {
        let info = fourcc.info().ok_or(BlockError::UnknownFormat { fourcc })?;
        let count = BlockError::Count {
            found: chunks.len(),
            fourcc,
            planes: info.planes().len(),
        };
        let mut planes = ArrayVec::new();
        for (index, block) in self.memory.iter().enumerate() {
            let chunk = chunks.get(index).ok_or_else(|| count.clone())?;
            let refused = BlockError::Stride {
                block: index,
                stride: chunk.stride,
                fourcc,
            };
            let mut stride = u32::try_from(chunk.stride).map_err(|_| refused.clone())?;
            if stride == 0 {
                // Metadata planes of a modifier have no row that we know of.
                let row = info
                    .planes()
                    .get(index)
                    .map_or(0, |plane| plane.row_bytes(size.width));
                stride = u32::try_from(row).map_err(|_| refused.clone())?;
            }
            let mut offset = u64::from(chunk.offset);
            if block.kind == DataKind::MemFd {
                if chunk.offset >= block.max_size {
                    return Err(BlockError::Offset {
                        block: index,
                        offset: chunk.offset,
                        max_size: block.max_size,
                    });
                }
                offset += u64::from(block.map_offset);
            }
            if let [only] = self.memory.as_slice() {
                let gstreamer = gstreamers_planes(fourcc, size)
                    .filter(|own| only.kind == DataKind::MemFd && own.is_all_of(chunk));
                return match gstreamer {
                    Some(own) => Ok(own.at(offset)),
                    None => in_proportion(fourcc, size, offset, stride).ok_or(refused),
                };
            }
            planes.push(Plane {
                object: index,
                offset,
                stride,
            });
        }
        Ok(planes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: DataKind) -> DataBlock {
        DataBlock {
            kind,
            map_offset: 0,
            max_size: 1 << 20,
        }
    }

    fn chunk(offset: u32, stride: i32) -> Chunk {
        Chunk {
            offset,
            stride,
            ..Chunk::default()
        }
    }

    #[test]
    fn timelines_are_no_planes() {
        let (dmabuf, sync) = (block(DataKind::DmaBuf), block(DataKind::SyncObj));
        let blocks = Blocks::sort(Fourcc::XRGB8888, &[dmabuf, sync, sync]).unwrap();
        assert_eq!((blocks.memory().len(), blocks.has_timelines()), (1, true));
        for bad in [
            &[dmabuf, sync][..],
            &[sync, sync],
            &[dmabuf, sync, dmabuf],
            &[dmabuf, sync, sync, sync],
        ] {
            assert!(Blocks::sort(Fourcc::XRGB8888, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_block_holds_all_planes_of_a_camera() {
        let blocks = Blocks::sort(Fourcc::NV12, &[block(DataKind::DmaBuf)]).unwrap();
        let planes = blocks
            .planes(Fourcc::NV12, Size::new(640, 360), &[chunk(0, 704)])
            .unwrap();
        assert_eq!(
            (planes[1].offset, planes[1].stride, planes[1].object),
            (704 * 360, 704, 0)
        );
        let blocks = Blocks::sort(Fourcc::YUV420, &[block(DataKind::DmaBuf)]).unwrap();
        let planes = blocks
            .planes(Fourcc::YUV420, Size::new(641, 361), &[chunk(0, 642)])
            .unwrap();
        assert_eq!((planes[1].offset, planes[1].stride), (642 * 361, 321));
        assert_eq!(planes[2].offset, 642 * 361 + 321 * 181);
    }

    #[test]
    fn one_block_of_gstreamers_own_size_is_read_as_gstreamer_lays_it_out() {
        // `gst_video_info_set_format` of each.
        for (fourcc, (width, height), strides, offsets, len) in [
            (
                Fourcc::YUV420,
                (641, 361),
                &[644, 324, 324][..],
                &[0, 233_128, 291_772][..],
                350_416,
            ),
            (Fourcc::YVU420, (6, 4), &[8, 4, 4], &[0, 32, 40], 48),
            (Fourcc::NV12, (641, 361), &[644, 644], &[0, 233_128], 349_692),
            (Fourcc::NV24, (641, 361), &[644, 1284], &[0, 232_484], 696_008),
            (Fourcc::YUV422, (645, 3), &[648, 324, 324], &[0, 1944, 2916], 3888),
        ] {
            let size = Size::new(width, height);
            let read = |kind, size_of_chunk| {
                let blocks = Blocks::sort(fourcc, &[block(kind)]).unwrap();
                let mut chunk = chunk(64, strides[0]);
                chunk.size = size_of_chunk;
                blocks.planes(fourcc, size, &[chunk]).unwrap()
            };
            let planes = read(DataKind::MemFd, len);
            let found: Vec<_> = planes.iter().map(|p| (p.offset, p.stride)).collect();
            let wanted: Vec<_> = offsets
                .iter()
                .zip(strides)
                .map(|(offset, stride)| (offset + 64, stride.unsigned_abs()))
                .collect();
            assert_eq!(found, wanted, "{fourcc} {size}");
            // Of another size it is somebody else's; of a dma-buf the size says nothing.
            let other = in_proportion(fourcc, size, 64, strides[0].unsigned_abs()).unwrap();
            assert_eq!(read(DataKind::MemFd, len - 1), other, "{fourcc} {size}");
            assert_eq!(read(DataKind::DmaBuf, len), other, "{fourcc} {size}");
        }
    }

    #[test]
    fn a_block_a_plane_keeps_its_own_stride_and_offset() {
        let two = [block(DataKind::DmaBuf); 2];
        let blocks = Blocks::sort(Fourcc::NV12, &two).unwrap();
        let planes = blocks
            .planes(
                Fourcc::NV12,
                Size::new(640, 360),
                &[chunk(0, 768), chunk(768 * 384, 1024)],
            )
            .unwrap();
        assert_eq!(
            (planes[1].object, planes[1].offset, planes[1].stride),
            (1, 768 * 384, 1024)
        );
    }

    #[test]
    fn hostile_chunks_are_refused() {
        let blocks = Blocks::sort(Fourcc::XRGB8888, &[block(DataKind::MemFd)]).unwrap();
        let planes = |chunk| blocks.planes(Fourcc::XRGB8888, Size::new(64, 64), &[chunk]);
        assert!(matches!(
            planes(chunk(0, -256)),
            Err(BlockError::Stride { stride: -256, .. })
        ));
        assert!(matches!(
            planes(chunk(1 << 20, 256)),
            Err(BlockError::Offset { .. })
        ));
        assert!(blocks.planes(Fourcc::XRGB8888, Size::new(64, 64), &[]).is_err());
    }
}
