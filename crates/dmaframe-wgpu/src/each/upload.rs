//! The last resort: the CPU copies the picture into memory of the device.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrayvec::ArrayVec;
use dmaframe_core::{Error as FrameError, Fourcc, Frame, Layout, Size};

use super::imported::{Kept, PlaneBuffer, Shared};
use super::importer::{Tried, fits};
use super::scope::scoped;
use super::{Gpu, Source, wgpu};
use crate::{Error, Refusal, Route};

/// Most kinds of pictures (format and size) that have memory at a time.
const KINDS: usize = 4;

/// Memory that pictures are copied into, kept from frame to frame.
#[derive(Debug)]
pub(super) struct Uploads {
    rings: Mutex<Vec<Ring>>,
    slots: usize,
}

/// For one format and size.
#[derive(Debug)]
struct Ring {
    layout: Layout,
    targets: Vec<Arc<Kept>>,
    tight: Vec<u8>,
    used: u64,
}

impl Uploads {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            rings: Mutex::new(Vec::new()),
            slots,
        }
    }

    pub(super) fn upload(&self, gpu: &Gpu, frame: &Frame, wait: Duration) -> Result<Tried, Error> {
        let view = match frame.map_read(wait) {
            Ok(view) => view,
            Err(FrameError::Timeout { what, .. }) => return Err(Error::Timeout { what, waited: wait }),
            Err(refusal) => return Ok(Tried::Refused(refusal.into())),
        };
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = match ring(&mut rings, frame.fourcc(), frame.layout().size()) {
            Ok(ring) => ring,
            Err(refusal) => return Ok(Tried::Refused(refusal)),
        };
        let len = ring.layout.object_len(0).next_multiple_of(4);
        if let Err(refusal) = fits(gpu, len) {
            return Ok(Tried::Refused(refusal));
        }
        ring.tight.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
        view.copy_tight(&mut ring.tight)?;
        drop(view);
        let free = ring
            .targets
            .iter_mut()
            .position(|target| Arc::get_mut(target).is_some());
        let index = match free {
            Some(index) => index,
            None if ring.targets.len() < self.slots => {
                ring.targets.push(Arc::new(target(gpu, &ring.layout, len)?));
                ring.targets.len() - 1
            }
            None => {
                return Err(Error::Busy {
                    what: "uploaded frames of this format and size",
                    limit: self.slots,
                });
            }
        };
        let target = &ring.targets[index];
        if let Source::Buffers(planes) = &target.source {
            scoped(gpu.device(), "Queue::write_buffer", || {
                gpu.queue().write_buffer(&planes[0].buffer, 0, &ring.tight);
            })?;
        }
        Ok(Tried::Taken(Arc::clone(target)))
    }
}

fn ring(rings: &mut Vec<Ring>, fourcc: Fourcc, size: Size) -> Result<&mut Ring, Refusal> {
    let now = rings.iter().map(|ring| ring.used).max().unwrap_or(0) + 1;
    let found = rings
        .iter()
        .position(|ring| (ring.layout.fourcc(), ring.layout.size()) == (fourcc, size));
    let index = match found {
        Some(index) => index,
        None => {
            let layout = Layout::tight(fourcc, size).map_err(FrameError::from)?;
            if rings.len() >= KINDS {
                let oldest = rings.iter().enumerate().min_by_key(|(_, ring)| ring.used);
                if let Some(oldest) = oldest.map(|(index, _)| index) {
                    rings.swap_remove(oldest);
                }
            }
            rings.push(Ring {
                layout,
                targets: Vec::new(),
                tight: Vec::new(),
                used: 0,
            });
            rings.len() - 1
        }
    };
    rings[index].used = now;
    Ok(&mut rings[index])
}

fn target(gpu: &Gpu, layout: &Layout, size: u64) -> Result<Kept, Error> {
    let buffer = scoped(gpu.device(), "Device::create_buffer", || {
        gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("dmaframe upload"),
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    })?;
    let planes: ArrayVec<_, 4> = layout
        .planes()
        .iter()
        .map(|plane| PlaneBuffer {
            buffer: buffer.clone(),
            offset: plane.offset,
            stride: plane.stride,
        })
        .collect();
    Ok(Kept::new(
        Route::Upload,
        Source::Buffers(planes),
        Shared::default(),
    ))
}
