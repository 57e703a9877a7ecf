//! The buffers of a stream: asking the driver for them, exporting or importing, queueing.

use std::os::fd::AsFd;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_core::{Buffer, Codec, Fourcc, Layout, MAX_PLANES, Modifier, Object, Plane, Size};
use rustix::io::Errno;

use crate::device::Device;
use crate::error::Error;
use crate::format::Format;
use crate::sys;
use crate::sys::abi::{self, Plain};

/// Where the memory comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// The driver's own buffers, so many of them, exported as dma-bufs.
    Export { count: u32 },
    /// The caller's buffers.
    Import { buffers: Vec<Arc<Buffer>> },
}

impl Source {
    pub(super) fn memory(&self) -> u32 {
        match self {
            Self::Export { .. } => abi::MEMORY_MMAP,
            Self::Import { .. } => abi::MEMORY_DMABUF,
        }
    }

    fn mode(&self) -> &'static str {
        match self {
            Self::Export { .. } => "MMAP",
            Self::Import { .. } => "DMABUF",
        }
    }
}

/// Who has a slot's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
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
enum Memory {
    Exported(sys::ExportedBuffer),
    Imported(Arc<Buffer>),
}

#[derive(Debug)]
pub(super) struct Slot {
    memory: Memory,
    pub(super) place: Place,
    /// Sizes of the memory planes for `VIDIOC_QBUF`; used for imported buffers only.
    lengths: ArrayVec<u32, MAX_PLANES>,
    /// Where the data begins in each memory plane, by the driver's last word.
    starts: [u32; MAX_PLANES],
}

impl Slot {
    pub(super) fn buffer(&self) -> &Arc<Buffer> {
        match &self.memory {
            Memory::Exported(exported) => exported.buffer(),
            Memory::Imported(buffer) => buffer,
        }
    }
}

/// The slots of one allocation, and what is being captured into them.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) slots: Vec<Slot>,
    kind: u32,
    memory: u32,
    /// `Some` for encoded formats.
    pub(super) codec: Option<Codec>,
    /// Bytes each memory plane of a whole picture has at least; 0 where that cannot be known (tiled, encoded).
    pub(super) needed: ArrayVec<u64, MAX_PLANES>,
}

impl Slots {
    /// Requests, exports or checks the buffers. Nothing is queued yet.
    pub(super) fn allocate(
        device: &Device,
        format: &Format,
        source: &Source,
        generation: u64,
    ) -> Result<Self, Error> {
        let codec = codec_of(device, format)?;
        let mut slots = Self {
            slots: Vec::new(),
            kind: device.buf_type(),
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
        let granted = request(device, source, wanted)?;
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
            let _ = release(device, source.memory());
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
                check_size(device, index as usize, plane, *size, u64::from(claimed.length))?;
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
        Ok(Slot { memory, place: Place::Home, lengths: ArrayVec::new(), starts: [0; MAX_PLANES] })
    }

    /// Checks that the caller's buffer is what the driver is going to write, to the byte: there is no way to tell the
    /// driver of another stride or offset.
    fn import(
        &self,
        device: &Device,
        format: &Format,
        index: usize,
        buffer: &Arc<Buffer>,
    ) -> Result<Slot, Error> {
        let differs = |reason: String| Error::BufferLayout {
            device: device.path().to_owned(),
            buffer: index,
            reason,
        };
        if self.codec.is_some() {
            return Err(differs(format!(
                "{} is encoded; import is for frames",
                format.pixel_format
            )));
        }
        if !buffer.is_dmabuf() {
            return Err(differs("it is no dma-buf".to_owned()));
        }
        let objects = buffer.objects();
        if objects.len() != format.memory_planes().len() {
            return Err(differs(format!(
                "{} memory objects, the driver writes {}",
                objects.len(),
                format.memory_planes().len()
            )));
        }
        let driver = format.layout(device)?;
        let (found, wanted) = (buffer.layout(), &driver);
        if (found.fourcc(), found.modifier(), found.size())
            != (wanted.fourcc(), wanted.modifier(), wanted.size())
        {
            return Err(differs(format!(
                "{} {} {}, the driver writes {} {} {}",
                found.fourcc(),
                found.size(),
                found.modifier(),
                wanted.fourcc(),
                wanted.size(),
                wanted.modifier()
            )));
        }
        if found.planes() != wanted.planes() {
            return Err(differs(format!(
                "planes {:?}, the driver writes {:?}",
                found.planes(),
                wanted.planes()
            )));
        }
        let mut lengths = ArrayVec::new();
        for (plane, (object, memory)) in objects.iter().zip(format.memory_planes()).enumerate() {
            check_size(device, index, plane, object.size(), u64::from(memory.size))?;
            lengths.push(u32::try_from(object.size()).unwrap_or(u32::MAX));
        }
        let memory = Memory::Imported(Arc::clone(buffer));
        Ok(Slot { memory, place: Place::Home, lengths, starts: [0; MAX_PLANES] })
    }

    fn layout(&self, device: &Device, format: &Format, sizes: &[u64], starts: &[u32]) -> Result<Layout, Error> {
        match self.codec {
            None => format.layout_at(device.path(), sizes, starts),
            Some(_) => carrier(device, sizes, starts),
        }
    }

    /// Follows the driver when it says that the data of a buffer begins elsewhere than last time (`data_offset`). In a
    /// steady stream it never does, and this only compares.
    pub(super) fn relay(&mut self, device: &Device, format: &Format, info: &sys::BufferInfo) -> Result<(), Error> {
        let index = info.index as usize;
        let starts: [u32; MAX_PLANES] = std::array::from_fn(|plane| info.planes[plane].data_offset);
        if self.slots[index].starts == starts {
            return Ok(());
        }
        let buffer = Arc::clone(self.slots[index].buffer());
        let sizes: ArrayVec<u64, MAX_PLANES> = buffer.objects().iter().map(|object| object.size()).collect();
        let layout = self.layout(device, format, &sizes, &starts)?;
        let failed = |error| Error::Core { device: device.path().to_owned(), error };
        let slot = &mut self.slots[index];
        slot.memory = match &slot.memory {
            Memory::Exported(exported) => Memory::Exported(exported.relaid(&layout).map_err(failed)?),
            Memory::Imported(_) => {
                let objects = buffer.objects().iter().cloned();
                let (fourcc, modifier, size) = (layout.fourcc(), layout.modifier(), layout.size());
                let generation = buffer.id().generation();
                let new = Buffer::new(fourcc, modifier, size, objects, layout.planes(), generation);
                Memory::Imported(Arc::new(new.map_err(failed)?))
            }
        };
        slot.starts = starts;
        Ok(())
    }

    /// Gives a slot's buffer to the driver.
    pub(super) fn queue(&mut self, device: &Device, index: usize) -> Result<(), Error> {
        let limit = self.slots.len();
        let Some(slot) = self.slots.get_mut(index) else {
            let found = u32::try_from(index).unwrap_or(u32::MAX);
            return Err(Error::BufferIndex {
                device: device.path().to_owned(),
                found,
                limit,
            });
        };
        let buffer = Arc::clone(slot.buffer());
        let mut planes = ArrayVec::<_, MAX_PLANES>::new();
        for (plane, length) in slot.lengths.iter().enumerate() {
            // Lent, not just passed: the driver writes, so CPU views of this memory must not hand out slices that the
            // caller's other handles of the buffer could keep meanwhile.
            let fd = lend(device, &buffer.objects()[plane], plane)?;
            planes.push((fd, *length));
        }
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        sys::qbuf(device.as_fd(), self.kind, self.memory, number, &planes)
            .map_err(device.fail("VIDIOC_QBUF"))?;
        slot.place = Place::Driver;
        Ok(())
    }

    /// The next filled buffer, checked to be one the driver has.
    pub(super) fn dequeue(&mut self, device: &Device) -> Result<Option<sys::BufferInfo>, Error> {
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
    pub(super) fn with_driver(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.place == Place::Driver)
            .count()
    }

    /// The driver gave everything back (`VIDIOC_STREAMOFF`).
    pub(super) fn all_home(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.place == Place::Driver) {
            slot.place = Place::Home;
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

fn lend<'a>(device: &Device, object: &'a Object, plane: usize) -> Result<std::os::fd::BorrowedFd<'a>, Error> {
    object.lend(plane).map_err(|error| Error::Core {
        device: device.path().to_owned(),
        error,
    })
}

fn check_size(device: &Device, buffer: usize, plane: usize, found: u64, needed: u64) -> Result<(), Error> {
    if found < needed {
        return Err(Error::BufferTooSmall {
            device: device.path().to_owned(),
            buffer,
            plane,
            found,
            needed,
        });
    }
    Ok(())
}

/// The codec of an encoded format: one this crate knows, or whatever the driver itself calls compressed.
fn codec_of(device: &Device, format: &Format) -> Result<Option<Codec>, Error> {
    if format.pixel_format.frame().is_some() {
        return Ok(None);
    }
    if let Some(codec) = format.pixel_format.codec() {
        return Ok(Some(codec));
    }
    let offered = device.formats()?;
    let compressed = offered
        .iter()
        .any(|offer| offer.pixel_format == format.pixel_format && offer.compressed);
    Ok(compressed.then_some(Codec(format.pixel_format.0)))
}

/// Encoded bytes as one row, which is how [`dmaframe_core::Bitstream`] carries them.
fn carrier(device: &Device, sizes: &[u64], starts: &[u32]) -> Result<Layout, Error> {
    let start = starts.first().copied().unwrap_or(0);
    let room = sizes.first().copied().unwrap_or(0).saturating_sub(start.into());
    let width = u32::try_from(room).unwrap_or(u32::MAX);
    let plane = Plane { object: 0, offset: start.into(), stride: width };
    Layout::check(Fourcc::R8, Modifier::LINEAR, Size::new(width, 1), &[plane], sizes)
        .map_err(|error| Error::Layout { device: device.path().to_owned(), error })
}

/// Bytes each object holds up to the last sample of the picture.
fn needed(layout: &Layout) -> ArrayVec<u64, MAX_PLANES> {
    let objects = layout
        .planes()
        .iter()
        .map(|plane| plane.object + 1)
        .max()
        .unwrap_or(0);
    let mut needed: ArrayVec<u64, MAX_PLANES> = std::iter::repeat_n(0, objects.min(MAX_PLANES)).collect();
    if !layout.modifier().is_linear() {
        return needed;
    }
    for (index, plane) in layout.planes().iter().enumerate() {
        let rows = u64::from(layout.rows(index)).saturating_sub(1);
        // The layout was checked: none of this overflows.
        let end = plane.offset + u64::from(plane.stride) * rows + layout.row_bytes(index) as u64;
        if let Some(entry) = needed.get_mut(plane.object) {
            *entry = (*entry).max(end);
        }
    }
    needed
}

/// `VIDIOC_REQBUFS`: how many the driver granted.
fn request(device: &Device, source: &Source, wanted: u32) -> Result<u32, Error> {
    let limit = abi::VIDEO_MAX_FRAME;
    let count_error = |found: u32, needed: u32| Error::BufferCount {
        device: device.path().to_owned(),
        found: found as usize,
        needed: needed as usize,
        limit: limit as usize,
    };
    if wanted == 0 || wanted > limit {
        return Err(count_error(wanted, 1));
    }
    let mut arg = abi::RequestBuffers {
        count: wanted,
        kind: device.buf_type(),
        memory: source.memory(),
        ..abi::RequestBuffers::zeroed()
    };
    let mode = |capabilities| Error::MemoryMode {
        device: device.path().to_owned(),
        mode: source.mode(),
        capabilities,
    };
    match sys::reqbufs(device.as_fd(), &mut arg) {
        Ok(()) => {}
        // What drivers without this memory mode answer.
        Err(Errno::INVAL) => {
            let supported = capabilities(device);
            let import = source.memory() == abi::MEMORY_DMABUF;
            // The driver may refuse for another reason; only blame the mode when it does not claim to have it.
            if import && supported & abi::BUF_CAP_SUPPORTS_DMABUF == 0 {
                return Err(mode(supported));
            }
            return Err(device.fail("VIDIOC_REQBUFS")(Errno::INVAL));
        }
        Err(errno) => return Err(device.fail("VIDIOC_REQBUFS")(errno)),
    }
    // An import needs a driver's buffer for each of the caller's; more do no harm. An export takes what there is.
    let needed = if source.memory() == abi::MEMORY_DMABUF {
        wanted
    } else {
        1
    };
    if arg.count < needed || arg.count > limit {
        let _ = release(device, source.memory());
        return Err(count_error(arg.count, needed));
    }
    Ok(arg.count)
}

/// `V4L2_BUF_CAP_*`, by asking for no MMAP buffers, which every driver allows; 0 where it does not say.
fn capabilities(device: &Device) -> u32 {
    let mut arg = abi::RequestBuffers {
        kind: device.buf_type(),
        memory: abi::MEMORY_MMAP,
        ..abi::RequestBuffers::zeroed()
    };
    if sys::reqbufs(device.as_fd(), &mut arg).is_ok() {
        arg.capabilities
    } else {
        0
    }
}

/// Gives all buffers back to the driver for good. Exported memory that frames still hold stays valid (Linux 4.20,
/// `V4L2_BUF_CAP_SUPPORTS_ORPHANED_BUFS`); older kernels answer [`Error::Busy`].
pub(super) fn release(device: &Device, memory: u32) -> Result<(), Error> {
    let mut arg = abi::RequestBuffers {
        kind: device.buf_type(),
        memory,
        ..abi::RequestBuffers::zeroed()
    };
    sys::reqbufs(device.as_fd(), &mut arg).map_err(device.fail("VIDIOC_REQBUFS"))
}
