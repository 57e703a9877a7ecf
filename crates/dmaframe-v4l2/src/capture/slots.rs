//! The buffers of a stream: asking the driver for them, exporting or importing, queueing.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_core::{Buffer, Codec, DeviceClaim, Fourcc, Layout, MAX_PLANES, Modifier, Plane, Size};
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
    /// While the driver has the buffer, or we do on its behalf: nobody who kept a handle of it can make a frame of it.
    pub(super) claim: Option<DeviceClaim>,
    /// The same for handles of this memory with another layout, which are used no more.
    retired: ArrayVec<DeviceClaim, MAX_PLANES>,
}

impl Slot {
    fn new(memory: Memory, lengths: ArrayVec<u32, MAX_PLANES>) -> Self {
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
        Ok(Slot::new(memory, ArrayVec::new()))
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
        Ok(Slot::new(memory, lengths))
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
    pub(super) fn relay(
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
            planes.push((sys::import_fd(claim, plane).map_err(failed)?, *length));
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
fn carrier(device: &Path, sizes: &[u64], starts: &[u32]) -> Result<Layout, Error> {
    let start = starts.first().copied().unwrap_or(0);
    let room = sizes.first().copied().unwrap_or(0).saturating_sub(start.into());
    let width = u32::try_from(room).unwrap_or(u32::MAX);
    let plane = Plane {
        object: 0,
        offset: start.into(),
        stride: width,
    };
    let layout = Layout::check(Fourcc::R8, Modifier::LINEAR, Size::new(width, 1), &[plane], sizes);
    layout.map_err(|error| Error::Layout {
        device: device.to_owned(),
        error,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// No kernel driver that a test machine has captures encoded pictures (vicodec and visl are mem2mem), so this is as
    /// far as they can be tested without a webcam.
    #[test]
    fn encoded_bytes_are_one_row_behind_their_header() {
        let of = |size, start| carrier(Path::new("/dev/video-test"), &[size], &[start]);
        let layout = of(4096, 0).unwrap();
        assert_eq!(
            (layout.fourcc(), layout.row_bytes(0), layout.planes()[0].offset),
            (Fourcc::R8, 4096, 0)
        );
        let layout = of(4096, 128).unwrap();
        assert_eq!((layout.row_bytes(0), layout.planes()[0].offset), (3968, 128));
        assert!(of(4096, 4096).is_err() && of(4096, u32::MAX).is_err() && of(0, 0).is_err());
        assert_eq!(of(u64::MAX, 0).unwrap().row_bytes(0), u32::MAX as usize);
    }

    #[test]
    fn a_picture_is_whole_at_its_last_sample_not_at_its_last_padding() {
        let planes = [
            Plane {
                object: 0,
                offset: 0,
                stride: 704,
            },
            Plane {
                object: 0,
                offset: 704 * 360,
                stride: 704,
            },
        ];
        let (size, objects) = (Size::new(640, 360), [1 << 20]);
        let layout = Layout::check(Fourcc::NV12, Modifier::LINEAR, size, &planes, &objects).unwrap();
        assert_eq!(needed(&layout).as_slice(), [704 * 539 + 640]);
        let apart = [
            Plane {
                object: 0,
                offset: 0,
                stride: 640,
            },
            Plane {
                object: 1,
                offset: 64,
                stride: 640,
            },
        ];
        let layout =
            Layout::check(Fourcc::NV12, Modifier::LINEAR, size, &apart, &[1 << 20, 1 << 20]).unwrap();
        assert_eq!(needed(&layout).as_slice(), [640 * 360, 640 * 180 + 64]);
        let tiled = Modifier(0x0900_0000_0000_0001);
        let layout = Layout::check(Fourcc::NV12, tiled, size, &planes, &objects).unwrap();
        assert_eq!(
            needed(&layout).as_slice(),
            [0],
            "nobody knows where a tiled picture ends"
        );
    }
}
