//! What a device makes for others.

use std::sync::Arc;

use super::super::allocators::SIZE;
use super::super::report::Attempt;
use super::{Bench, words};
use crate::alloc::{Allocator, Memfd, Request};
use crate::vulkan::ash::vk;
use crate::vulkan::{BufferImport, Upload, export};
use crate::{Buffer, Fence, Fourcc, Frame, FrameMeta, Lease, Modifier, next_generation};

/// What is said of memory that a device copies into and others map, where it exports no dma-buf.
pub(in super::super) const PAGES: &str = "NV12 into a memfd's pages";

impl Bench<'_> {
    /// What the device makes for others: a buffer whose bytes the CPU reads back, an image, a fence. Where it exports neither,
    /// what an export pool does then.
    pub(super) fn exports(&self) -> (Vec<Attempt>, Attempt) {
        let mut exports = vec![
            Attempt::of("NV12 buffer", self.export_buffer()),
            Attempt::of("XRGB8888 image", self.export_image()),
        ];
        if exports.iter().all(|attempt| !attempt.works) {
            exports.push(Attempt::of(PAGES, self.export_pages()));
        }
        (exports, Attempt::of("fence of submitted work", self.fence()))
    }

    /// A sync_file of submitted work, waited for.
    fn fence(&self) -> Result<String, String> {
        if !self.queue.can_export_fences() {
            return Err("the driver gives no sync_file (SYNC_FD)".to_owned());
        }
        let patience = self.patience * 5;
        let text = words;
        let mut work = self
            .queue
            .submit(patience, |commands| commands.export_fence())
            .map_err(text)?;
        let waited = work
            .fence()
            .map_err(text)?
            .wait(patience)
            .map_err(|error| error.to_string())?;
        match waited.is_signaled() {
            true => Ok("a sync_file, which signalled".to_owned()),
            false => Err(format!("the sync_file of finished work is {waited:?}")),
        }
    }

    /// Writes a picture into memory of the device's making, and reads it there.
    fn filled(
        &self,
        target: &Arc<BufferImport>,
        frame: impl FnOnce() -> Result<Frame, crate::Error>,
    ) -> Result<(), String> {
        let gpu = self.importer.gpu();
        let picture: Vec<u8> = (0..u64::from(SIZE.width * SIZE.height) * 3 / 2)
            .map(|i| (i * 11) as u8)
            .collect();
        let layout = crate::Layout::tight(Fourcc::NV12, SIZE).map_err(|error| error.to_string())?;
        let source = Frame::from_bytes(picture.clone(), &layout, FrameMeta::default());
        let source = source.map_err(|error| error.to_string())?;
        let upload = Upload::new(gpu, Fourcc::NV12, SIZE, 1).map_err(words)?;
        let staged: Arc<BufferImport> = upload.stage(&source, self.patience).map_err(words)?;
        self.run(|commands| commands.copy(&staged, target))
            .map_err(words)?;
        match frame().and_then(|frame| frame.map_read(self.patience)?.to_tight()) {
            Ok(bytes) if bytes == picture => Ok(()),
            Ok(_) => Err("the CPU read other bytes than the device had written".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn export_buffer(&self) -> Result<String, String> {
        let usage = vk::BufferUsageFlags::TRANSFER_DST;
        let exported = export::buffer(self.importer.gpu(), Fourcc::NV12, SIZE, usage, next_generation());
        let exported = exported.map_err(words)?;
        let exporter = exported
            .buffer
            .objects()
            .first()
            .and_then(|object| object.exporter());
        self.filled(&exported.import, || frame_of(exported.buffer))?;
        let exporter = exporter.unwrap_or_else(|| "an unnamed exporter".to_owned());
        Ok(format!("a dma-buf of {exporter}, read back by the CPU"))
    }

    fn export_pages(&self) -> Result<String, String> {
        let layout = crate::Layout::tight(Fourcc::NV12, SIZE).map_err(|error| error.to_string())?;
        let made = Memfd::new().allocate_set(&Request::exact(layout), 1, next_generation());
        let made = made.map_err(|error| error.to_string())?;
        let buffer = Arc::new(made.into_iter().next().ok_or("no memfd")?);
        let claim = buffer.claim_for_device().map_err(|error| error.to_string())?;
        let usage = vk::BufferUsageFlags::TRANSFER_DST;
        let pages = BufferImport::pages_for_writing(self.importer.gpu(), &claim, usage);
        let pages = Arc::new(pages.map_err(|refusal| refusal.to_string())?);
        self.filled(&pages, || {
            drop(claim);
            frame_of(buffer)
        })?;
        Ok("written by the device, read by the CPU".to_owned())
    }

    fn export_image(&self) -> Result<String, String> {
        let gpu = self.importer.gpu();
        let listed: Vec<_> = gpu
            .capabilities()
            .rendered()
            .modifiers(Fourcc::XRGB8888)
            .collect();
        let modifiers = if listed.is_empty() {
            vec![Modifier::LINEAR]
        } else {
            listed
        };
        let usage = vk::ImageUsageFlags::COLOR_ATTACHMENT | vk::ImageUsageFlags::TRANSFER_DST;
        let made = export::image(gpu, Fourcc::XRGB8888, SIZE, usage, &modifiers, next_generation())
            .map_err(words)?;
        self.run(|commands| commands.clear(&made.import, [1.0, 0.0, 0.0, 1.0]))
            .map_err(words)?;
        let layout = made.buffer.layout().clone();
        let told = format!(
            "{} in {} plane(s), cleared by the device",
            layout.modifier(),
            layout.planes().len()
        );
        if !layout.modifier().is_linear() {
            return Ok(told);
        }
        let read = frame_of(made.buffer).and_then(|frame| frame.map_read(self.patience)?.to_tight());
        match read {
            // Blue, green, red in memory.
            Ok(bytes) if bytes.chunks(4).all(|pixel| pixel[..3] == [0, 0, 255]) => {
                Ok(told + " and read by the CPU")
            }
            Ok(_) => Err("the CPU read other pixels than the device had written".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn frame_of(buffer: Arc<Buffer>) -> Result<Frame, crate::Error> {
    Frame::new(buffer, FrameMeta::default(), Fence::Signaled, Lease::none())
}
