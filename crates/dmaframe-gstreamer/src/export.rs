//! From a frame to a `gst::Buffer`.

use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_core::{Access, Buffer, Fence, Frame, Layout, MAX_PLANES, ObjectKind, Rect, Rejected};

use crate::describe::{self, DescribeError};
use crate::error::Error;
use crate::shells::{Shell, ShellPool};
use crate::sys::{self, MemoryError, PlaneBytes, Tag};

/// Turns the frames of one stream into buffers.
///
/// A buffer made for a slot of a producer's pool is kept when GStreamer is done with it, and used again for the slot's
/// next picture: the memory is wrapped once, and an encoder's CPU mapping of it is made once. Only what an element took
/// apart or still shares is made anew.
///
/// A frame's lease runs when GStreamer has dropped the *memory*, not merely the buffer it came in: elements pass
/// memories on in other buffers.
#[derive(Debug)]
pub struct Exporter {
    shells: ShellPool,
}

impl Default for Exporter {
    fn default() -> Self {
        Self::new()
    }
}

impl Exporter {
    /// With nothing kept yet. GStreamer must be initialised.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shells: ShellPool::new(),
        }
    }

    /// Whether fences that elements have put on the dma-bufs (implicit sync: OpenGL, VA) become the frames' release
    /// fences when GStreamer drops them. They do unless switched off; it costs one `poll` for each dma-buf of a buffer.
    #[must_use]
    pub fn implicit_fences(self, look: bool) -> Self {
        self.shells.look_for_fences(look);
        self
    }

    /// The frame's memory as a buffer: dma-bufs as `GstDmaBufMemory` of exactly the picture's bytes, memfds as
    /// `GstFdMemory`, bytes wrapped where they are. Strides and offsets are in its `GstVideoMeta`, the visible rect too
    /// where offsets can say it and otherwise in a `GstVideoCropMeta`; sequence number as offset, no timestamps.
    ///
    /// Does not block. A pending acquire fence is put on the dma-bufs, for elements that know implicit sync; V4L2 drivers
    /// do not, so wait for it before frames go there. Memories are read-only to elements: one that wants to write copies.
    ///
    /// # Errors
    /// [`Error::Core`] while somebody has a CPU view that borrows the memory; [`Error::FencePending`] for a pending fence
    /// that cannot be put on the memory; [`Error::NoCaps`], [`Error::Memory`]. The frame comes back with each.
    pub fn buffer(&self, frame: Frame) -> Result<gst::Buffer, Box<Rejected<Frame, Error>>> {
        let made = pass_fence_on(&frame).and_then(|()| {
            let key = Arc::clone(frame.buffer());
            let visible = frame.visible();
            if key.objects().is_empty() {
                return bytes(&frame);
            }
            let shell = match self.shells.take(&key, visible) {
                Some(shell) => shell,
                None => Shell {
                    buffer: wrap(&key, visible)?,
                    core: key,
                    visible,
                },
            };
            self.shells.send(shell, &frame)
        });
        match made {
            Ok(mut buffer) => {
                if let Some(buffer) = buffer.get_mut() {
                    decorate(buffer, &frame);
                }
                Ok(buffer)
            }
            Err(error) => Err(Rejected::new(frame, error)),
        }
    }

    /// Forgets the buffers kept for memory of `generation` and all others but `generation`: after a renegotiation.
    pub(crate) fn keep_only(&self, generation: u64) {
        self.shells.retain(|core| core.id().generation() == generation);
    }

    /// Forgets all buffers kept: the memory of frames whose producer is gone is freed.
    pub fn clear(&self) {
        self.shells.retain(|_| false);
    }
}

/// The buffer of one frame: [`Exporter::buffer`] without a stream, so that nothing is kept for the next.
///
/// # Errors
/// As [`Exporter::buffer`].
pub fn to_buffer(frame: &Frame) -> Result<gst::Buffer, Error> {
    Exporter::new()
        .buffer(frame.clone())
        .map_err(|rejected| rejected.error)
}

/// Explicit to implicit.
fn pass_fence_on(frame: &Frame) -> Result<(), Error> {
    if frame.acquire().is_trivial() || frame.acquire().is_done()? {
        return Ok(());
    }
    let dmabuf = frame.as_dmabuf().ok_or(Error::FencePending)?;
    match dmabuf.attach_fence(frame.acquire(), Access::Write) {
        Ok(()) => Ok(()),
        Err(dmaframe_core::Error::Unsupported { .. }) => Err(Error::FencePending),
        Err(error) => Err(error.into()),
    }
}

/// Implicit to explicit, when a buffer comes back.
pub(crate) fn take_fences_over(frame: &Frame) {
    let Some(dmabuf) = frame.as_dmabuf() else { return };
    for object in dmabuf.objects() {
        let idle = object.wait_idle(Access::Write, dmaframe_core::Deadline::now());
        if matches!(idle, Ok(dmaframe_core::Waited::TimedOut))
            && let Ok(fence) = object.export_fence(Access::Write)
        {
            frame.release_after(fence);
        }
    }
}

/// Offsets of planes whose first sample is the visible rect's, where all planes have one there.
fn shifted(layout: &Layout, visible: Rect) -> Option<ArrayVec<u64, MAX_PLANES>> {
    if visible == Rect::full(layout.size()) {
        return Some(layout.planes().iter().map(|plane| plane.offset).collect());
    }
    if !layout.modifier().is_linear() {
        return None;
    }
    let formats = layout.info().planes().iter().zip(layout.planes());
    formats
        .map(|(format, plane)| {
            let (h_sub, v_sub) = (u32::from(format.h_sub), u32::from(format.v_sub));
            let columns = h_sub * u32::from(format.block_width);
            let aligned = visible.x.is_multiple_of(columns) && visible.y.is_multiple_of(v_sub);
            let blocks = u64::from(visible.x / columns) * u64::from(format.block_bytes);
            let rows = u64::from(visible.y / v_sub) * u64::from(plane.stride);
            aligned.then(|| plane.offset + rows + blocks)
        })
        .collect()
}

/// A buffer around the memory of a core buffer, with nothing of a single picture in it.
fn wrap(core: &Arc<Buffer>, visible: Rect) -> Result<gst::Buffer, Error> {
    let layout = core.layout();
    let mut buffer = gst::Buffer::new();
    let mut starts = ArrayVec::<u64, MAX_PLANES>::new();
    let mut total = 0u64;
    {
        let buffer = buffer.make_mut();
        for (index, object) in core.objects().iter().enumerate() {
            // Exactly what the layout needs: V4L2 refuses to import a memory that is longer than its picture.
            let size = match layout.object_len(index) {
                len if layout.modifier().is_linear() && len <= object.size() => len,
                // Tiled, or without the padding of its last row.
                _ => object.size(),
            };
            let refused = |reason: &str| Error::Memory {
                index,
                reason: reason.to_owned(),
            };
            let len = usize::try_from(size).map_err(|_| refused("is larger than the address space"))?;
            let memory = sys::memory_of(object, index, len, true).map_err(|error| match error {
                MemoryError::Core(error) => Error::Core(error),
                MemoryError::Refused => refused("GStreamer made no memory of it"),
            })?;
            sys::tag_or(&memory, || Ok::<_, Error>(Tag::new(Arc::clone(object))))?;
            buffer.append_memory(memory);
            starts.push(total);
            total += size;
        }
        add_video_meta(buffer, layout, visible, |object| starts.get(object).copied())?;
        // Set by our own appending: from here on it tells that somebody else changed the memories.
        buffer.unset_flags(gst::BufferFlags::TAG_MEMORY);
    }
    Ok(buffer)
}

/// The `GstVideoMeta`: format, strides, offsets counted through all memories.
pub(crate) fn add_video_meta(
    buffer: &mut gst::BufferRef,
    layout: &Layout,
    visible: Rect,
    start: impl Fn(usize) -> Option<u64>,
) -> Result<(), Error> {
    let refused = |index: usize, reason: &str| Error::Memory {
        index,
        reason: reason.to_owned(),
    };
    let shifted = shifted(layout, visible);
    let size = match &shifted {
        Some(_) => (visible.width, visible.height),
        None => (layout.size().width, layout.size().height),
    };
    let plain = layout.planes().iter().map(|plane| plane.offset).collect();
    let within = shifted.unwrap_or(plain);
    let mut offsets = ArrayVec::<usize, MAX_PLANES>::new();
    let mut strides = ArrayVec::<i32, MAX_PLANES>::new();
    for (index, (plane, offset)) in layout.planes().iter().zip(within).enumerate() {
        let offset = start(plane.object).and_then(|start| start.checked_add(offset));
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        offsets.push(offset.ok_or_else(|| refused(plane.object, "ends behind the address space"))?);
        strides.push(
            i32::try_from(plane.stride)
                .map_err(|_| refused(index, "has a stride above GStreamer's limit"))?,
        );
    }
    let format = match describe::by_fourcc(layout.fourcc()) {
        Some(known) if layout.modifier().is_linear() || layout.modifier().is_implicit() => {
            gst_video::VideoFormat::from_string(known.name)
        }
        // What the format is, DMA_DRM caps say; the library in use may not have a number for that yet.
        _ => match gst_video::VideoFormat::from_string("DMA_DRM") {
            gst_video::VideoFormat::Unknown => gst_video::VideoFormat::Encoded,
            known => known,
        },
    };
    let flags = gst_video::VideoFrameFlags::empty();
    let added = gst_video::VideoMeta::add_full(buffer, flags, format, size.0, size.1, &offsets, &strides);
    let mut added = added.map_err(|_| {
        Error::Describe(DescribeError::UnknownFormat {
            name: layout.fourcc().to_string(),
        })
    })?;
    sys::keep_in_pool(&mut added);
    Ok(())
}

/// Bytes of this process, where they are.
fn bytes(frame: &Frame) -> Result<gst::Buffer, Error> {
    let mut buffer = gst::Buffer::new();
    {
        let buffer = buffer.make_mut();
        let layout = frame.layout();
        let mut starts = ArrayVec::<u64, MAX_PLANES>::new();
        let mut total = 0;
        for plane in 0..layout.planes().len() {
            let bytes = PlaneBytes::new(frame, plane)?;
            starts.push(total);
            total += bytes.as_ref().len() as u64;
            buffer.append_memory(gst::Memory::from_slice(bytes));
        }
        // Each plane is a memory of its own that begins with the plane.
        let full = Rect::full(layout.size());
        let mut offsets = ArrayVec::<usize, MAX_PLANES>::new();
        let mut strides = ArrayVec::<i32, MAX_PLANES>::new();
        let visible = shifted(layout, frame.visible());
        let size = if visible.is_some() { frame.visible() } else { full };
        for (index, plane) in layout.planes().iter().enumerate() {
            let shift = visible
                .as_ref()
                .map_or(0, |offsets| offsets[index] - plane.offset);
            offsets.push(usize::try_from(starts[index] + shift).unwrap_or(usize::MAX));
            strides.push(i32::try_from(plane.stride).unwrap_or(i32::MAX));
        }
        let known = describe::by_fourcc(layout.fourcc()).ok_or_else(|| DescribeError::UnknownFormat {
            name: layout.fourcc().to_string(),
        })?;
        let format = gst_video::VideoFormat::from_string(known.name);
        let flags = gst_video::VideoFrameFlags::empty();
        gst_video::VideoMeta::add_full(buffer, flags, format, size.width, size.height, &offsets, &strides)
            .map_err(|_| DescribeError::UnknownFormat {
                name: layout.fourcc().to_string(),
            })?;
    }
    Ok(buffer)
}

/// What belongs to one picture.
fn decorate(buffer: &mut gst::BufferRef, frame: &Frame) {
    let (layout, visible) = (frame.layout(), frame.visible());
    if shifted(layout, visible).is_none() {
        gst_video::VideoCropMeta::add(buffer, (visible.x, visible.y, visible.width, visible.height));
    }
    if let Some(sequence) = frame.meta().sequence {
        buffer.set_offset(sequence);
    }
}

/// Merges fences that came with the memory into the frame, then lets it go.
pub(crate) fn let_go(frame: Frame, look: bool) {
    if look
        && frame
            .buffer()
            .objects()
            .iter()
            .any(|object| object.kind() == ObjectKind::Dmabuf)
    {
        take_fences_over(&frame);
    }
    // Not `Fence::Signaled`: what consumers said before stays.
    frame.release_after(Fence::Signaled);
    drop(frame);
}
