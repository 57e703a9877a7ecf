//! The way in for frames from outside.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::buffer::Buffer;
use crate::error::{Error, LayoutError, Rejected};
use crate::fence::Fence;
use crate::format::{Fourcc, Modifier};
use crate::frame::Frame;
use crate::layout::{Layout, MAX_PLANES, Plane, Size};
use crate::lease::Lease;
use crate::meta::FrameMeta;
use crate::object::{Object, ObjectProbe};

/// What a socket, a pod, caps or an ioctl says a frame is: nothing in here has been checked.
///
/// `Frame::try_from(parts)` is the only way from here to a [`Frame`]. It asks the kernel what each descriptor is and
/// how large, checks every plane against that, and gives the parts back with the reason when they do not hold. CPU
/// views of the resulting frame copy rows out, since whoever sent the descriptors may still write.
///
/// ```
/// use dmaframe_core::{Fourcc, Frame, FrameParts, Plane, Size};
/// # fn received() -> std::os::fd::OwnedFd { std::fs::File::open("/dev/null").unwrap().into() }
/// let mut parts = FrameParts::new(Fourcc::NV12, Size::new(640, 480));
/// parts.objects.push(received());
/// parts.planes.push(Plane { object: 0, offset: 0, stride: 640 });
/// parts.planes.push(Plane { object: 0, offset: 640 * 480, stride: 640 });
/// let refused = Frame::try_from(parts).unwrap_err();
/// assert!(refused.error.to_string().contains("object 0 is not a dma-buf"));
/// assert_eq!(refused.value.objects.len(), 1); // the descriptor came back
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct FrameParts {
    /// Pixel format.
    pub fourcc: Fourcc,
    /// Layout modifier; `Invalid` (implicit) and `Linear` are different claims.
    pub modifier: Modifier,
    /// Coded size.
    pub size: Size,
    /// Descriptors of dma-bufs, or of memfds sealed with `F_SEAL_SHRINK`.
    pub objects: Vec<OwnedFd>,
    /// Planes.
    pub planes: Vec<Plane>,
    /// Everything else.
    pub meta: FrameMeta,
    /// What to wait for before reading.
    pub acquire: Fence,
    /// The way back.
    pub lease: Lease,
    /// The sender's pool generation, part of the [`BufferId`](crate::BufferId).
    pub generation: u64,
    /// Most bytes the picture may reach over, from its objects' first to its planes' last and with all padding:
    /// [`FrameParts::LIMIT`] unless the receiver says otherwise. No more is mapped of a memfd, and no more is touched by a
    /// copy. A sparse memfd costs its sender nothing, and a copy of it everything.
    pub limit: u64,
}

impl FrameParts {
    /// 2 GiB: a picture of 16384 x 16384 with 8 bytes a pixel.
    pub const LIMIT: u64 = 1 << 31;

    /// Linear parts without objects or planes.
    #[must_use]
    pub fn new(fourcc: Fourcc, size: Size) -> Self {
        Self {
            fourcc,
            modifier: Modifier::LINEAR,
            size,
            objects: Vec::new(),
            planes: Vec::new(),
            meta: FrameMeta::default(),
            acquire: Fence::Signaled,
            lease: Lease::none(),
            generation: 0,
            limit: Self::LIMIT,
        }
    }

    /// Everything `Frame::try_from` checks, without taking anything.
    fn check(&self) -> Result<(Layout, ArrayVec<ObjectProbe, MAX_PLANES>), Error> {
        if self.objects.is_empty() || self.objects.len() > MAX_PLANES {
            return Err(LayoutError::ObjectCount {
                found: self.objects.len(),
                limit: MAX_PLANES,
            }
            .into());
        }
        let mut probes = ArrayVec::<ObjectProbe, MAX_PLANES>::new();
        for (index, fd) in self.objects.iter().enumerate() {
            probes.push(Object::probe(fd.as_fd(), index)?);
        }
        if let Some(object) = probes.iter().position(|p| p.kind != probes[0].kind) {
            return Err(Error::MixedObjects { object });
        }
        let sizes: ArrayVec<u64, MAX_PLANES> = probes.iter().map(|p| p.size).collect();
        let layout = Layout::check(self.fourcc, self.modifier, self.size, &self.planes, &sizes)?;
        // What is mapped; a copy touches no more, and its own size is less.
        let reach = sizes
            .iter()
            .enumerate()
            .map(|(i, size)| layout.object_len(i).min(*size));
        let bytes = reach.fold(0, u64::saturating_add);
        // Planes can share bytes: a picture that is larger than its memory is refused too.
        let bytes = bytes.max(layout.tight_len());
        if bytes > self.limit {
            return Err(LayoutError::TooLarge {
                bytes,
                limit: self.limit,
            }
            .into());
        }
        if let Some(rect) = self.meta.visible.filter(|rect| !rect.fits(self.size)) {
            return Err(LayoutError::Visible {
                rect,
                size: self.size,
            }
            .into());
        }
        Ok((layout, probes))
    }
}

impl TryFrom<FrameParts> for Frame {
    type Error = Box<Rejected<FrameParts>>;

    fn try_from(parts: FrameParts) -> Result<Self, Self::Error> {
        let (layout, probes) = match parts.check() {
            Ok(checked) => checked,
            Err(error) => return Err(Rejected::new(parts, error)),
        };
        let FrameParts {
            fourcc,
            modifier,
            size,
            objects,
            planes,
            meta,
            acquire,
            lease,
            generation,
            limit,
        } = parts;
        let objects = objects
            .into_iter()
            .zip(probes)
            .map(|(fd, probe)| Arc::new(Object::with_probe(fd, probe)));
        let wrapped = Buffer::with_layout(objects.collect(), layout, generation, false)
            .and_then(|buffer| Self::new(Arc::new(buffer), meta, acquire, lease));
        wrapped.map_err(|error| {
            // `check` refuses everything these two can: this only keeps the signature free of panics.
            let mut parts = FrameParts::new(fourcc, size);
            (parts.modifier, parts.planes) = (modifier, planes);
            (parts.generation, parts.limit) = (generation, limit);
            Rejected::new(parts, error)
        })
    }
}
