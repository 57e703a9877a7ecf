//! CPU frames as buffers, without a copy: the device is given a pointer to their pages, to read or to write.
//!
//! For GPUs that import no dma-buf. Never over a dma-buf's own mapping: pinning the pages of a device mapping is what
//! real drivers refuse.

use std::ptr::NonNull;
use std::sync::Arc;

use arrayvec::ArrayVec;
use ash::vk;
use dmaframe_core::{Access, Buffer as FrameBuffer, Deadline, Frame, Object};

use super::buffer::{BufferImport, linear};
use crate::error::Refusal;
use crate::gpu::Gpu;
use crate::sys::context::Context;
use crate::sys::host::HostPages;
use crate::sys::memory;

/// What the device does with memfds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Reads,
    /// It writes whenever work says so: CPU views copy rows out from here on.
    Writes,
    /// It writes while a claim keeps CPU views away: they stay as they are.
    WritesClaimed,
}

impl BufferImport {
    /// The pages of a CPU frame.
    pub(crate) fn of_host(gpu: &Gpu, frame: &Frame, usage: vk::BufferUsageFlags) -> Result<Self, Refusal> {
        let buffer = frame.buffer();
        if !buffer.objects().is_empty() {
            return Self::of_memfds(gpu, buffer, usage, Use::Reads);
        }
        let align = alignment(gpu, buffer)?;
        let pages = [bytes(frame, align)?].into_iter().collect();
        Self::of_pages(gpu, pages, &[0], frame.layout(), usage, Access::Read)
    }

    /// The pages of memfds.
    pub(crate) fn of_memfds(
        gpu: &Gpu,
        buffer: &FrameBuffer,
        usage: vk::BufferUsageFlags,
        what: Use,
    ) -> Result<Self, Refusal> {
        let align = alignment(gpu, buffer)?;
        if buffer.objects().is_empty() {
            return Err(Refusal::NotMemfd);
        }
        let mut place = ArrayVec::<usize, 4>::new();
        let pages = memfds(&gpu.0, buffer, align, what, &mut place)?;
        let access = match what {
            Use::Reads => Access::Read,
            Use::Writes | Use::WritesClaimed => Access::Write,
        };
        let import = Self::of_pages(gpu, pages, &place, buffer.layout(), usage, access)?;
        if what == Use::Writes {
            for (index, object) in buffer.objects().iter().enumerate() {
                let _ = object.lend(index)?;
            }
        }
        Ok(import)
    }
}

/// What addresses and lengths are multiples of, for memory that can be imported so at all.
fn alignment(gpu: &Gpu, buffer: &FrameBuffer) -> Result<u64, Refusal> {
    let context = &gpu.0;
    context.extensions.need(ash::ext::external_memory_host::NAME)?;
    if buffer.is_dmabuf() {
        return Err(Refusal::IsDmabuf);
    }
    linear(buffer.layout())?;
    Ok(context.host_alignment.max(1))
}

/// Fresh mappings of the distinct memfds, and which one each object is in.
fn memfds(
    context: &Context,
    buffer: &FrameBuffer,
    align: u64,
    what: Use,
    place: &mut ArrayVec<usize, 4>,
) -> Result<ArrayVec<HostPages, 4>, Refusal> {
    let (mut pages, mut seen) = (ArrayVec::<_, 4>::new(), ArrayVec::<_, 4>::new());
    for (index, object) in buffer.objects().iter().enumerate() {
        if let Some(same) = seen.iter().position(|id| *id == object.identity()) {
            place.push(same);
            continue;
        }
        let len = span(buffer, object, align);
        whole("length", len, align)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if what != Use::Reads && !object.is_writable() {
            return Err(Refusal::ReadOnly { object: index });
        }
        // Nothing is written by mapping it, so nothing is lent yet.
        let fd = memory::descriptor(context, object, index, Access::Read)?;
        let mapped = match HostPages::map(fd, len, object.is_writable()) {
            // Sealed against writing: what a peer that knows better sends.
            Err(rustix::io::Errno::PERM) if what == Use::Reads => HostPages::map(fd, len, false),
            other => other,
        };
        let mapped = mapped.map_err(|errno| match errno {
            rustix::io::Errno::PERM if what != Use::Reads => Refusal::ReadOnly { object: index },
            errno => Refusal::Frame(dmaframe_core::Error::Os {
                call: "mmap",
                object: "object",
                errno,
            }),
        })?;
        whole("address", mapped.start() as u64, align)?;
        place.push(pages.len());
        seen.push(object.identity());
        pages.push(mapped);
    }
    Ok(pages)
}

/// How much of a memfd the picture is in. All of it might be far more, and never have been written: the driver pins what
/// it is given, and a peer could have us pay for pages that it never had.
fn span(buffer: &FrameBuffer, object: &Object, align: u64) -> u64 {
    let page = rustix::param::page_size() as u64;
    let objects = buffer.objects().iter().enumerate();
    let same = objects.filter(|(_, other)| other.identity() == object.identity());
    let needed = same.map(|(index, _)| buffer.layout().object_len(index)).max();
    let needed = needed
        .unwrap_or(0)
        .max(1)
        .checked_next_multiple_of(align.max(page));
    // The last page is there to its end, so a length can be rounded up to whole pages, but not further.
    let most = object.size().next_multiple_of(page);
    needed.map_or(most, |needed| needed.min(most))
}

/// A frame's own bytes, if they happen to be whole pages.
fn bytes(frame: &Frame, align: u64) -> Result<HostPages, Refusal> {
    let layout = frame.layout();
    let (mut first, mut end) = (usize::MAX, 0usize);
    let view = frame.map_read(Deadline::now())?;
    for plane in 0..layout.planes().len() {
        let slice = view.plane(plane)?;
        let at = slice.as_ptr() as usize;
        let offset = usize::try_from(layout.planes()[plane].offset).unwrap_or(0);
        first = first.min(at - offset);
        end = end.max(at + slice.len());
    }
    let len = end - first;
    whole("address", first as u64, align)?;
    whole("length", len as u64, align)?;
    let start = NonNull::new(first as *mut u8).ok_or(Refusal::NotDmabuf)?;
    Ok(HostPages::bytes(start, len, Arc::clone(frame.buffer())))
}

/// `minImportedHostPointerAlignment`, which drivers need not check.
fn whole(what: &'static str, value: u64, alignment: u64) -> Result<(), Refusal> {
    if value % alignment == 0 {
        return Ok(());
    }
    Err(Refusal::HostAlignment {
        what,
        value,
        alignment,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_cannot_pin_is_refused_by_number() {
        assert_eq!(whole("length", 0x1_0000, 0x1_0000), Ok(()));
        let refused = whole("length", 0x1000, 0x1_0000).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "length 0x1000 is not a multiple of minImportedHostPointerAlignment (65536)"
        );
    }
}
