//! What a pool is made of: the best memory that can be had.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use dmaframe_core::report::Hop;
use dmaframe_core::{Budget, Buffer, ColorInfo, Fourcc, ReturnQueue, Size, Starvation, next_generation};

use super::super::scope::scoped;
use super::super::{Gpu, texture};
use super::slot::{Makings, Slot};
use super::wait::State;
use super::writer::Writer;
use super::{ExportPool, Inner};
use crate::Error;
use crate::export::{ExportMemory, PassedOver, Plan, left_out};

/// What a pool is to be like; made by [`ExportPool::builder`].
#[derive(Debug)]
#[must_use = "nothing is allocated before ExportBuilder::build"]
pub struct ExportBuilder {
    gpu: Gpu,
    fourcc: Fourcc,
    size: Size,
    color: ColorInfo,
    slots: usize,
    buffers: Option<Vec<Arc<Buffer>>>,
    budget: Budget,
    off: Vec<ExportMemory>,
}

impl ExportBuilder {
    pub(super) fn new(gpu: &Gpu, fourcc: Fourcc, size: Size) -> Self {
        Self {
            gpu: gpu.clone(),
            fourcc,
            size,
            color: ColorInfo::UNSPECIFIED,
            slots: 4,
            buffers: None,
            budget: Budget {
                min_free: 0,
                policy: Starvation::Drop,
            },
            off: Vec::new(),
        }
    }

    /// Matrix, range and chroma siting that YUV formats are written with, and what frames say about their colour. What
    /// it leaves open: BT.709 from 1280 columns or 577 rows on and BT.601 below, limited range, centred chroma.
    pub fn color(mut self, color: ColorInfo) -> Self {
        self.color = color;
        self
    }

    /// How many pictures can be out at once; 4 unless said otherwise.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Memory from elsewhere, one linear buffer in one object for each slot: an allocator's, a display's, an encoder's.
    /// Dma-bufs are written by the GPU, and memfds where it can be given pages (a device of `open_device`); what it cannot
    /// write is written by the CPU. Without this the driver allocates, or memfds are made.
    pub fn buffers(mut self, buffers: impl IntoIterator<Item = Arc<Buffer>>) -> Self {
        self.buffers = Some(buffers.into_iter().collect());
        self
    }

    /// What happens when consumers hold nearly all slots. Unless said otherwise they may hold all of them, and then
    /// there is no target ([`Error::Starved`]). With [`Starvation::Detach`] the last `min_free` slots go out as copies
    /// in CPU memory.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Switches a kind of memory off: to find out what a fallback does.
    pub fn without(mut self, memory: ExportMemory) -> Self {
        self.off.push(memory);
        self
    }

    /// Switches off what the environment variable `DMAFRAME_EXPORT` names, if it is set: `-dmabuf` (or `-exported`,
    /// `-imported`), `-host`, `-readback`, parted by commas. For finding out on a user's machine whether a kind of memory is what is wrong.
    ///
    /// # Errors
    /// [`Error::ExportNames`] when the variable's text is not such a list.
    pub fn env(mut self) -> Result<Self, Error> {
        if let Some(text) = std::env::var_os("DMAFRAME_EXPORT") {
            let text = text.to_string_lossy().into_owned();
            self.off
                .extend(left_out(&text).ok_or(Error::ExportNames { text })?);
        }
        Ok(self)
    }

    /// Allocates and imports.
    ///
    /// # Errors
    /// [`Error::ExportFormat`], [`Error::ExportMatrix`], [`Error::NoExportMemory`] with every reason, [`Error::Frame`];
    /// [`Error::Vulkan`] with [`Refusal::TooLarge`](crate::Refusal::TooLarge) when the device has no textures of that size.
    pub fn build(self) -> Result<ExportPool, Error> {
        let plan = Plan::new(self.fourcc, self.size, self.color)?;
        // Also what refuses sizes of 0.
        plan.layout()?;
        texture::fits(self.gpu.device(), self.size)?;
        let makings = Makings {
            gpu: &self.gpu,
            plan: &plan,
            fourcc: self.fourcc,
            size: self.size,
            generation: next_generation(),
        };
        let mut passed_over = Vec::new();
        let (memory, slots) = self.memory(&makings, &mut passed_over)?;
        let writer = scoped(self.gpu.device(), "Device::create_compute_pipeline", || {
            Writer::new(self.gpu.device(), &plan)
        })?;
        let queue = ReturnQueue::new(slots.len())?;
        Ok(ExportPool(Arc::new(Inner {
            fourcc: self.fourcc,
            size: self.size,
            writer,
            state: Mutex::new(State::new(slots.len())),
            slots,
            hop: Hop::new(format!("export {} ({memory})", self.fourcc)),
            memory,
            passed_over,
            queue,
            budget: self.budget,
            plan,
            gpu: self.gpu,
            shared: AtomicU64::new(0),
            detached: AtomicU64::new(0),
        })))
    }

    /// The first kind of memory that all slots can be had in.
    fn memory(
        &self,
        makings: &Makings<'_>,
        passed_over: &mut Vec<PassedOver>,
    ) -> Result<(ExportMemory, Vec<Slot>), Error> {
        let kinds: &[ExportMemory] = match self.buffers {
            Some(_) => &[
                ExportMemory::Imported,
                ExportMemory::HostPointer,
                ExportMemory::Readback,
            ],
            None => &[
                ExportMemory::Exported,
                ExportMemory::HostPointer,
                ExportMemory::Readback,
            ],
        };
        let count = self.buffers.as_ref().map_or(self.slots, Vec::len);
        if count == 0 {
            return Err(Error::NoSlots);
        }
        for &memory in kinds {
            if self.off.contains(&memory) {
                let reason = "switched off".to_owned();
                passed_over.push(PassedOver { memory, reason });
                continue;
            }
            let slots = (0..count).map(|index| {
                let given = self.buffers.as_ref().and_then(|list| list.get(index));
                match (memory, given) {
                    (ExportMemory::Imported, Some(buffer)) => {
                        let claim = buffer.claim_for_device().map_err(|e| e.to_string())?;
                        makings.imported(&claim)
                    }
                    (ExportMemory::Exported, _) => makings.exported(),
                    (ExportMemory::HostPointer, given) => makings.pages(given.cloned()),
                    (_, given) => makings.readback(given.cloned()),
                }
            });
            let made = scoped(self.gpu.device(), "Device::create_buffer", || {
                slots.collect::<Result<Vec<_>, String>>()
            });
            match made.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(slots) => return Ok((memory, slots)),
                Err(reason) => passed_over.push(PassedOver { memory, reason }),
            }
        }
        Err(Error::NoExportMemory(std::mem::take(passed_over)))
    }
}
