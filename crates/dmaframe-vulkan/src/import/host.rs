//! CPU frames as buffers, without a copy: the device is given a pointer to their pages.
//!
//! For GPUs that import no dma-buf. Never over a dma-buf's own mapping: pinning the pages of a device mapping is what
//! real drivers refuse.

use std::ptr::NonNull;
use std::sync::Arc;

use arrayvec::ArrayVec;
use ash::vk;
use dmaframe_core::{Access, Deadline, Frame};

use super::buffer::{BufferImport, linear};
use crate::error::Refusal;
use crate::gpu::Gpu;
use crate::sys::context::Context;
use crate::sys::host::HostPages;
use crate::sys::memory;

impl BufferImport {
    /// The pages of a CPU frame.
    pub(crate) fn of_host(gpu: &Gpu, frame: &Frame, usage: vk::BufferUsageFlags) -> Result<Self, Refusal> {
        let context = &gpu.0;
        context.extensions.need(ash::ext::external_memory_host::NAME)?;
        let buffer = frame.buffer();
        if buffer.is_dmabuf() {
            return Err(Refusal::IsDmabuf);
        }
        linear(frame.layout())?;
        let align = context.host_alignment.max(1);
        let mut place = ArrayVec::<usize, 4>::new();
        let pages = if buffer.objects().is_empty() {
            place.push(0);
            [bytes(frame, align)?].into_iter().collect()
        } else {
            memfds(context, frame, align, &mut place)?
        };
        Self::of_pages(gpu, pages, &place, frame.layout(), usage, Access::Read)
    }
}

/// Fresh mappings of the distinct memfds, and which one each object is in.
fn memfds(
    context: &Context,
    frame: &Frame,
    align: u64,
    place: &mut ArrayVec<usize, 4>,
) -> Result<ArrayVec<HostPages, 4>, Refusal> {
    let (mut pages, mut seen) = (ArrayVec::<_, 4>::new(), ArrayVec::<_, 4>::new());
    for (index, object) in frame.buffer().objects().iter().enumerate() {
        if let Some(same) = seen.iter().position(|id| *id == object.identity()) {
            place.push(same);
            continue;
        }
        // The last page is there to its end, so a length can be rounded up to whole pages, but not further.
        let len = object.size().next_multiple_of(rustix::param::page_size() as u64);
        if len % align != 0 {
            return Err(Refusal::HostAlignment {
                what: "length",
                value: len,
                alignment: align,
            });
        }
        let fd = memory::descriptor(context, object, index, Access::Read)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let mapped = match HostPages::map(fd, len, object.is_writable()) {
            // Sealed against writing: what a peer that knows better sends.
            Err(rustix::io::Errno::PERM) => HostPages::map(fd, len, false),
            other => other,
        };
        let mapped = mapped.map_err(|errno| {
            Refusal::Frame(dmaframe_core::Error::Os {
                call: "mmap",
                object: "object",
                errno,
            })
        })?;
        aligned(mapped.start() as u64, align)?;
        place.push(pages.len());
        seen.push(object.identity());
        pages.push(mapped);
    }
    Ok(pages)
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
    aligned(first as u64, align)?;
    let len = end - first;
    if len as u64 % align != 0 {
        return Err(Refusal::HostAlignment {
            what: "length",
            value: len as u64,
            alignment: align,
        });
    }
    let start = NonNull::new(first as *mut u8).ok_or(Refusal::NotDmabuf)?;
    Ok(HostPages::bytes(start, len, Arc::clone(frame.buffer())))
}

fn aligned(address: u64, align: u64) -> Result<(), Refusal> {
    if address % align == 0 {
        return Ok(());
    }
    Err(Refusal::HostAlignment {
        what: "address",
        value: address,
        alignment: align,
    })
}
