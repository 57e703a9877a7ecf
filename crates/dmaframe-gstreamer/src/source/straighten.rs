//! Copies for elements that understand no strides, offsets or crops.

use gst::prelude::*;

use crate::caps;

/// What an element says about the metadata of the buffers it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Understood {
    /// `GstVideoMeta`: strides and offsets.
    pub(super) strides: bool,
    /// `GstVideoCropMeta`: a picture that is a part of what is in memory.
    pub(super) crops: bool,
}

impl Understood {
    /// Asks the next element; one that does not answer understands nothing.
    ///
    /// `appsrc` asks before it knows the caps and never again, so this is ours to do: on the thread that pushes the
    /// buffers, as elements expect it of such a question.
    pub(super) fn ask(pad: &gst::Pad, caps: &gst::Caps) -> Self {
        let mut query = gst::query::Allocation::new(Some(caps), false);
        let answered = pad.peer_query(&mut query);
        Self {
            strides: answered && query.find_allocation_meta::<gst_video::VideoMeta>().is_some(),
            crops: answered && query.find_allocation_meta::<gst_video::VideoCropMeta>().is_some(),
        }
    }
}

/// A copy in GStreamer's own layout of what is to be shown; `None` where the buffer is that already, or will be
/// understood.
pub(super) fn straighten(
    caps: &gst::Caps,
    buffer: &gst::Buffer,
    understood: Understood,
) -> Result<Option<gst::Buffer>, gst::glib::BoolError> {
    let crop = buffer.meta::<gst_video::VideoCropMeta>().map(|crop| crop.rect());
    if understood.strides && (understood.crops || crop.is_none()) {
        return Ok(None);
    }
    // Whoever takes dma-bufs has to look at their layout.
    let dmabuf = caps
        .features(0)
        .is_some_and(|features| features.contains("memory:DMABuf"));
    let Some(info) = gst_video::VideoInfo::from_caps(caps).ok().filter(|_| !dmabuf) else {
        return Ok(None);
    };
    let Some(meta) = buffer.meta::<gst_video::VideoMeta>() else {
        return Ok(None);
    };
    // With several memories too, the offsets tell.
    if crop.is_none() && meta.offset() == info.offset() && meta.stride() == info.stride() {
        return Ok(None);
    }
    let moved;
    let from = match crop {
        Some((x, y, _, _)) => {
            moved = at_origin(buffer, &meta, caps, &info, (x, y))?;
            &moved
        }
        None => buffer,
    };
    let refused = |_| gst::glib::bool_error!("the picture cannot be mapped");
    let from = gst_video::VideoFrameRef::from_buffer_ref_readable(from, &info).map_err(refused)?;
    let mut new = gst::Buffer::with_size(info.size())?;
    {
        let new = new.make_mut();
        let kept = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        // Times and flags are all there is to be copied of it: that cannot fail.
        let _ = buffer.copy_into(new, kept, ..);
        let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(new, &info).map_err(refused)?;
        from.copy(&mut to)?;
    }
    Ok(Some(new))
}

/// The same memory as a picture that begins at the crop's origin. An origin between the samples of a plane with fewer of
/// them, or inside a group of pixels, is that of the sample or group it lies in.
fn at_origin(
    buffer: &gst::Buffer,
    meta: &gst_video::VideoMeta,
    caps: &gst::Caps,
    info: &gst_video::VideoInfo,
    (x, y): (u32, u32),
) -> Result<gst::Buffer, gst::glib::BoolError> {
    let unknown = || gst::glib::bool_error!("a crop of a format without a table entry");
    let picture = caps::picture(caps, dmaframe_core::Modifier::LINEAR).map_err(|_| unknown())?;
    let planes = picture.fourcc.info().ok_or_else(unknown)?.planes();
    let mut offsets = arrayvec::ArrayVec::<usize, { dmaframe_core::MAX_PLANES }>::new();
    for ((plane, offset), stride) in planes.iter().zip(meta.offset()).zip(meta.stride()) {
        let columns = u32::from(plane.h_sub) * u32::from(plane.block_width);
        let column = u64::from(x / columns) * u64::from(plane.block_bytes);
        let row = u64::from(y / u32::from(plane.v_sub)) * u64::try_from(*stride).unwrap_or(0);
        let offset = usize::try_from(column + row)
            .ok()
            .and_then(|within| offset.checked_add(within));
        offsets.push(offset.ok_or_else(unknown)?);
    }
    let mut moved = buffer.copy_region(gst::BufferCopyFlags::MEMORY, ..)?;
    gst_video::VideoMeta::add_full(
        moved.make_mut(),
        gst_video::VideoFrameFlags::empty(),
        info.format(),
        info.width(),
        info.height(),
        &offsets,
        meta.stride(),
    )?;
    Ok(moved)
}
