//! From a `gst::Buffer` to a frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrayvec::ArrayVec;
use dmaframe_core::report::Hop;
use dmaframe_core::{
    Access, Buffer, Clock, Deadline, Fence, Frame, FrameMeta, Lease, MAX_PLANES, Modifier, Object,
    ObjectKind, Orientation, Rect, Size, Timestamp, Waited,
};

use crate::caps;
use crate::clock::PipelineClock;
use crate::copy;
use crate::describe::{MemoryWindow, MetaFields, Picture, Placed};
use crate::error::Error;
use crate::fences;
use crate::sys::{self, Descriptor, Tag};

/// Most memories a buffer of one picture may have: GStreamer's own limit.
const MAX_MEMORIES: usize = 16;

/// Turns the buffers of one stream into frames.
///
/// A buffer's dma-bufs are looked at once: what was found is kept with the `GstMemory`, so that a memory that comes round
/// again in its pool's next buffer costs no system call, and is the same [`Buffer`] with the same
/// [`BufferId`](dmaframe_core::BufferId), which import caches go by.
///
/// The frame holds the buffer: it goes back to its pool when the last clone has dropped and the frame's release fence has
/// signalled.
#[derive(Debug)]
pub struct Importer {
    /// The caps read last and what they say.
    known: Option<(gst::Caps, Picture)>,
    unnamed: Modifier,
    generation: u64,
    implicit: bool,
    pub(crate) hop: Arc<Hop>,
    pub(crate) outstanding: Arc<AtomicUsize>,
}

/// How a buffer became a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It is the buffer's own memory.
    Shared,
    /// Its bytes were copied.
    Copied,
}

/// What a stream knows about a buffer besides the buffer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    pub(crate) running: Option<u64>,
    pub(crate) clock: Option<PipelineClock>,
    pub(crate) orientation: Orientation,
}

impl Default for Importer {
    fn default() -> Self {
        Self::new()
    }
}

impl Importer {
    /// For buffers of any caps; a change of caps is a new generation.
    #[must_use]
    pub fn new() -> Self {
        Self {
            known: None,
            unnamed: caps::unnamed(),
            generation: dmaframe_core::next_generation(),
            implicit: true,
            hop: Hop::new("GStreamer"),
            outstanding: Arc::default(),
        }
    }

    /// The layout of `memory:DMABuf` buffers whose caps name none. Without this: LINEAR where the GStreamer in use has
    /// caps that name modifiers (1.24), and the implicit modifier where it has not, because elements there wrote the
    /// same caps for tiled buffers.
    #[must_use]
    pub fn unnamed_modifier(mut self, modifier: Modifier) -> Self {
        self.unnamed = modifier;
        self.known = None;
        self
    }

    /// Whether fences that others have put on the dma-bufs (implicit sync) become the frames' acquire fences. They do
    /// unless switched off; it costs one `poll` for each dma-buf of a frame. CPU views wait for them either way.
    #[must_use]
    pub fn implicit_fences(mut self, look: bool) -> Self {
        self.implicit = look;
        self
    }

    /// Counters of the frames made.
    #[must_use]
    pub fn hop(&self) -> &Arc<Hop> {
        &self.hop
    }

    /// How many buffers are held by frames now.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// The frame of a sample. Its timestamp is the buffer's running time, on no clock: only a
    /// [`FrameSink`](crate::FrameSink) knows its pipeline's.
    ///
    /// Does not block. Memory that is no descriptor is copied; so is a memfd that its owner may truncate, by reading it
    /// through the kernel: it is never mapped.
    ///
    /// # Errors
    /// [`Error::Incomplete`], [`Error::Describe`], [`Error::Memory`], [`Error::Core`].
    pub fn frame(&mut self, sample: &gst::Sample) -> Result<Frame, Error> {
        let buffer = sample
            .buffer_owned()
            .ok_or(Error::Incomplete { what: "buffer" })?;
        let caps = sample.caps().ok_or(Error::Incomplete { what: "caps" })?;
        let context = Context {
            running: running_time(sample),
            ..Context::default()
        };
        let (frame, how) = self.import(buffer, caps, &context)?;
        self.count(&frame, how);
        Ok(frame)
    }

    /// Counts a frame that is given out as it was made.
    pub(crate) fn count(&self, frame: &Frame, how: How) {
        match how {
            How::Shared => self.hop.zero_copy(),
            How::Copied => self.hop.cpu_copy(
                frame.layout().tight_len(),
                "upstream gave memory that cannot be shared: no descriptors, or some that others may truncate",
            ),
        }
    }

    /// What the caps say, remembered for as long as they stay the same.
    fn picture(&mut self, caps: &gst::CapsRef) -> Result<Picture, Error> {
        if let Some((known, picture)) = &self.known
            && (known.as_ptr() == caps.as_ptr() || known.as_ref() == caps)
        {
            return Ok(*picture);
        }
        let picture = caps::picture(caps, self.unnamed)?;
        if self.known.is_some() {
            self.generation = dmaframe_core::next_generation();
        }
        self.known = Some((caps.to_owned(), picture));
        Ok(picture)
    }

    /// The frame of a buffer, not counted yet: what becomes of it is for the caller to say.
    pub(crate) fn import(
        &mut self,
        buffer: gst::Buffer,
        caps: &gst::CapsRef,
        context: &Context,
    ) -> Result<(Frame, How), Error> {
        fences::tend();
        let picture = self.picture(caps)?;
        let count = buffer.n_memory();
        let mut windows = ArrayVec::<MemoryWindow, MAX_MEMORIES>::new();
        for index in 0..count.min(MAX_MEMORIES) {
            let memory = buffer.peek_memory(index);
            windows.push(MemoryWindow::new(memory.offset() as u64, memory.size() as u64));
        }
        let video = buffer.meta::<gst_video::VideoMeta>();
        let video = video.as_ref().map(|meta| MetaFields {
            size: Size::new(meta.width(), meta.height()),
            offsets: meta.offset().iter().map(|offset| *offset as u64).collect(),
            strides: meta.stride().iter().copied().collect(),
        });
        let crop = buffer.meta::<gst_video::VideoCropMeta>().map(|crop| {
            let (x, y, width, height) = crop.rect();
            Rect { x, y, width, height }
        });
        let placed = picture.planes(video.as_ref(), crop, &windows)?;
        let mut meta = metadata(&buffer, context);
        meta.color = picture.color;
        meta.visible = placed.visible;
        match self.shared(&buffer, &picture, &placed)? {
            Some(core) => {
                let acquire = self.acquire(&core)?;
                let held = Held {
                    buffer: Some(buffer),
                    outstanding: Arc::clone(&self.outstanding),
                };
                self.outstanding.fetch_add(1, Ordering::Relaxed);
                let lease = Lease::on_release(move |fence| fences::drop_after(fence, held));
                Ok((Frame::new(core, meta, acquire, lease)?, How::Shared))
            }
            None => {
                let frame = copy::picture(&buffer, &picture, &placed, meta)?;
                Ok((frame, How::Copied))
            }
        }
    }

    /// The buffer's memories as a core buffer: the one made last time where memory and layout are the same. `None`
    /// when the memory is not to be shared.
    fn shared(
        &self,
        buffer: &gst::BufferRef,
        picture: &Picture,
        placed: &Placed,
    ) -> Result<Option<Arc<Buffer>>, Error> {
        let mut objects = ArrayVec::<&Arc<Object>, MAX_PLANES>::new();
        let mut first = None;
        for index in &placed.memories {
            let memory = sys::root(buffer.peek_memory(*index));
            let Some(tag) = tagged(memory, *index, placed.memories.len() == 1)? else {
                if objects.is_empty() && !picture.dmabuf {
                    return Ok(None);
                }
                return Err(Error::Memory {
                    index: *index,
                    reason: "is no dma-buf, unlike the caps or the other memories say".to_owned(),
                });
            };
            first.get_or_insert(tag);
            objects.push(&tag.object);
        }
        // Memories without descriptors are caught above; a buffer without any has no planes, which is refused earlier.
        let Some(first) = first else {
            return Ok(None);
        };
        let mut imported = sys::lock(&first.imported);
        if let Some(known) = imported
            .as_ref()
            .filter(|known| is_same(known, picture, placed, &objects))
        {
            return Ok(Some(Arc::clone(known)));
        }
        let new = Buffer::new(
            picture.fourcc,
            picture.modifier,
            placed.coded,
            objects.into_iter().cloned(),
            &placed.planes,
            self.generation,
        )?;
        let new = Arc::new(new);
        *imported = Some(Arc::clone(&new));
        Ok(Some(new))
    }

    /// Implicit fences that stand against reading, as the acquire fence.
    fn acquire(&self, buffer: &Buffer) -> Result<Fence, Error> {
        let mut all = Fence::Signaled;
        if !self.implicit || !buffer.is_dmabuf() {
            return Ok(all);
        }
        for object in buffer.objects() {
            if object.wait_idle(Access::Read, Deadline::now())? == Waited::TimedOut {
                // Before Linux 6.0 there is no fence to be had: views and drivers that know implicit sync still wait.
                if let Ok(fence) = object.export_fence(Access::Read) {
                    all = all.merge(fence);
                }
            }
        }
        Ok(all)
    }
}

/// The frame of one sample: [`Importer::frame`] without a stream. Memories remember their buffers all the same.
///
/// # Errors
/// As [`Importer::frame`].
pub fn from_sample(sample: &gst::Sample) -> Result<Frame, Error> {
    Importer::new().frame(sample)
}

/// What a memory was found to be, or `None` when it is to be copied. `alone` allows memfds: frames are all dma-bufs or
/// all memfds.
fn tagged(memory: &gst::MemoryRef, index: usize, alone: bool) -> Result<Option<&Tag>, Error> {
    if let Some(tag) = sys::tag(memory) {
        return Ok(Some(tag));
    }
    let fd = match sys::descriptor(memory) {
        None => return Ok(None),
        Some(Descriptor::Dmabuf(fd)) => fd,
        // A memfd is as good as a dma-buf to a CPU, if its owner cannot truncate it.
        Some(Descriptor::Other(fd)) => match Object::probe(fd, index) {
            Ok(probe) if alone || probe.kind == ObjectKind::Dmabuf => fd,
            _ => return Ok(None),
        },
    };
    let tag = sys::tag_or(memory, || {
        let own = fd.try_clone_to_owned().map_err(|error| Error::Memory {
            index,
            reason: format!("its descriptor cannot be duplicated: {error}"),
        })?;
        Object::new(own, index)
            .map(|object| Tag::new(Arc::new(object)))
            .map_err(Error::Core)
    })?;
    Ok(Some(tag))
}

fn is_same(known: &Buffer, picture: &Picture, placed: &Placed, objects: &[&Arc<Object>]) -> bool {
    let layout = known.layout();
    layout.fourcc() == picture.fourcc
        && layout.modifier() == picture.modifier
        && layout.size() == placed.coded
        && layout.planes() == placed.planes.as_slice()
        && known.objects().len() == objects.len()
        && known
            .objects()
            .iter()
            .zip(objects)
            .all(|(a, b)| Arc::ptr_eq(a, b))
}

fn running_time(sample: &gst::Sample) -> Option<u64> {
    let pts = sample.buffer()?.pts()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(pts).map(gst::ClockTime::nseconds)
}

/// The running time of a sample's buffer, for the sink.
pub(crate) fn running(sample: &gst::Sample) -> Option<u64> {
    running_time(sample)
}

fn metadata(buffer: &gst::BufferRef, context: &Context) -> FrameMeta {
    let mut meta = FrameMeta::default();
    meta.timestamp = context.running.and_then(|running| match &context.clock {
        Some(clock) => clock.timestamp(running),
        None => Some(Timestamp {
            ns: running,
            clock: Clock::Unknown,
        }),
    });
    // What live sources count in: V4L2's sequence numbers, videotestsrc's frames.
    meta.sequence = Some(buffer.offset()).filter(|offset| *offset != u64::MAX);
    meta.orientation = context.orientation;
    meta
}

/// A buffer on its way back. Dropping it gives the buffer to its pool, and counts it.
struct Held {
    buffer: Option<gst::Buffer>,
    outstanding: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // First: whoever sees the count must find the buffer back.
        drop(self.buffer.take());
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}
