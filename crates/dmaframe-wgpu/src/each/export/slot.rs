//! One slot: memory for frames, and what the shader needs to write it.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dmaframe_alloc::{Allocator, Memfd};
use dmaframe_core::{Buffer, DeviceClaim, Fourcc, Frame, Layout, Plane, Size};

use super::super::super::sys as version;
use super::super::sys::export::{self as sys, Pages, Shared};
use super::super::{Gpu, texture, wgpu};
use super::writer::Writer;
use crate::Error;
use crate::export::Plan;

/// One slot of a pool.
pub(super) struct Slot {
    /// What frames are made of.
    pub(super) buffer: Arc<Buffer>,
    place: Place,
    uniforms: wgpu::Buffer,
    kept: Mutex<Kept>,
}

/// Where the shader writes.
enum Place {
    /// Into the frame's own memory.
    Shared(Shared),
    /// Into the GPU's memory, from where the GPU copies it into the frame's.
    Pages(Pages),
    /// Into the GPU's memory, from where it is copied into `staging`, and by the CPU into the frame.
    Readback {
        words: wgpu::Buffer,
        staging: wgpu::Buffer,
        layout: Layout,
    },
}

/// Made when it is first asked for, and kept.
#[derive(Default)]
struct Kept {
    texture: Option<wgpu::Texture>,
    view: Option<wgpu::TextureView>,
    /// For the source of the last frame: most pools have one for each slot.
    group: Option<(wgpu::TextureView, wgpu::BindGroup)>,
}

/// What a slot is made with.
pub(super) struct Makings<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) plan: &'a Plan,
    pub(super) fourcc: Fourcc,
    pub(super) size: Size,
    pub(super) generation: u64,
}

impl Makings<'_> {
    fn vulkan(&self) -> Result<&dmaframe_vulkan::Gpu, String> {
        self.gpu
            .vulkan()
            .ok_or_else(|| "wgpu does not run on Vulkan here".to_owned())
    }

    fn slot(&self, buffer: Arc<Buffer>, place: Place, layout: &Layout, len: u64) -> Result<Slot, String> {
        let params = self.plan.params(layout, len)?;
        #[allow(
            clippy::unnecessary_cast,
            clippy::useless_conversion,
            reason = "32 bits on some versions"
        )]
        let limit = u64::from(self.gpu.device().limits().max_storage_buffer_binding_size);
        if len > limit {
            return Err(format!(
                "{len} bytes are past the device's max_storage_buffer_binding_size of {limit}"
            ));
        }
        Ok(Slot {
            buffer,
            place,
            uniforms: Writer::uniforms(self.gpu.device(), self.gpu.queue(), &params),
            kept: Mutex::default(),
        })
    }

    /// Memory of the driver's own.
    pub(super) fn exported(&self) -> Result<Slot, String> {
        let made = sys::exported(
            self.gpu.device(),
            self.vulkan()?,
            self.fourcc,
            self.size,
            self.generation,
        );
        let (shared, buffer) = made.map_err(|e| e.to_string())?;
        let (layout, len) = (buffer.layout().clone(), shared.buffer.size());
        self.slot(buffer, Place::Shared(shared), &layout, len)
    }

    /// A dma-buf from elsewhere.
    pub(super) fn imported(&self, claim: &DeviceClaim) -> Result<Slot, String> {
        let buffer = Arc::clone(claim.buffer());
        // Before the import, which turns the buffer's CPU views into copies for good.
        let len = buffer.objects().first().map_or(0, |object| object.size());
        self.plan.params(buffer.layout(), len)?;
        let shared = sys::imported(self.gpu.device(), self.vulkan()?, claim).map_err(|e| e.to_string())?;
        let (layout, len) = (buffer.layout().clone(), shared.buffer.size());
        self.slot(buffer, Place::Shared(shared), &layout, len)
    }

    /// A memfd that the GPU copies the result into: `buffer`, or one of the pool's own.
    pub(super) fn pages(&self, buffer: Option<Arc<Buffer>>) -> Result<Slot, String> {
        let vulkan = self.vulkan()?;
        sys::takes_pages(vulkan).map_err(|e| e.to_string())?;
        let buffer = match buffer {
            Some(buffer) => buffer,
            None => {
                // Rows as the CPU's vector code likes them; more would only be moved.
                let layout = Layout::linear(self.fourcc, self.size, 64).map_err(|e| e.to_string())?;
                let made = Memfd::new().allocate(&layout, self.generation);
                Arc::new(made.map_err(|e| e.to_string())?)
            }
        };
        let claim = buffer.claim_for_device().map_err(|e| e.to_string())?;
        let layout = buffer.layout().clone();
        let len = buffer.objects().first().map_or(0, |object| object.size());
        self.plan.params(&layout, len)?;
        let (from, end) = span(&layout);
        let pages = sys::pages(self.gpu, vulkan, &claim, (from, end)).map_err(|e| e.to_string())?;
        self.slot(buffer, Place::Pages(pages), &layout, end)
    }

    /// CPU memory that the result is copied into, by the CPU: `buffer`, or bytes of the pool's own.
    pub(super) fn readback(&self, buffer: Option<Arc<Buffer>>) -> Result<Slot, String> {
        let layout = self.plan.layout().map_err(|e| e.to_string())?;
        let len = layout.object_len(0);
        let buffer = match buffer {
            Some(buffer) if !buffer.is_private() => {
                return Err(
                    "the slot's memory came from outside, so that the CPU does not write it".to_owned(),
                );
            }
            Some(buffer) => buffer,
            None => {
                let bytes = usize::try_from(len).map_err(|e| e.to_string())?;
                let made = Buffer::from_bytes(vec![0; bytes].into(), &layout).map_err(|e| e.to_string())?;
                Arc::new(made.with_generation(self.generation))
            }
        };
        let make = |label, usage| {
            self.gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: len,
                usage,
                mapped_at_creation: false,
            })
        };
        let words = make(
            "export words",
            wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        );
        let staging = make(
            "export readback",
            wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        );
        let place = Place::Readback {
            words,
            staging,
            layout: layout.clone(),
        };
        self.slot(buffer, place, &layout, len)
    }
}

impl Slot {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot's own texture, to render into.
    pub(super) fn texture(&self, device: &wgpu::Device, size: Size) -> Result<wgpu::Texture, Error> {
        let mut kept = self.kept();
        if let Some(texture) = &kept.texture {
            return Ok(texture.clone());
        }
        let texture = texture::rgba(device, "export target", size, wgpu::TextureUsages::COPY_DST)?;
        kept.texture = Some(texture.clone());
        Ok(texture)
    }

    /// A view of [`Self::texture`].
    pub(super) fn view(&self, device: &wgpu::Device, size: Size) -> Result<wgpu::TextureView, Error> {
        let texture = self.texture(device, size)?;
        let mut kept = self.kept();
        if let Some(view) = &kept.view {
            return Ok(view.clone());
        }
        let view = texture::view(device, &texture)?;
        kept.view = Some(view.clone());
        Ok(view)
    }

    /// Records the writing of the slot.
    pub(super) fn record(
        &self,
        device: &wgpu::Device,
        writer: &Writer,
        encoder: &mut wgpu::CommandEncoder,
        source: &wgpu::TextureView,
    ) {
        let words = match &self.place {
            Place::Shared(shared) => &shared.buffer,
            Place::Pages(pages) => &pages.words,
            Place::Readback { words, .. } => words,
        };
        let mut kept = self.kept();
        if kept.group.as_ref().is_none_or(|(view, _)| view != source) {
            let group = writer.bind(device, &self.uniforms, source, words);
            kept.group = Some((source.clone(), group));
        }
        if let Some((_, group)) = &kept.group {
            writer.record(encoder, group);
        }
        if let Place::Readback { words, staging, .. } = &self.place {
            encoder.copy_buffer_to_buffer(words, 0, staging, 0, words.size());
        }
    }

    /// Lets go of the source of the last frame, which may be somebody's large texture.
    pub(super) fn forget_source(&self) {
        let mut kept = self.kept();
        let own = kept.view.clone();
        kept.group = kept.group.take().filter(|(view, _)| Some(view) == own.as_ref());
    }

    /// Commands to submit behind those that write the slot.
    pub(super) fn release(&self, gpu: &Gpu) -> Result<Vec<wgpu::CommandBuffer>, Error> {
        Ok(match &self.place {
            Place::Shared(shared) => sys::release(gpu, shared)?.into_iter().collect(),
            Place::Pages(pages) => sys::copy_out(gpu, pages)?.into(),
            Place::Readback { .. } => Vec::new(),
        })
    }

    /// What has to stay until they are done.
    pub(super) fn keep(&self) -> Vec<Box<dyn Any + Send>> {
        match &self.place {
            Place::Pages(pages) => vec![Box::new(Arc::clone(pages.import()))],
            Place::Shared(_) | Place::Readback { .. } => Vec::new(),
        }
    }

    /// What the CPU has to map when the work is done.
    pub(super) fn staging(&self) -> Option<&wgpu::Buffer> {
        match &self.place {
            Place::Readback { staging, .. } => Some(staging),
            Place::Shared(_) | Place::Pages(_) => None,
        }
    }

    /// Copies the staging memory, which is mapped, into a frame of the slot; unmaps it.
    pub(super) fn read_back(&self, frame: &mut Frame) -> Result<(), Error> {
        let Place::Readback { staging, layout, .. } = &self.place else {
            return Ok(());
        };
        let result = copy(staging, layout, frame);
        staging.unmap();
        result
    }
}

/// From the first plane's first byte to the end of the last word that the shader writes.
fn span(layout: &Layout) -> (u64, u64) {
    let planes = || layout.planes().iter().enumerate();
    let end = |index: usize, plane: &Plane| {
        let row = (layout.row_bytes(index) as u64).next_multiple_of(4);
        plane.offset + u64::from(plane.stride) * u64::from(layout.rows(index).saturating_sub(1)) + row
    };
    let from = planes().map(|(_, plane)| plane.offset).min();
    let end = planes().map(|(index, plane)| end(index, plane)).max();
    (from.unwrap_or(0), end.unwrap_or(0))
}

fn copy(staging: &wgpu::Buffer, layout: &Layout, frame: &mut Frame) -> Result<(), Error> {
    let mapped = version::mapped(staging).ok_or(Error::Lost)?;
    let mut view = frame.map_write(dmaframe_core::Deadline::now())?;
    for (index, plane) in layout.planes().iter().enumerate() {
        let from = usize::try_from(plane.offset).unwrap_or(usize::MAX);
        let rows = mapped.get(from..).unwrap_or(&[]).chunks(plane.stride as usize);
        for (row, bytes) in (0..layout.rows(index)).zip(rows) {
            view.write_row(index, row, bytes)?;
        }
    }
    Ok(())
}
