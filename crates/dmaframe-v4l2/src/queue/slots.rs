//! The buffers of a stream: exporting or importing them, queueing and dequeueing.

use std::os::fd::AsFd;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_core::{Buffer, Codec, DeviceClaim, Layout, MAX_PLANES};

use rustix::io::Errno;

use super::extent::{carrier, needed};
use super::request::{Source, release, request};
use crate::device::{Device, Queue};
use crate::error::Error;
use crate::format::Format;
use crate::sys;

/// Who has a slot's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// We do: to be queued when the stream runs.
    Home,
    /// The driver, to be filled.
    Driver,
    /// A consumer, or on its way back.
    Out,
    /// Back, but a consumer's work on it goes on: waiting for its release fence.
    Fenced,
}

/// A slot's memory.
#[derive(Debug)]
pub(super) enum Memory {
    Exported(sys::ExportedBuffer),
    Imported(Arc<Buffer>),
}

#[derive(Debug)]
pub(crate) struct Slot {
    memory: Memory,
    pub(crate) place: Place,
    /// Sizes of the memory planes for `VIDIOC_QBUF`; used for imported buffers only.
    lengths: ArrayVec<u32, MAX_PLANES>,
    /// Where the data begins in each memory plane, by the driver's last word.
    starts: [u32; MAX_PLANES],
    /// While the driver has the buffer, or we do on its behalf: nobody who kept a handle of it can make a frame of it.
    pub(crate) claim: Option<DeviceClaim>,
    /// The same for handles of this memory with another layout, which are used no more.
    retired: ArrayVec<DeviceClaim, MAX_PLANES>,
}

impl Slot {
    pub(super) fn new(memory: Memory, lengths: ArrayVec<u32, MAX_PLANES>) -> Self {
        let starts = [0; MAX_PLANES];
        Self {
            memory,
            place: Place::Home,
            lengths,
            starts,
            claim: None,
            retired: ArrayVec::new(),
        }
    }

    pub(crate) fn buffer(&self) -> &Arc<Buffer> {
        match &self.memory {
            Memory::Exported(exported) => exported.buffer(),
            Memory::Imported(buffer) => buffer,
        }
    }
}

/// The slots of one allocation, and what is being captured into them.
#[derive(Debug)]
pub(crate) struct Slots {
    pub(crate) slots: Vec<Slot>,
    kind: u32,
    memory: u32,
    /// `Some` for encoded formats.
    pub(crate) codec: Option<Codec>,
    /// Bytes each memory plane of a whole picture has at least; 0 where that cannot be known (tiled, encoded).
    pub(crate) needed: ArrayVec<u64, MAX_PLANES>,
}

impl Slots {
    /// Requests, exports or checks the buffers. Nothing is queued yet.
    pub(crate) fn allocate(
        device: &Device,
        queue: Queue,
        format: &Format,
        source: &Source,
        generation: u64,
    ) -> Result<Self, Error> {
        let codec = codec_of(device, queue, format)?;
        let mut slots = Self {
            slots: Vec::new(),
            kind: device.buf_type(queue),
            memory: source.memory(),
            codec,
            needed: ArrayVec::new(),
        };
        // Before anything is allocated, so that a format nobody can describe is refused with the device untouched.
        if codec.is_none() {
            slots.needed = needed(&format.layout(device)?);
        } else if format.memory_planes().len() != 1 {
            return Err(Error::PlaneCount {
                device: device.path().to_owned(),
                format: format.pixel_format,
                found: format.memory_planes().len(),
                expected: 1,
            });
        }
        let wanted = match source {
            Source::Export { count } => *count,
            Source::Import { buffers } => u32::try_from(buffers.len()).unwrap_or(u32::MAX),
        };
        let granted = request(device, queue, source.memory(), wanted)?;
        let filled = match source {
            Source::Export { .. } => (0..granted).try_for_each(|index| {
                slots.slots.push(slots.export(device, format, index, generation)?);
                Ok(())
            }),
            Source::Import { buffers } => buffers.iter().enumerate().try_for_each(|(index, buffer)| {
                slots.slots.push(slots.import(device, format, index, buffer)?);
                Ok(())
            }),
        };
        if let Err(error) = filled {
            drop(slots);
            // The first error is the one to tell.
            let _ = release(device, queue, source.memory());
            return Err(error);
        }
        Ok(slots)
    }

    fn export(&self, device: &Device, format: &Format, index: u32, generation: u64) -> Result<Slot, Error> {
        let info = sys::querybuf(device.as_fd(), self.kind, self.memory, index)
            .map_err(device.fail("VIDIOC_QUERYBUF"))?;
        let expected = format.memory_planes().len();
        if info.plane_count != expected {
            return Err(Error::PlaneCount {
                device: device.path().to_owned(),
                format: format.pixel_format,
                found: info.plane_count,
                expected,
            });
        }
        let mut planes = ArrayVec::<_, MAX_PLANES>::new();
        for plane in 0..expected.min(MAX_PLANES) {
            let number = u32::try_from(plane).unwrap_or(u32::MAX);
            let exported =
                sys::expbuf(device.as_fd(), self.kind, index, number).map_err(|errno| match errno {
                    Errno::NOTTY => Error::MemoryMode {
                        device: device.path().to_owned(),
                        mode: "exportable",
                        capabilities: 0,
                    },
                    errno => device.fail("VIDIOC_EXPBUF")(errno),
                })?;
            planes.push(exported);
        }
        let layout = |sizes: &[u64]| {
            for (plane, (size, claimed)) in sizes.iter().zip(&info.planes).enumerate() {
                if *size < u64::from(claimed.length) {
                    return Err(Error::BufferTooSmall {
                        device: device.path().to_owned(),
                        buffer: index as usize,
                        plane,
                        found: *size,
                        needed: claimed.length.into(),
                    });
                }
            }
            self.layout(device, format, sizes, &[])
        };
        let failed = |error| match error {
            Failure::Ours(error) => error,
            Failure::Core(error) => Error::Core {
                device: device.path().to_owned(),
                error,
            },
        };
        let exported =
            sys::ExportedBuffer::new(planes, generation, |sizes| layout(sizes).map_err(Failure::Ours));
        let memory = Memory::Exported(exported.map_err(failed)?);
        Ok(Slot::new(memory, ArrayVec::new()))
    }

    fn layout(
        &self,
        device: &Device,
        format: &Format,
        sizes: &[u64],
        starts: &[u32],
    ) -> Result<Layout, Error> {
        match self.codec {
            None => format.layout_at(device.path(), sizes, starts),
            Some(_) => carrier(device.path(), sizes, starts),
        }
    }

    /// Follows the driver when it says that the data of a buffer begins elsewhere than last time (`data_offset`). In a
    /// steady stream it never does, and this only compares.
    pub(crate) fn relay(
        &mut self,
        device: &Device,
        format: &Format,
        info: &sys::BufferInfo,
    ) -> Result<(), Error> {
        let index = info.index as usize;
        let starts: [u32; MAX_PLANES] = std::array::from_fn(|plane| info.planes[plane].data_offset);
        if self.slots[index].starts == starts {
            return Ok(());
        }
        let buffer = Arc::clone(self.slots[index].buffer());
        let generation = buffer.id().generation();
        let sizes: ArrayVec<u64, MAX_PLANES> = buffer.objects().iter().map(|object| object.size()).collect();
        let layout = self.layout(device, format, &sizes, &starts)?;
        let failed = |error| Error::Core {
            device: device.path().to_owned(),
            error,
        };
        let slot = &mut self.slots[index];
        let memory = match &slot.memory {
            Memory::Exported(exported) if slot.retired.remaining_capacity() > 1 => {
                Memory::Exported(exported.relaid(&layout).map_err(failed)?)
            }
            // The caller's, or of a driver that says something else each time: a handle whose views copy, which does
            // not have to be kept from anybody later.
            _ => {
                let objects = buffer.objects().iter().cloned();
                let (fourcc, modifier, size) = (layout.fourcc(), layout.modifier(), layout.size());
                let new = Buffer::new(fourcc, modifier, size, objects, layout.planes(), generation);
                Memory::Imported(Arc::new(new.map_err(failed)?))
            }
        };
        slot.memory = memory;
        slot.starts = starts;
        let claim = slot.buffer().claim_for_device().map_err(failed)?;
        if let Some(old) = slot.claim.replace(claim) {
            // The last place is kept for the last private one, so only a copying handle can find it full.
            let _ = slot.retired.try_push(old);
        }
        Ok(())
    }

    /// Gives a slot's buffer to the driver.
    ///
    /// # Errors
    /// [`Error::Core`] with `InUse` when somebody who kept a handle of the buffer has made a frame of it.
    pub(crate) fn queue(&mut self, device: &Device, index: usize) -> Result<(), Error> {
        let limit = self.slots.len();
        let Some(slot) = self.slots.get_mut(index) else {
            let found = u32::try_from(index).unwrap_or(u32::MAX);
            return Err(Error::BufferIndex {
                device: device.path().to_owned(),
                found,
                limit,
            });
        };
        let failed = |error| Error::Core {
            device: device.path().to_owned(),
            error,
        };
        let claim = match slot.claim.take() {
            Some(claim) => claim,
            None => slot.buffer().claim_for_device().map_err(failed)?,
        };
        let claim = slot.claim.insert(claim);
        let mut planes = ArrayVec::<_, MAX_PLANES>::new();
        for (plane, length) in slot.lengths.iter().enumerate() {
            planes.push(sys::QueuedPlane {
                fd: Some(sys::import_fd(claim, plane).map_err(failed)?),
                length: *length,
                bytesused: 0,
            });
        }
        let what = sys::Queueing {
            kind: self.kind,
            memory: self.memory,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            planes: &planes,
            ..sys::Queueing::default()
        };
        sys::qbuf(device.as_fd(), what).map_err(|errno| match errno {
            Errno::FAULT | Errno::INVAL | Errno::NOMEM | Errno::IO if !planes.is_empty() => {
                Error::ImportRefused {
                    device: device.path().to_owned(),
                    buffer: index,
                    errno,
                }
            }
            errno => device.fail("VIDIOC_QBUF")(errno),
        })?;
        slot.place = Place::Driver;
        Ok(())
    }

    /// The next filled buffer, checked to be one the driver has.
    pub(crate) fn dequeue(&mut self, device: &Device) -> Result<Option<sys::BufferInfo>, Error> {
        let info = match sys::dqbuf(device.as_fd(), self.kind, self.memory) {
            Ok(info) => info,
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(device.fail("VIDIOC_DQBUF")(errno)),
        };
        let limit = self.slots.len();
        match self.slots.get_mut(info.index as usize) {
            Some(slot) if slot.place == Place::Driver => {
                slot.place = Place::Home;
                Ok(Some(info))
            }
            _ => Err(Error::BufferIndex {
                device: device.path().to_owned(),
                found: info.index,
                limit,
            }),
        }
    }

    /// How many buffers the driver has.
    pub(crate) fn with_driver(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.place == Place::Driver)
            .count()
    }

    /// The driver gave everything back (`VIDIOC_STREAMOFF` succeeded).
    pub(crate) fn all_home(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.place == Place::Driver) {
            slot.place = Place::Home;
            slot.claim = None;
        }
    }
}

/// An error of ours or of the core, for a closure that can meet both.
enum Failure {
    Ours(Error),
    Core(dmaframe_core::Error),
}

impl From<dmaframe_core::Error> for Failure {
    fn from(error: dmaframe_core::Error) -> Self {
        Self::Core(error)
    }
}

/// The codec of an encoded format: one this crate knows, or whatever the driver itself calls compressed.
pub(crate) fn codec_of(device: &Device, queue: Queue, format: &Format) -> Result<Option<Codec>, Error> {
    if format.pixel_format.frame().is_some() {
        return Ok(None);
    }
    if let Some(codec) = format.pixel_format.codec() {
        return Ok(Some(codec));
    }
    let offered = device.formats_of(queue)?;
    let compressed = offered
        .iter()
        .any(|offer| offer.pixel_format == format.pixel_format && offer.compressed);
    Ok(compressed.then_some(Codec(format.pixel_format.0)))
}
