//! Recording.

use ash::vk;
use std::sync::Arc;

use dmaframe_core::{Access, Deadline, Error as FrameError, Fence, Frame, Layout, Waited};

use crate::error::{Error, Route};
use crate::formats;
use crate::import::{Barriers, BufferImport, ImageImport};
use crate::queue::{Hold, Queue, Slot};
use crate::sync;
use crate::sys::commands::{CommandBuffer, MAX_WAITS};
use crate::sys::image::PLANE_ASPECTS;
use crate::sys::semaphore::Semaphore;

/// A command buffer being recorded, in [`Queue::submit`].
///
/// The copies here take ownership of shared memory before and give it back after (FOREIGN barriers where the device has
/// them), are checked against their resources, and are ordered one after the other.
#[derive(Debug)]
pub struct Commands<'a> {
    queue: &'a Queue,
    slot: &'a mut Slot,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} held, {} waits", self.holds.len(), self.waits.len())
    }
}

impl<'a> Commands<'a> {
    pub(crate) fn new(queue: &'a Queue, slot: &'a mut Slot) -> Self {
        Self { queue, slot }
    }

    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.slot.commands.host_barrier();
        self.slot.commands.end()
    }

    /// The command buffer, for commands of the caller's own. What they use must be held: [`Self::hold`].
    #[must_use]
    pub fn raw(&self) -> vk::CommandBuffer {
        self.slot.commands.handle()
    }

    /// The work reads `frame`: the GPU waits for its fences, and the frame is held until the work is done.
    ///
    /// # Errors
    /// As [`Self::wait_for`] and [`sync::pending`].
    pub fn reads(&mut self, frame: &Frame) -> Result<(), Error> {
        self.uses(frame, Access::Read)
    }

    /// The work writes `frame`.
    ///
    /// # Errors
    /// As [`Self::reads`].
    pub fn writes(&mut self, frame: &Frame) -> Result<(), Error> {
        self.uses(frame, Access::Write)
    }

    fn uses(&mut self, frame: &Frame, access: Access) -> Result<(), Error> {
        self.wait_for(sync::pending(frame, access)?)?;
        self.slot.holds.push(Hold::Frame(frame.clone(), access));
        Ok(())
    }

    /// The GPU waits for `fence` before any of the work. Nothing for one that has signalled; up to 16 others.
    ///
    /// # Errors
    /// [`Error::Refused`] for a pending fence on a device without SYNC_FD semaphores: wait on the CPU there
    /// ([`sync::wait`]). [`Error::OutOfRange`], [`Error::Vk`], and [`Error::Frame`], with `FenceFailed` for one that has
    /// signalled with an error.
    pub fn wait_for(&mut self, fence: Fence) -> Result<(), Error> {
        if is_done_well(&fence)? {
            return Ok(());
        }
        self.context_of_queue()
            .need_sync_fd(false)
            .map_err(Error::refused(Route::Export))?;
        if self.slot.waits.len() >= MAX_WAITS {
            return Err(Error::OutOfRange {
                what: "fences of one submission",
                needed: MAX_WAITS as u64 + 1,
                limit: MAX_WAITS as u64,
            });
        }
        let Some(file) = fence.into_sync_file().map_err(|rejected| rejected.error)? else {
            return Ok(());
        };
        let semaphore = self.semaphore()?;
        semaphore.import(file.into())?;
        self.slot.waits.push(semaphore);
        Ok(())
    }

    /// Asks for the work's completion as a fence: [`Submission::fence`](crate::Submission::fence) gives it.
    ///
    /// # Errors
    /// [`Error::Refused`] on a device that exports no SYNC_FD, [`Error::Vk`].
    pub fn export_fence(&mut self) -> Result<(), Error> {
        if self.slot.signal.is_some() {
            return Ok(());
        }
        self.context_of_queue()
            .need_sync_fd(true)
            .map_err(Error::refused(Route::Export))?;
        let semaphore = self.semaphore()?;
        self.slot.signal = Some(semaphore);
        Ok(())
    }

    /// All are made for export, so that one kind serves for waiting and for signalling.
    fn semaphore(&self) -> Result<Semaphore, Error> {
        match self.queue.spare() {
            Some(semaphore) => Ok(semaphore),
            None => Semaphore::new(self.context_of_queue(), self.queue.can_export_fences()),
        }
    }

    fn context_of_queue(&self) -> &Arc<crate::sys::context::Context> {
        &self.queue.gpu().0
    }

    /// Keeps an import until the work is done: for those that the caller's own commands use.
    pub fn hold(&mut self, import: &Arc<BufferImport>) {
        self.slot.holds.push(Hold::Buffer(Arc::clone(import)));
    }

    /// [`Self::hold`] for images.
    pub fn hold_image(&mut self, import: &Arc<ImageImport>) {
        self.slot.holds.push(Hold::Image(Arc::clone(import)));
    }

    /// Copies a picture from one memory to another of the same format and size, plane by plane, whatever the strides.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for different formats or sizes, for imports of another device, for an import that is not
    /// to be written, or without the transfer usages.
    pub fn copy(&mut self, from: &Arc<BufferImport>, to: &Arc<BufferImport>) -> Result<(), Error> {
        self.same_picture(from.layout(), to.layout())?;
        self.same_device(from.context())?;
        self.same_device(to.context())?;
        usage(from, vk::BufferUsageFlags::TRANSFER_SRC)?;
        usage(to, vk::BufferUsageFlags::TRANSFER_DST)?;
        writable(to.access())?;
        self.hold(from);
        self.hold(to);
        record(
            &mut self.slot.commands,
            &from.acquire(vk::AccessFlags::TRANSFER_READ),
        );
        record(
            &mut self.slot.commands,
            &to.acquire(vk::AccessFlags::TRANSFER_WRITE),
        );
        for (source, target) in from.planes().iter().zip(to.planes()) {
            let (Some(read), Some(write)) = (from.handle(source.buffer), to.handle(target.buffer)) else {
                continue;
            };
            let row = |index: u64| vk::BufferCopy {
                src_offset: source.offset + index * u64::from(source.stride),
                dst_offset: target.offset + index * u64::from(target.stride),
                size: source.row_bytes,
            };
            if source.stride == target.stride && u64::from(source.stride) == source.row_bytes {
                let size = source.row_bytes * u64::from(source.rows);
                self.slot
                    .commands
                    .copy_buffer(read, write, &[vk::BufferCopy { size, ..row(0) }]);
            } else {
                let rows: Vec<_> = (0..u64::from(source.rows)).map(row).collect();
                self.slot.commands.copy_buffer(read, write, &rows);
            }
        }
        record(
            &mut self.slot.commands,
            &from.release(vk::AccessFlags::TRANSFER_READ),
        );
        record(
            &mut self.slot.commands,
            &to.release(vk::AccessFlags::TRANSFER_WRITE),
        );
        self.slot.commands.full_barrier();
        Ok(())
    }

    /// Copies a picture out of images into a buffer of the same format and size.
    ///
    /// # Errors
    /// As [`Self::copy`]; [`Error::Unsupported`] also when the buffer's stride or offset is not whole texels.
    pub fn copy_image(&mut self, from: &Arc<ImageImport>, to: &Arc<BufferImport>) -> Result<(), Error> {
        let regions = self.image_regions(from, to)?;
        image_usage(from, vk::ImageUsageFlags::TRANSFER_SRC)?;
        usage(to, vk::BufferUsageFlags::TRANSFER_DST)?;
        writable(to.access())?;
        self.hold_image(from);
        self.hold(to);
        let general = vk::ImageLayout::GENERAL;
        record(
            &mut self.slot.commands,
            &from.acquire(general, vk::AccessFlags::TRANSFER_READ),
        );
        record(
            &mut self.slot.commands,
            &to.acquire(vk::AccessFlags::TRANSFER_WRITE),
        );
        for (image, buffer, region) in regions {
            self.slot.commands.copy_image_to_buffer(image, buffer, &[region]);
        }
        record(
            &mut self.slot.commands,
            &from.release(general, vk::AccessFlags::TRANSFER_READ),
        );
        record(
            &mut self.slot.commands,
            &to.release(vk::AccessFlags::TRANSFER_WRITE),
        );
        self.slot.commands.full_barrier();
        Ok(())
    }

    /// Copies a picture from a buffer into images of the same format and size, overwriting them whole.
    ///
    /// # Errors
    /// As [`Self::copy_image`].
    pub fn copy_to_image(&mut self, from: &Arc<BufferImport>, to: &Arc<ImageImport>) -> Result<(), Error> {
        let regions = self.image_regions(to, from)?;
        image_usage(to, vk::ImageUsageFlags::TRANSFER_DST)?;
        usage(from, vk::BufferUsageFlags::TRANSFER_SRC)?;
        writable(to.access())?;
        self.hold_image(to);
        self.hold(from);
        let general = vk::ImageLayout::GENERAL;
        record(
            &mut self.slot.commands,
            &to.discard(general, vk::AccessFlags::TRANSFER_WRITE),
        );
        record(
            &mut self.slot.commands,
            &from.acquire(vk::AccessFlags::TRANSFER_READ),
        );
        for (image, buffer, region) in regions {
            self.slot.commands.copy_buffer_to_image(buffer, image, &[region]);
        }
        record(
            &mut self.slot.commands,
            &to.release(general, vk::AccessFlags::TRANSFER_WRITE),
        );
        record(
            &mut self.slot.commands,
            &from.release(vk::AccessFlags::TRANSFER_READ),
        );
        self.slot.commands.full_barrier();
        Ok(())
    }

    /// Fills images with one colour.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an image of sub-sampled pixels or of several planes, for one that is not to be written, and
    /// for one without the transfer usage.
    pub fn clear(&mut self, to: &Arc<ImageImport>, color: [f32; 4]) -> Result<(), Error> {
        self.same_device(to.context())?;
        writable(to.access())?;
        image_usage(to, vk::ImageUsageFlags::TRANSFER_DST)?;
        // VUID-vkCmdClearColorImage-image-01545.
        if to.images().iter().any(|image| formats::is_ycbcr(image.format())) {
            return Err(unsupported(
                "an image of whole pixels",
                "one of sub-sampled pixels or several planes",
            ));
        }
        self.hold_image(to);
        let general = vk::ImageLayout::GENERAL;
        record(
            &mut self.slot.commands,
            &to.discard(general, vk::AccessFlags::TRANSFER_WRITE),
        );
        for image in to.images() {
            self.slot.commands.clear(image.handle(), color);
        }
        record(
            &mut self.slot.commands,
            &to.release(general, vk::AccessFlags::TRANSFER_WRITE),
        );
        self.slot.commands.full_barrier();
        Ok(())
    }

    fn image_regions(
        &self,
        images: &Arc<ImageImport>,
        buffers: &Arc<BufferImport>,
    ) -> Result<Vec<(vk::Image, vk::Buffer, vk::BufferImageCopy)>, Error> {
        self.same_picture(images.layout(), buffers.layout())?;
        self.same_device(images.context())?;
        self.same_device(buffers.context())?;
        let info = images.layout().info();
        let mut regions = Vec::with_capacity(buffers.planes().len());
        for (index, plane) in buffers.planes().iter().enumerate() {
            let combined = images.images().len() == 1 && buffers.planes().len() > 1;
            let image = images.images().get(if combined { 0 } else { index });
            let (Some(image), Some(buffer)) = (image, buffers.handle(plane.buffer)) else {
                return Err(unsupported("an image for each plane", "fewer"));
            };
            let format = &info.planes()[index];
            let texel = u32::from(format.block_bytes);
            if plane.stride % texel != 0 || plane.offset % u64::from(texel) != 0 {
                return Err(unsupported("a stride and offset of whole texels", "others"));
            }
            let aspect = if combined {
                PLANE_ASPECTS[index]
            } else {
                vk::ImageAspectFlags::COLOR
            };
            let region = vk::BufferImageCopy {
                buffer_offset: plane.offset,
                buffer_row_length: plane.stride / texel * u32::from(format.block_width),
                buffer_image_height: 0,
                image_subresource: vk::ImageSubresourceLayers {
                    aspect_mask: aspect,
                    mip_level: 0,
                    base_array_layer: 0,
                    layer_count: 1,
                },
                image_offset: vk::Offset3D::default(),
                image_extent: vk::Extent3D {
                    width: images
                        .layout()
                        .size()
                        .width
                        .div_ceil(u32::from(format.h_sub.max(1))),
                    height: plane.rows,
                    depth: 1,
                },
            };
            regions.push((image.handle(), buffer, region));
        }
        Ok(regions)
    }

    fn same_picture(&self, a: &Layout, b: &Layout) -> Result<(), Error> {
        if a.fourcc() == b.fourcc() && a.size() == b.size() {
            return Ok(());
        }
        let found = format!("{} {} and {} {}", a.fourcc(), a.size(), b.fourcc(), b.size());
        Err(Error::Unsupported {
            what: "one format and size on both sides of a copy",
            found,
        })
    }

    fn same_device(&self, other: &Arc<crate::sys::context::Context>) -> Result<(), Error> {
        if Arc::ptr_eq(other, self.context_of_queue()) {
            return Ok(());
        }
        Err(unsupported(
            "an import of the queue's own device",
            "one of another device",
        ))
    }
}

fn record(commands: &mut CommandBuffer, barriers: &Barriers) {
    if !barriers.is_empty() {
        commands.barrier(&[], &barriers.buffers, &barriers.images);
    }
}

fn unsupported(what: &'static str, found: &str) -> Error {
    Error::Unsupported {
        what,
        found: found.into(),
    }
}

fn usage(import: &BufferImport, wanted: vk::BufferUsageFlags) -> Result<(), Error> {
    if import.usage().contains(wanted) {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: "a transfer usage of the buffer",
        found: format!("{:?}", import.usage()),
    })
}

fn image_usage(import: &ImageImport, wanted: vk::ImageUsageFlags) -> Result<(), Error> {
    if import.usage().contains(wanted) {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: "a transfer usage of the image",
        found: format!("{:?}", import.usage()),
    })
}

fn writable(access: Access) -> Result<(), Error> {
    match access {
        Access::Write => Ok(()),
        Access::Read => Err(unsupported("an import made for writing", "one made for reading")),
    }
}

/// Whether the work that a fence stands for is done.
///
/// # Errors
/// What the CPU is told that waits for it: the work has failed, and there is nothing good to be had of it.
pub(crate) fn is_done_well(fence: &Fence) -> Result<bool, Error> {
    if fence.is_trivial() {
        return Ok(true);
    }
    match fence.wait(Deadline::now())? {
        Waited::Signaled => Ok(true),
        Waited::TimedOut => Ok(false),
        Waited::Failed(errno) => Err(FrameError::FenceFailed { errno }.into()),
    }
}
