//! Memory of the device's own that the GPU copies frames into: from the CPU's pages, and from staging memory.
//!
//! wgpu's buffers can be cloned by anybody and live as long as they like, so none is ever made of pages of this process.
//! The copy's source is held until the copy is done, and shaders read its target, which is faster besides.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arrayvec::ArrayVec;
use dmaframe_core::{Access, Frame};
use dmaframe_vulkan::ash::vk;
use dmaframe_vulkan::raw::{OwnedBuffer, WaitSemaphore};
use dmaframe_vulkan::{BufferImport, BufferPlane};

use super::imported::{Kept, PlaneBuffer};
use super::importer::{Tried, fits, refused};
use super::submit::Work;
use super::{Gpu, Source, sys};
use crate::{Error, Refusal, Route};

/// Most kinds of pictures that have memory at a time.
const KINDS: usize = 4;

/// Where planes lie in a target, and what is copied there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    pieces: ArrayVec<sys::Piece, 4>,
    /// Offset and stride.
    planes: ArrayVec<(u64, u32), 4>,
    len: u64,
}

impl Plan {
    /// Each buffer from its first plane's first byte to its last plane's last one, one after the other.
    fn of(planes: &[BufferPlane]) -> Self {
        let mut plan = Self {
            pieces: ArrayVec::new(),
            planes: planes.iter().map(|plane| (plane.offset, plane.stride)).collect(),
            len: 0,
        };
        for buffer in 0..4 {
            let here = || planes.iter().filter(move |plane| plane.buffer == buffer);
            let Some(from) = here().map(|plane| plane.offset).min() else {
                continue;
            };
            let end = here().map(BufferPlane::end).max().unwrap_or(from);
            let to = plan.len;
            for (plane, place) in planes.iter().zip(&mut plan.planes) {
                if plane.buffer == buffer {
                    place.0 = plane.offset - from + to;
                }
            }
            plan.pieces.push(sys::Piece {
                buffer,
                from,
                to,
                len: end - from,
            });
            plan.len = (to + end - from).next_multiple_of(4);
        }
        plan
    }
}

#[derive(Debug)]
struct Ring {
    plan: Plan,
    route: Route,
    targets: Vec<Arc<Kept>>,
    used: u64,
}

/// The targets of one importer.
#[derive(Debug)]
pub(super) struct Copies {
    rings: Mutex<Vec<Ring>>,
    slots: usize,
}

/// What a copy is made from, and for.
pub(super) struct Copy<'a> {
    pub(super) from: &'a Arc<BufferImport>,
    pub(super) route: Route,
    /// The frame whose memory is read by the GPU, if it is.
    pub(super) reads: Option<&'a Frame>,
    pub(super) wait: Option<WaitSemaphore>,
}

/// Copies that go to the GPU together: between two submissions it does nothing for as long as a quarter of a 1080p picture
/// takes.
#[derive(Default)]
pub(super) struct Batch {
    copies: Vec<Planned>,
}

struct Planned {
    from: Arc<BufferImport>,
    pieces: ArrayVec<sys::Piece, 4>,
    target: Arc<Kept>,
    reads: Option<Frame>,
    wait: Option<WaitSemaphore>,
}

impl Batch {
    /// Submits what has come together; the batch is empty then. Nothing is done for one that is.
    pub(super) fn submit(&mut self, gpu: &Gpu) -> Result<(), Error> {
        if self.copies.is_empty() {
            return Ok(());
        }
        let copies = std::mem::take(&mut self.copies);
        let jobs = copies.iter().filter_map(|copy| {
            Some(sys::CopyJob {
                import: &copy.from,
                pieces: &copy.pieces,
                target: copy.target.target.as_ref()?,
                fresh: !copy.target.filled.load(Ordering::Relaxed),
            })
        });
        let commands = sys::copy(gpu, jobs)?;
        let mut work = Work {
            commands: commands.into(),
            ..Work::default()
        };
        let mut fresh = Vec::new();
        for copy in copies {
            work.waits.extend(copy.wait);
            work.frames.extend(copy.reads.map(|frame| (frame, Access::Read)));
            // The target is wgpu's to keep: the submission's first commands name it.
            work.keep.push(Box::new(copy.from));
            if !copy.target.filled.load(Ordering::Relaxed) {
                fresh.push(copy.target);
            }
        }
        gpu.run(work)?;
        for target in fresh {
            target.filled.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Copies {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            rings: Mutex::new(Vec::new()),
            slots,
        }
    }

    /// Puts the copy into the batch and gives its target, which holds the picture for work submitted after the batch.
    pub(super) fn copy(&self, gpu: &Gpu, copy: Copy<'_>, batch: &mut Batch) -> Result<Tried, Error> {
        let plan = Plan::of(copy.from.planes());
        if let Err(refusal) = fits(gpu, plan.len) {
            return Ok(Tried::Refused(refusal));
        }
        let target = match self.target(gpu, &plan, copy.route)? {
            Ok(found) => found,
            Err(refusal) => return refused(copy.route, refusal),
        };
        batch.copies.push(Planned {
            from: Arc::clone(copy.from),
            pieces: plan.pieces,
            target: Arc::clone(&target),
            reads: copy.reads.cloned(),
            wait: copy.wait,
        });
        Ok(Tried::Taken(target))
    }

    /// A target that nobody uses.
    fn target(&self, gpu: &Gpu, plan: &Plan, route: Route) -> Result<Result<Arc<Kept>, Refusal>, Error> {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let now = rings.iter().map(|ring| ring.used).max().unwrap_or(0) + 1;
        let index = match rings
            .iter()
            .position(|ring| ring.plan == *plan && ring.route == route)
        {
            Some(index) => index,
            None => {
                if rings.len() >= KINDS {
                    let oldest = rings.iter().enumerate().min_by_key(|(_, ring)| ring.used);
                    if let Some(oldest) = oldest.map(|(index, _)| index) {
                        rings.swap_remove(oldest);
                    }
                }
                rings.push(Ring {
                    plan: plan.clone(),
                    route,
                    targets: Vec::new(),
                    used: 0,
                });
                rings.len() - 1
            }
        };
        let ring = &mut rings[index];
        ring.used = now;
        // Nobody has an import of it. Work that still reads it comes before the next copy, which waits for it.
        while let Some(free) = ring
            .targets
            .iter_mut()
            .position(|target| Arc::get_mut(target).is_some())
        {
            if !ring.targets[free].is_destroyed() {
                return Ok(Ok(Arc::clone(&ring.targets[free])));
            }
            // By an application that was lent it.
            ring.targets.swap_remove(free);
        }
        if ring.targets.len() >= self.slots {
            return Err(Error::Busy {
                what: "copies of frames of this format and size",
                limit: self.slots,
            });
        }
        let target = match new_target(gpu, plan, route)? {
            Ok(target) => Arc::new(target),
            Err(refusal) => return Ok(Err(refusal)),
        };
        ring.targets.push(Arc::clone(&target));
        Ok(Ok(target))
    }
}

fn new_target(gpu: &Gpu, plan: &Plan, route: Route) -> Result<Result<Kept, Refusal>, Error> {
    let Some(vulkan) = gpu.vulkan() else {
        return Ok(Err(Refusal::NotVulkan));
    };
    let usage = sys::SHADER_READS | vk::BufferUsageFlags::TRANSFER_DST;
    let owned = match OwnedBuffer::device_local(vulkan, plan.len, usage) {
        Ok(owned) => owned,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let target = sys::copy_target(gpu.device(), owned)?;
    let planes = plan.planes.iter().map(|(offset, stride)| PlaneBuffer {
        buffer: target.buffer().clone(),
        offset: *offset,
        stride: *stride,
    });
    let source = Source::Buffers(planes.collect());
    Ok(Ok(Kept::of_copy(route, source, target)))
}
