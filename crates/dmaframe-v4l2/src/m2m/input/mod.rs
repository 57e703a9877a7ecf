//! The queue of what goes in (OUTPUT, in V4L2's words).
//!
//! A frame's own dma-bufs are queued as they are when the driver reads exactly their layout; the slot keeps a clone of
//! the frame until the driver gives the buffer back, so that its producer does not fill it again. Everything else is
//! copied once into memory of ours, which the slot keeps.

mod fit;

use std::os::fd::AsFd;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_core::report::Hop;
use dmaframe_core::{
    Bitstream, Buffer, BufferId, Codec, Deadline, DeviceClaim, Fence, Frame, FrameMeta, Layout, MAX_PLANES,
    ReturnQueue, Size, WriteView,
};
use rustix::io::Errno;

use super::copy::{copy_picture, own_memory, wait_for};
use super::times::Micros;
use crate::device::{Device, Queue};
use crate::error::Error;
use crate::format::Format;
use crate::queue::{MAX_SLOTS, Slots, Source, carrier, codec_of, int, release, request};
use crate::sys;
use crate::sys::abi;

/// Where the driver reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputMemory {
    /// Dma-bufs of others.
    Import,
    /// The driver's own buffers, into which everything is copied.
    Driver,
}

#[derive(Debug, Default)]
struct Slot {
    with_driver: bool,
    /// Somebody's frame, until the driver gives the buffer back.
    held: Option<Frame>,
    /// Memory of ours, for copies.
    own: Option<Arc<Buffer>>,
    /// On it while the driver reads it.
    claim: Option<DeviceClaim>,
    /// Which buffer the driver has mapped for this index: queueing the same one again costs it nothing.
    mapped: Option<BufferId>,
}

#[derive(Debug)]
pub(super) struct Input {
    kind: u32,
    memory: InputMemory,
    format: Format,
    /// The size of what is shown, which coded sizes may exceed.
    size: Size,
    /// How the driver reads a buffer; of encoded formats one row.
    layout: Layout,
    codec: Option<Codec>,
    slots: ArrayVec<Slot, MAX_SLOTS>,
    /// Makes frames of our own memory without allocating.
    writing: Arc<ReturnQueue>,
    row: Vec<u8>,
    pub(super) hop: Arc<Hop>,
    streaming: bool,
}

impl Input {
    pub(super) fn allocate(
        device: &Device,
        format: Format,
        size: Size,
        memory: InputMemory,
        wanted: u32,
    ) -> Result<Self, Error> {
        let codec = codec_of(device, Queue::Output, &format)?;
        let layout = if codec.is_some() {
            let bytes = format
                .memory_planes()
                .first()
                .map_or(0, |plane| u64::from(plane.size));
            carrier(device.path(), &[bytes], &[])?
        } else {
            format.layout(device)?
        };
        let mut slots = ArrayVec::new();
        match memory {
            InputMemory::Import => {
                let granted = request(device, Queue::Output, abi::MEMORY_DMABUF, wanted)?;
                slots.extend((0..granted).map(|_| Slot::default()).take(MAX_SLOTS));
            }
            InputMemory::Driver => {
                let source = Source::Export { count: wanted };
                let generation = dmaframe_core::next_generation();
                let exported = Slots::allocate(device, Queue::Output, &format, &source, generation)?;
                slots.extend(exported.slots.iter().take(MAX_SLOTS).map(|slot| Slot {
                    own: Some(Arc::clone(slot.buffer())),
                    ..Slot::default()
                }));
            }
        }
        let writing = ReturnQueue::new(slots.len()).map_err(core(device))?;
        let hop = Hop::new(format!("{}(V4L2,OUTPUT)", device.capabilities().driver));
        Ok(Self {
            kind: device.buf_type(Queue::Output),
            memory,
            format,
            size,
            layout,
            codec,
            slots,
            writing,
            row: Vec::new(),
            hop,
            streaming: false,
        })
    }

    pub(super) fn format(&self) -> &Format {
        &self.format
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn with_driver(&self) -> usize {
        self.slots.iter().filter(|slot| slot.with_driver).count()
    }

    pub(super) fn stream_on(&mut self, device: &Device) -> Result<(), Error> {
        let mut kind = int(self.kind);
        sys::streamon(device.as_fd(), &mut kind).map_err(device.fail("VIDIOC_STREAMON"))?;
        self.streaming = true;
        Ok(())
    }

    /// Stops the queue; every frame the driver had is given up. A driver that would not be told may read on until the
    /// device is closed: it keeps them.
    pub(super) fn stream_off(&mut self, device: &Device) -> Result<(), Error> {
        let mut kind = int(self.kind);
        sys::streamoff(device.as_fd(), &mut kind).map_err(device.fail("VIDIOC_STREAMOFF"))?;
        self.streaming = false;
        for slot in &mut self.slots {
            (slot.with_driver, slot.held, slot.claim) = (false, None, None);
        }
        Ok(())
    }

    /// Gives the driver's buffers up, and with them its hold on imported memory: of a queue that has stopped.
    pub(super) fn free(&mut self, device: &Device) {
        let memory = match self.memory {
            InputMemory::Import => abi::MEMORY_DMABUF,
            InputMemory::Driver => abi::MEMORY_MMAP,
        };
        self.slots.clear();
        let _ = release(device, Queue::Output, memory);
    }

    /// Takes back what the driver has read. How many it could not make sense of.
    pub(super) fn reap(&mut self, device: &Device) -> Result<u64, Error> {
        let memory = match self.memory {
            InputMemory::Import => abi::MEMORY_DMABUF,
            InputMemory::Driver => abi::MEMORY_MMAP,
        };
        let mut errors = 0;
        while self.streaming && self.with_driver() > 0 {
            let info = match sys::dqbuf(device.as_fd(), self.kind, memory) {
                Ok(info) => info,
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(device.fail("VIDIOC_DQBUF")(errno)),
            };
            let limit = self.slots.len();
            let Some(slot) = self
                .slots
                .get_mut(info.index as usize)
                .filter(|slot| slot.with_driver)
            else {
                return Err(Error::BufferIndex {
                    device: device.path().to_owned(),
                    found: info.index,
                    limit,
                });
            };
            (slot.with_driver, slot.held, slot.claim) = (false, None, None);
            errors += u64::from(info.flags & abi::BUF_FLAG_ERROR != 0);
        }
        Ok(errors)
    }

    /// Whether a buffer is free.
    pub(super) fn has_room(&self) -> bool {
        self.slots.iter().any(|slot| !slot.with_driver)
    }

    /// A free slot: the one that has `id` mapped, else one that has nothing, else the longest unused by index.
    fn pick(&self, device: &Device, id: Option<BufferId>) -> Result<usize, Error> {
        let free = |wanted: &dyn Fn(&Slot) -> bool| {
            self.slots
                .iter()
                .position(|slot| !slot.with_driver && wanted(slot))
        };
        free(&|slot| id.is_some() && slot.mapped == id)
            .or_else(|| free(&|slot| id.is_some() && slot.mapped.is_none()))
            .or_else(|| free(&|slot| id.is_none() && slot.own.is_some()))
            .or_else(|| free(&|_| true))
            .ok_or_else(|| Error::Full {
                device: device.path().to_owned(),
                buffers: self.slots.len(),
            })
    }

    /// Queues a picture: its own memory if the driver reads that as it is, else a copy.
    ///
    /// Waits until `deadline` for the frame's fences, explicit and implicit: V4L2 itself waits for none.
    pub(super) fn queue_frame(
        &mut self,
        device: &Device,
        frame: &Frame,
        time: Micros,
        deadline: Deadline,
    ) -> Result<(), Error> {
        if self.codec.is_some() {
            return Err(self.mismatch(device, "a picture for a queue of encoded data".to_owned()));
        }
        self.check(device, frame)?;
        let Some(reason) = self.why_copy(frame) else {
            wait_for(frame, deadline).map_err(core(device))?;
            let index = self.pick(device, Some(frame.buffer_id()))?;
            self.qbuf(device, index, Some(frame), None, time)?;
            let slot = &mut self.slots[index];
            slot.held = Some(frame.clone());
            slot.mapped = Some(frame.buffer_id());
            self.hop.zero_copy();
            return Ok(());
        };
        let index = self.pick(device, None)?;
        self.write(device, index, |view, row| {
            copy_picture(frame, view, row, deadline)
        })?;
        self.queue_own(device, index, None, time)?;
        self.hop.cpu_copy(frame.layout().tight_len(), reason);
        Ok(())
    }

    /// Queues an access unit: its own memory if the driver can read that, else copied into the driver's or our memory.
    pub(super) fn queue_unit(
        &mut self,
        device: &Device,
        unit: &Bitstream,
        time: Micros,
        deadline: Deadline,
    ) -> Result<(), Error> {
        if self.codec != Some(unit.codec()) {
            let takes = self.format.pixel_format;
            return Err(self.mismatch(device, format!("{}, but the queue takes {takes}", unit.codec())));
        }
        let limit = self.layout.row_bytes(0);
        if unit.is_empty() || unit.len() > limit {
            return Err(Error::UnitSize {
                device: device.path().to_owned(),
                found: unit.len(),
                limit,
            });
        }
        let Some(reason) = self.why_copy_unit(unit.frame()) else {
            let carrier = unit.frame();
            wait_for(carrier, deadline).map_err(core(device))?;
            let index = self.pick(device, Some(carrier.buffer_id()))?;
            self.qbuf(device, index, Some(carrier), Some(unit.len()), time)?;
            let slot = &mut self.slots[index];
            slot.held = Some(carrier.clone());
            slot.mapped = Some(carrier.buffer_id());
            self.hop.zero_copy();
            return Ok(());
        };
        let index = self.pick(device, None)?;
        self.write(device, index, |view, _| {
            let from = unit.map_read(deadline)?;
            match from.bytes() {
                Ok(bytes) => view.row_mut(0, 0)?[..bytes.len()].copy_from_slice(bytes),
                Err(_) => {
                    let bytes = from.to_vec()?;
                    view.row_mut(0, 0)?[..bytes.len()].copy_from_slice(&bytes);
                }
            }
            Ok(())
        })?;
        self.queue_own(device, index, Some(unit.len()), time)?;
        self.hop.cpu_copy(unit.len() as u64, reason);
        Ok(())
    }

    /// Writes into a slot's own memory.
    fn write(
        &mut self,
        device: &Device,
        index: usize,
        fill: impl FnOnce(&mut WriteView<'_>, &mut Vec<u8>) -> Result<(), dmaframe_core::Error>,
    ) -> Result<(), Error> {
        let own = match &self.slots[index].own {
            Some(own) => Arc::clone(own),
            None => {
                let new = own_memory(device, &self.format, &self.layout)?;
                Arc::clone(self.slots[index].own.insert(new))
            }
        };
        let written = (|| {
            let mut frame = self
                .writing
                .frame(index, &own, FrameMeta::default(), Fence::signaled())?;
            fill(&mut frame.map_write(Deadline::NEVER)?, &mut self.row)
        })();
        // The slot's lease has run with the frame; nobody else had it.
        while self.writing.next().is_some() {}
        written.map_err(core(device))
    }

    fn queue_own(
        &mut self,
        device: &Device,
        index: usize,
        bytes: Option<usize>,
        time: Micros,
    ) -> Result<(), Error> {
        let Some(own) = self.slots[index].own.clone() else {
            return Err(core(device)(dmaframe_core::Error::OutOfRange {
                what: "slot without memory",
                index,
                limit: self.slots.len(),
            }));
        };
        let claim = own.claim_for_device().map_err(core(device))?;
        self.qbuf(device, index, None, bytes, time)?;
        let slot = &mut self.slots[index];
        slot.claim = Some(claim);
        slot.mapped = Some(own.id());
        Ok(())
    }

    /// `VIDIOC_QBUF` of a frame's memory, or of the slot's own.
    fn qbuf(
        &mut self,
        device: &Device,
        index: usize,
        frame: Option<&Frame>,
        bytes: Option<usize>,
        time: Micros,
    ) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        let buffer = frame.map(Frame::buffer).or(slot.own.as_ref());
        let mut planes = ArrayVec::<_, MAX_PLANES>::new();
        for (plane, memory) in self.format.memory_planes().iter().enumerate().take(MAX_PLANES) {
            let mut queued = sys::QueuedPlane {
                fd: None,
                length: memory.size,
                bytesused: bytes.map_or(memory.size, |bytes| u32::try_from(bytes).unwrap_or(u32::MAX)),
            };
            if let (InputMemory::Import, Some(buffer)) = (self.memory, buffer) {
                queued.fd = Some(sys::output_fd(buffer, plane).map_err(core(device))?);
                queued.length = u32::try_from(buffer.objects()[plane].size()).unwrap_or(u32::MAX);
            }
            planes.push(queued);
        }
        let (sec, usec) = time.split();
        let what = sys::Queueing {
            kind: self.kind,
            memory: match self.memory {
                InputMemory::Import => abi::MEMORY_DMABUF,
                InputMemory::Driver => abi::MEMORY_MMAP,
            },
            index: u32::try_from(index).unwrap_or(u32::MAX),
            planes: &planes,
            sec,
            usec,
        };
        sys::qbuf(device.as_fd(), what).map_err(|errno| match errno {
            Errno::FAULT | Errno::INVAL | Errno::NOMEM | Errno::IO if self.memory == InputMemory::Import => {
                Error::ImportRefused {
                    device: device.path().to_owned(),
                    buffer: index,
                    errno,
                }
            }
            errno => device.fail("VIDIOC_QBUF")(errno),
        })?;
        slot.with_driver = true;
        Ok(())
    }
}

pub(super) fn core(device: &Device) -> impl Fn(dmaframe_core::Error) -> Error + '_ {
    move |error| Error::Core {
        device: device.path().to_owned(),
        error,
    }
}
