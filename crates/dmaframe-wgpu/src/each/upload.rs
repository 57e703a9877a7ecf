//! The last resort: the CPU copies the picture into memory that the device reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrayvec::ArrayVec;
use dmaframe_core::{Deadline, Error as FrameError, Fourcc, Frame, Layout, Size};
use dmaframe_vulkan::{BufferImport, Upload};

use super::copies::{Batch, Copies, Copy};
use super::imported::{Kept, PlaneBuffer, Shared};
use super::importer::{Tried, fits, refused};
use super::scope::scoped;
use super::submission::gone;
use super::{Gpu, Source, in_place, wgpu};
use crate::{Error, Refusal, Route};

/// Most kinds of pictures (format and size) that have memory at a time.
const KINDS: usize = 4;
/// Staging buffers of a kind, made when needed: one being written, one being copied, one whose copy's end is marked by that
/// one's, and one to spare.
pub(super) const STAGES: usize = 4;
/// How long one wait for a staging buffer is.
const LOOK: Duration = Duration::from_millis(2);

/// Memory that pictures are copied into, kept from frame to frame.
#[derive(Debug)]
pub(super) struct Uploads {
    rings: Mutex<Vec<Ring>>,
    slots: usize,
    /// A picture that the GPU would have read where the CPU wrote it has been lent: the application has shaders of its own.
    lent: Arc<AtomicBool>,
}

/// For one format and size.
#[derive(Debug)]
struct Ring {
    layout: Layout,
    way: Way,
    used: u64,
}

#[derive(Debug)]
enum Way {
    /// Mapped memory that shaders read.
    InPlace(Arc<in_place::Ring>),
    /// Mapped memory of the driver's, and a copy by the GPU.
    Staged(Arc<Upload>),
    /// wgpu's own way, on other backends.
    Written { targets: Vec<Arc<Kept>>, tight: Vec<u8> },
}

impl Uploads {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            rings: Mutex::new(Vec::new()),
            slots,
            lent: Arc::default(),
        }
    }

    /// Copies the frame, whose memory is not needed any more when this returns; on into the GPU's with the batch, where that
    /// is needed.
    pub(super) fn upload(
        &self,
        gpu: &Gpu,
        copies: &Arc<Copies>,
        frame: &Frame,
        wait: Duration,
        batch: &mut Batch,
    ) -> Result<Tried, Error> {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = match self.ring(gpu, &mut rings, (frame.fourcc(), frame.layout().size())) {
            Ok(ring) => ring,
            Err(refusal) => return Ok(Tried::Refused(refusal)),
        };
        if let Err(refusal) = fits(gpu, ring.layout.object_len(0).next_multiple_of(4)) {
            return Ok(Tried::Refused(refusal));
        }
        let upload = match &mut ring.way {
            Way::Written { targets, tight } => {
                return written(gpu, frame, wait, &ring.layout, targets, tight, self.slots);
            }
            Way::InPlace(ring) => {
                let ring = Arc::clone(ring);
                drop(rings);
                return ring.upload(gpu, copies, frame, wait, batch);
            }
            Way::Staged(upload) => Arc::clone(upload),
        };
        // It may submit, and wgpu may call applications back then, which may upload.
        drop(rings);
        let staged = match stage(gpu, &upload, frame, wait, batch)? {
            Ok(staged) => staged,
            Err(refusal) => return refused(Route::Upload, refusal),
        };
        let copy = Copy {
            from: &staged,
            route: Route::Upload,
            reads: None,
            wait: None,
        };
        copies.copy(gpu, copy, batch)
    }

    fn ring<'a>(
        &self,
        gpu: &Gpu,
        rings: &'a mut Vec<Ring>,
        (fourcc, size): (Fourcc, Size),
    ) -> Result<&'a mut Ring, Refusal> {
        let now = rings.iter().map(|ring| ring.used).max().unwrap_or(0) + 1;
        let found = rings
            .iter()
            .position(|ring| (ring.layout.fourcc(), ring.layout.size()) == (fourcc, size));
        let index = match found {
            Some(index) => {
                if matches!(rings[index].way, Way::InPlace(_)) && self.lent.load(Ordering::Relaxed) {
                    rings[index].way = self.way(gpu, (fourcc, size))?;
                }
                index
            }
            None => {
                let layout = Layout::tight(fourcc, size).map_err(FrameError::from)?;
                if rings.len() >= KINDS {
                    let oldest = rings.iter().enumerate().min_by_key(|(_, ring)| ring.used);
                    if let Some(oldest) = oldest.map(|(index, _)| index) {
                        rings.swap_remove(oldest);
                    }
                }
                let way = self.way(gpu, (fourcc, size))?;
                rings.push(Ring { layout, way, used: 0 });
                rings.len() - 1
            }
        };
        rings[index].used = now;
        Ok(&mut rings[index])
    }

    fn way(&self, gpu: &Gpu, (fourcc, size): (Fourcc, Size)) -> Result<Way, Refusal> {
        let Some(vulkan) = gpu.vulkan() else {
            return Ok(Way::Written {
                targets: Vec::new(),
                tight: Vec::new(),
            });
        };
        let way = match gpu.reads_in_place() && !self.lent.load(Ordering::Relaxed) {
            true => in_place::Ring::new(vulkan, (fourcc, size), self.slots, &self.lent)
                .map(|ring| Way::InPlace(Arc::new(ring))),
            false => Upload::new(vulkan, fourcc, size, STAGES).map(|upload| Way::Staged(Arc::new(upload))),
        };
        way.map_err(|error| match error {
            dmaframe_vulkan::Error::Frame(error) => error.into(),
            _ => Refusal::NotVulkan,
        })
    }
}

/// Copies into staging memory, when some is free.
pub(super) fn stage(
    gpu: &Gpu,
    upload: &Upload,
    frame: &Frame,
    wait: Duration,
    batch: &mut Batch,
) -> Result<Result<Arc<BufferImport>, Refusal>, Error> {
    let end = Deadline::after(wait);
    loop {
        return match upload.stage(frame, end) {
            Ok(staged) => Ok(Ok(staged)),
            Err(dmaframe_vulkan::Error::Busy { .. }) => {
                // The batch's own copies may hold it.
                batch.submit(gpu)?;
                let left = end.remaining().unwrap_or(LOOK).min(LOOK);
                if left.is_zero() {
                    return Err(Error::Timeout {
                        what: "staging memory",
                        waited: wait,
                    });
                }
                if gpu.tracker().core().is_lost() {
                    return Err(gone("work was lost before"));
                }
                // Work holds it: that of encoders is seen to be done when somebody polls.
                gpu.tracker().core().polled();
                // The thread that sees the ends of the rest lets one go, soon.
                match gpu.outstanding() {
                    0 => std::thread::sleep(left.min(LOOK / 10)),
                    some => {
                        gpu.settle_to(some - 1, left);
                    }
                }
                continue;
            }
            Err(dmaframe_vulkan::Error::Frame(FrameError::Timeout { .. })) => Err(Error::Timeout {
                what: "the frame's acquire fence",
                waited: wait,
            }),
            Err(dmaframe_vulkan::Error::Frame(error)) => Ok(Err(error.into())),
            Err(dmaframe_vulkan::Error::Refused { refusal, .. }) => Ok(Err(refusal)),
            Err(error) => Err(error.into()),
        };
    }
}

/// Through wgpu: two copies by the CPU, and one by the GPU.
fn written(
    gpu: &Gpu,
    frame: &Frame,
    wait: Duration,
    layout: &Layout,
    targets: &mut Vec<Arc<Kept>>,
    tight: &mut Vec<u8>,
    slots: usize,
) -> Result<Tried, Error> {
    let view = match frame.map_read(wait) {
        Ok(view) => view,
        Err(FrameError::Timeout { .. }) => {
            return Err(Error::Timeout {
                what: "the frame's acquire fence",
                waited: wait,
            });
        }
        Err(error) => return Ok(Tried::Refused(error.into())),
    };
    let len = layout.object_len(0).next_multiple_of(4);
    tight.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
    view.copy_tight(tight)?;
    drop(view);
    let free = targets
        .iter_mut()
        .position(|target| Arc::get_mut(target).is_some());
    let index = match free {
        Some(index) => index,
        None if targets.len() < slots => {
            targets.push(Arc::new(target(gpu, layout, len)?));
            targets.len() - 1
        }
        None => {
            return Err(Error::Busy {
                what: "copies of frames of this format and size",
                limit: slots,
            });
        }
    };
    let target = &targets[index];
    if let Source::Buffers(planes) = &target.source {
        scoped(gpu.device(), "Queue::write_buffer", || {
            gpu.queue().write_buffer(&planes[0].buffer, 0, tight);
        })?;
    }
    Ok(Tried::Taken(Arc::clone(target)))
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
