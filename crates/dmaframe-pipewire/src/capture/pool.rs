//! The buffers of one negotiation.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_core::{
    Buffer, Fence, Frame, FrameMeta, Layout, MAX_PLANES, Modifier, Object, Plane, ReturnQueue, Timeline,
    TimelineDevice, next_generation,
};

use crate::error::Error;
use crate::pod::{Blocks, Chunk, VideoFormat};
use crate::sys::{MAX_BUFFERS, Slot, Stream, SyncPoints};

/// Buffers that were added since the last time they were all removed.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) queue: Arc<ReturnQueue>,
    pub(super) entries: Vec<Option<Entry>>,
    generation: u64,
}

/// One buffer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) slot: Slot,
    blocks: Blocks,
    memory: Memory,
    /// The chunks the buffer's planes were last made of.
    chunks: ArrayVec<Chunk, MAX_PLANES>,
    buffer: Option<Arc<Buffer>>,
    pub(super) sync: Option<Sync>,
    /// A frame of it is out, or on its way back.
    pub(super) out: bool,
    /// What the last consumer's work has to end with before the node may write again.
    pub(super) fenced: Option<Fence>,
}

#[derive(Debug)]
enum Memory {
    /// Objects the core vouches for, and which of them each block is.
    Objects(Vec<Arc<Object>>, ArrayVec<usize, MAX_PLANES>),
    /// memfds that their owner can shrink: only read through system calls.
    Unsealed(Vec<File>),
}

/// The two timelines of explicit sync.
#[derive(Debug)]
pub(super) struct Sync {
    pub(super) acquire: Timeline,
    pub(super) release: Timeline,
    pub(super) points: SyncPoints,
}

impl Pool {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self {
            queue: ReturnQueue::new(MAX_BUFFERS)?,
            entries: (0..MAX_BUFFERS).map(|_| None).collect(),
            generation: next_generation(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.iter().flatten().count()
    }

    pub(super) fn add(
        &mut self,
        stream: &Stream,
        slot: Slot,
        format: &VideoFormat,
        device: Option<&TimelineDevice>,
    ) -> Result<(), Error> {
        let blocks = Blocks::sort(format.fourcc, &stream.blocks(slot))?;
        let planes = blocks.memory().len();
        let sync = match device.filter(|_| blocks.has_timelines() && stream.sync_points(slot).is_some()) {
            None => None,
            Some(device) => Some(Sync {
                acquire: device.import(stream.dup_fd(slot, planes)?)?,
                release: device.import(stream.dup_fd(slot, planes + 1)?)?,
                points: SyncPoints::default(),
            }),
        };
        let memory = Memory::import(stream, slot, planes)?;
        if let Some(entry) = self.entries.get_mut(slot.index) {
            *entry = Some(Entry {
                slot,
                blocks,
                memory,
                chunks: ArrayVec::new(),
                buffer: None,
                sync,
                out: false,
                fenced: None,
            });
        }
        Ok(())
    }
}

impl Memory {
    fn import(stream: &Stream, slot: Slot, planes: usize) -> Result<Self, Error> {
        let mut objects: Vec<Arc<Object>> = Vec::with_capacity(planes);
        let mut of_block = ArrayVec::new();
        for block in 0..planes {
            let fd = stream.dup_fd(slot, block)?;
            let probe = match Object::probe(std::os::fd::AsFd::as_fd(&fd), block) {
                Err(dmaframe_core::Error::Unsealed { .. }) => {
                    let files = (0..planes).map(|block| stream.dup_fd(slot, block).map(File::from));
                    return files.collect::<Result<_, _>>().map(Self::Unsealed);
                }
                other => other?,
            };
            // Planes in one object come as several descriptors of it.
            let known = objects.iter().position(|o| o.identity() == probe.identity);
            let index = known.unwrap_or(objects.len());
            if known.is_none() {
                objects.push(Arc::new(Object::new(fd, block)?));
            }
            // At most four planes.
            let _ = of_block.try_push(index);
        }
        Ok(Self::Objects(objects, of_block))
    }
}

/// What a filled buffer became.
pub(super) enum Wrapped {
    /// A frame of the buffer itself.
    Shared(Frame),
    /// A copy: the buffer can go back at once.
    Copied(Frame, u64),
}

impl Entry {
    /// Whether the buffer is not the node's now, as far as we are concerned: it has been given out and not given back.
    pub(super) fn is_away(&self) -> bool {
        self.out || self.fenced.is_some()
    }

    /// The chunks of this picture, each read once.
    fn read_chunks(&self, stream: &Stream) -> ArrayVec<Chunk, MAX_PLANES> {
        (0..self.blocks.memory().len())
            .filter_map(|block| stream.chunk(self.slot, block))
            .collect()
    }

    /// Whether the producer itself says that there is no picture: a damaged chunk, or empty shared memory (dma-bufs may
    /// say 0).
    pub(super) fn is_damaged(&self, stream: &Stream) -> bool {
        let chunks = self.read_chunks(stream);
        let corrupted = |chunk: &Chunk| chunk.flags & crate::sys::chunk_flag::CORRUPTED != 0;
        chunks.iter().any(corrupted)
            || (!self.blocks.is_dmabuf() && chunks.first().is_some_and(|c| c.size == 0))
    }

    /// The picture as a frame. Costs no system call and allocates nothing while the planes stay where they are.
    pub(super) fn wrap(
        &mut self,
        stream: &Stream,
        queue: &Arc<ReturnQueue>,
        generation: u64,
        format: &VideoFormat,
        meta: FrameMeta,
    ) -> Result<Wrapped, Error> {
        let chunks = self.read_chunks(stream);
        let acquire = match &self.sync {
            Some(sync) => sync.acquire.point(sync.points.acquire).into(),
            None => Fence::Signaled,
        };
        let same = |a: &Chunk, b: &Chunk| (a.offset, a.stride) == (b.offset, b.stride);
        let unchanged =
            chunks.len() == self.chunks.len() && chunks.iter().zip(&self.chunks).all(|(a, b)| same(a, b));
        if let Some(buffer) = self.buffer.as_ref().filter(|_| unchanged) {
            let frame = queue.frame(self.slot.index, buffer, meta, acquire)?;
            self.out = true;
            return Ok(Wrapped::Shared(frame));
        }
        let modifier = format.modifier().unwrap_or(Modifier::LINEAR);
        let planes = self.blocks.planes(format.fourcc, format.size, &chunks)?;
        match &self.memory {
            Memory::Objects(objects, of_block) => {
                let planes: ArrayVec<Plane, MAX_PLANES> = planes
                    .iter()
                    .map(|plane| Plane {
                        object: of_block.get(plane.object).copied().unwrap_or(0),
                        ..*plane
                    })
                    .collect();
                let buffer = Arc::new(Buffer::new(
                    format.fourcc,
                    modifier,
                    format.size,
                    objects.iter().cloned(),
                    &planes,
                    generation,
                )?);
                self.chunks = chunks;
                let frame = queue.frame(self.slot.index, &buffer, meta, acquire)?;
                self.out = true;
                self.buffer = Some(buffer);
                Ok(Wrapped::Shared(frame))
            }
            Memory::Unsealed(files) => {
                let frame = copy_out(files, format, modifier, &planes, meta)?;
                let bytes = frame.layout().tight_len();
                Ok(Wrapped::Copied(frame, bytes))
            }
        }
    }
}

impl Pool {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

/// A copy of memory that could be truncated while it is mapped: read row by row through the kernel instead.
fn copy_out(
    files: &[File],
    format: &VideoFormat,
    modifier: Modifier,
    planes: &[Plane],
    meta: FrameMeta,
) -> Result<Frame, Error> {
    let mut sizes = Vec::with_capacity(files.len());
    for file in files {
        let stat = rustix::fs::fstat(file).map_err(|errno| Error::os("fstat", errno))?;
        sizes.push(u64::try_from(stat.st_size).unwrap_or(0));
    }
    let layout = Layout::check(format.fourcc, modifier, format.size, planes, &sizes)
        .map_err(dmaframe_core::Error::from)?;
    if !modifier.is_linear() {
        return Err(dmaframe_core::Error::NotLinear { modifier }.into());
    }
    let limit = dmaframe_core::FrameParts::LIMIT;
    if layout.tight_len() > limit {
        let bytes = layout.tight_len();
        return Err(
            dmaframe_core::Error::Layout(dmaframe_core::LayoutError::TooLarge { bytes, limit }).into(),
        );
    }
    let tight = Layout::tight(format.fourcc, format.size).map_err(dmaframe_core::Error::from)?;
    let mut bytes = vec![0; usize::try_from(tight.tight_len()).unwrap_or(0)];
    let mut rest = &mut bytes[..];
    for (index, plane) in layout.planes().iter().enumerate() {
        for row in 0..layout.rows(index) {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(layout.row_bytes(index));
            let at = plane.offset + u64::from(plane.stride) * u64::from(row);
            let read = files[plane.object].read_exact_at(now, at);
            read.map_err(|e| {
                Error::os(
                    "pread",
                    rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO),
                )
            })?;
            rest = later;
        }
    }
    Ok(Frame::from_bytes(bytes, &tight, meta)?)
}
