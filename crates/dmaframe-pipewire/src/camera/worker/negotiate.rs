//! Settling on a format and making its buffers.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_alloc::{Allocator, Memfd, Request};
use dmaframe_core::negotiate::Pair;
use dmaframe_core::{Fourcc, Layout, Modifier, Size, TimelineDevice, next_generation};

use super::super::CameraEvent;
use super::super::pool::{Entry, Place, Sync};
use super::{Settled, Worker};
use crate::error::Error;
use crate::negotiate;
use crate::pod::{
    BuffersOffer, FormatOffer, MAX_BLOCKS, Modifiers, PodBuf, VideoFormat, data, gstreamers_planes,
    in_proportion,
};
use crate::sys::{NewData, Slot, Stream, data_flag};

/// Why none of a consumer's modifiers can be had.
struct Unmade {
    reasons: String,
    /// It will not be otherwise the next time.
    lasting: bool,
}

/// Whether there was not enough of something that comes back: memory, descriptors.
fn is_shortage(error: &dmaframe_alloc::Error) -> bool {
    use rustix::io::Errno;
    let passing = |errno: &Errno| {
        [
            Errno::NOMEM,
            Errno::MFILE,
            Errno::NFILE,
            Errno::INTR,
            Errno::AGAIN,
        ]
        .contains(errno)
    };
    match error {
        dmaframe_alloc::Error::OutOfMemory { .. } => true,
        dmaframe_alloc::Error::NoDriver { errno, .. } | dmaframe_alloc::Error::Os { errno, .. } => {
            passing(errno)
        }
        dmaframe_alloc::Error::Core(dmaframe_core::Error::Os { errno, .. }) => passing(errno),
        dmaframe_alloc::Error::NoAllocator(verdict) => verdict
            .passed_over
            .iter()
            .any(|passed| is_shortage(&passed.reason)),
        _ => false,
    }
}

/// A buffer without memory goes to the other side all the same: it finds nothing in it.
pub(super) fn clear(stream: &Stream, slot: Slot) {
    for block in 0..stream.blocks(slot).len() {
        stream.set_data(slot, block, NewData::NONE);
    }
}

/// Rows as GStreamer has them by default.
fn shared_layout(fourcc: Fourcc, size: Size) -> Result<Layout, Error> {
    let linear = Layout::linear(fourcc, size, 4).map_err(dmaframe_core::Error::from)?;
    // At odd heights GStreamer has one row more, unused.
    let Some(own) = gstreamers_planes(fourcc, size) else {
        return Ok(linear);
    };
    let checked = Layout::check(fourcc, Modifier::LINEAR, size, &own.planes, &[own.len]);
    Ok(checked.map_err(dmaframe_core::Error::from)?)
}

/// How many blocks a picture is told in. Of dma-bufs, one for each plane. Of shared memory one for all, which many
/// consumers expect, where everybody finds the other planes by the first one's stride; at sizes at which they do not agree
/// about that, one for each plane.
fn blocks_of(layout: &Layout, dmabuf: bool) -> usize {
    let planes = layout.planes();
    let found = in_proportion(layout.fourcc(), layout.size(), 0, planes[0].stride);
    match !dmabuf && found.is_some_and(|found| found.as_slice() == planes) {
        true => 1,
        false => planes.len(),
    }
}

impl Worker {
    pub(super) fn timelines(&self) -> Option<&TimelineDevice> {
        negotiate::timelines(self.config.timelines.as_ref(), self.version.get())
    }

    pub(super) fn offer(&self, fourcc: Fourcc) -> FormatOffer {
        FormatOffer::new(fourcc, self.picture.borrow().1)
            .framerate(self.config.framerate)
            .color(self.config.color)
    }

    pub(super) fn offers(&self) -> Vec<PodBuf> {
        let set = self.picture.borrow().0.clone();
        let mut makeable = set.clone();
        for pair in self.unmakeable.borrow().iter() {
            makeable.remove(*pair);
        }
        let (mut offers, _) = FormatOffer::of_set(&makeable, false, |fourcc| self.offer(fourcc));
        if self.config.shared_memory {
            // Also of what no dma-buf can be made in.
            let (all, _) = FormatOffer::of_set(&set, true, |fourcc| self.offer(fourcc));
            offers.extend(all.into_iter().filter(|offer| !offer.has_modifiers()));
        }
        offers.iter().map(FormatOffer::to_pod).collect()
    }

    /// Chooses from a consumer's modifiers by making one buffer, and announces the choice before the old offers.
    pub(super) fn fixate(
        &self,
        stream: &Stream,
        format: &VideoFormat,
        list: &[Modifier],
    ) -> Result<(), Error> {
        let chosen = self.try_modifiers(format, list);
        let mut params = Vec::new();
        let refused = match chosen {
            Ok(modifier) => {
                params.push(self.offer(format.fourcc).fixed(modifier).to_pod());
                None
            }
            Err(Unmade { reasons, lasting }) => {
                if !lasting {
                    // It may work for the next consumer. This one is told: it would be asked the same again and again.
                    return Err(Error::NoModifier { reasons });
                }
                // What cannot be made is not offered again: the consumer gets another format, or shared memory.
                self.unmakeable
                    .borrow_mut()
                    .extend(list.iter().map(|modifier| Pair {
                        fourcc: format.fourcc,
                        modifier: *modifier,
                    }));
                Some(Error::NoModifier { reasons })
            }
        };
        params.extend(self.offers());
        if let Some(error) = refused {
            self.shared
                .hop
                .dropped("a consumer takes only modifiers that cannot be made here");
            if params.is_empty() {
                return Err(error);
            }
            self.shared.tell(CameraEvent::Refused(error));
        }
        stream.update_params(&params)
    }

    fn try_modifiers(&self, format: &VideoFormat, list: &[Modifier]) -> Result<Modifier, Unmade> {
        if let Some(buffer) = self.import.borrow().first() {
            let own = buffer.layout().modifier();
            return match list.contains(&own) {
                true => Ok(own),
                false => Err(Unmade {
                    reasons: format!("the imported buffers are {own}"),
                    lasting: true,
                }),
            };
        }
        let mut lasting = true;
        let explicit: Vec<_> = list.iter().copied().filter(|m| !m.is_implicit()).collect();
        let mut reasons = Vec::new();
        let mut attempt = |modifiers: Vec<Modifier>| {
            let names: Vec<_> = modifiers.iter().map(Modifier::to_string).collect();
            let request = Request::new(format.fourcc, format.size).modifiers(modifiers);
            let made = self.config.allocator.plan(&request);
            let made = made.and_then(|layout| {
                self.config
                    .allocator
                    .allocate(&layout, 0)
                    .map(|_| layout.modifier())
            });
            made.map_err(|error| {
                lasting &= !is_shortage(&error);
                reasons.push(format!("{} {}: {error}", format.fourcc, names.join(", ")));
            })
            .ok()
        };
        let mut found = None;
        if !explicit.is_empty() {
            found = attempt(explicit);
        }
        if found.is_none() && list.contains(&Modifier::INVALID) {
            found = attempt(vec![Modifier::INVALID]);
        }
        found.ok_or_else(|| Unmade {
            reasons: reasons.join("; "),
            lasting,
        })
    }

    /// The layout of buffers for a format that is final.
    pub(super) fn settle(&self, format: VideoFormat) -> Result<Settled, Error> {
        let fourcc = format.fourcc;
        let import = self.import.borrow();
        let (layout, dmabuf, imported) = match (&format.modifiers, import.first()) {
            (Modifiers::Fixed(_), Some(first)) => (first.layout().clone(), true, true),
            (Modifiers::Fixed(modifier), None) => {
                let request = Request::new(fourcc, format.size).modifiers([*modifier]);
                (self.config.allocator.plan(&request)?, true, false)
            }
            _ => {
                let layout = shared_layout(fourcc, format.size)?;
                (layout, false, false)
            }
        };
        Ok(Settled {
            format,
            generation: next_generation(),
            dmabuf,
            imported,
            blocks: blocks_of(&layout, dmabuf),
            layout,
            timelines: Vec::new(),
        })
    }

    pub(super) fn buffer_params(&self, settled: &Settled) -> Vec<PodBuf> {
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let blocks = number(settled.blocks as u64);
        let count = match settled.imported {
            true => number(self.import.borrow().len() as u64).min(32),
            false => self.config.buffers,
        };
        let plain = BuffersOffer {
            count: (count, 2.min(count), count),
            blocks: Some(blocks),
            size: Some((
                number(settled.layout.object_len(0)),
                settled.layout.planes().first().map_or(0, |p| p.stride),
            )),
            types: 1
                << if settled.dmabuf {
                    data::DMA_BUF
                } else {
                    data::MEM_FD
                },
            with_meta: None,
        };
        let explicit = settled.dmabuf && self.timelines().is_some();
        negotiate::buffer_params(plain, explicit, self.version.get())
    }

    /// Makes the memory of one buffer.
    pub(super) fn add(
        &self,
        stream: &Stream,
        slot: Slot,
        settled: &mut Settled,
        index: usize,
    ) -> Result<Entry, Error> {
        let made = self.make(stream, slot, settled, index);
        if made.is_err() {
            clear(stream, slot);
        }
        made
    }

    fn make(&self, stream: &Stream, slot: Slot, settled: &mut Settled, index: usize) -> Result<Entry, Error> {
        let kind = if settled.dmabuf {
            data::DMA_BUF
        } else {
            data::MEM_FD
        };
        let wanted = stream.wanted_types(slot);
        if wanted & (1 << kind) == 0 {
            let kind = if settled.dmabuf { "dma-bufs" } else { "memfds" };
            return Err(Error::Memory { wanted, kind });
        }
        let buffer = if settled.imported {
            let import = self.import.borrow();
            Arc::clone(import.get(index).ok_or(Error::Imported)?)
        } else if settled.dmabuf {
            let allocator = &self.config.allocator;
            Arc::new(allocator.allocate(&settled.layout, settled.generation)?)
        } else {
            Arc::new(Memfd::new().allocate(&settled.layout, settled.generation)?)
        };
        // Everything that can fail first: what is written into the stream's buffer goes to another process, and has to stay
        // open until the buffer is removed.
        let mappable = if settled.dmabuf { 0 } else { data_flag::MAPPABLE };
        let mut blocks = ArrayVec::<NewData, MAX_BLOCKS>::new();
        for plane in settled.layout.planes().iter().take(settled.blocks) {
            // Consumers have the memory from now on: views of it copy rows.
            let object = buffer.objects().get(plane.object).ok_or(Error::Imported)?;
            blocks.push(NewData {
                kind,
                flags: data_flag::READWRITE | mappable,
                fd: object.lend(plane.object)?.as_raw_fd(),
                size: u32::try_from(object.size()).unwrap_or(u32::MAX),
            });
        }
        let mut sync = None;
        let mut exported = Vec::new();
        let offered = stream.blocks(slot).len();
        if let Some(device) = self
            .timelines()
            .filter(|_| offered == settled.blocks + 2 && stream.sync_points(slot).is_some())
        {
            let (acquire, release) = (device.create()?, device.create()?);
            for timeline in [&acquire, &release] {
                let fd = timeline.export()?;
                blocks.push(NewData {
                    kind: data::SYNC_OBJ,
                    flags: data_flag::READWRITE,
                    fd: fd.as_raw_fd(),
                    size: 0,
                });
                exported.push(fd);
            }
            sync = Some(Sync {
                acquire,
                release,
                point: 0,
            });
        }
        settled.timelines.append(&mut exported);
        for (block, new) in blocks.into_iter().enumerate() {
            stream.set_data(slot, block, new);
        }
        Ok(Entry {
            slot,
            buffer,
            place: Place::Fresh,
            sync,
            foreign: false,
        })
    }
}
