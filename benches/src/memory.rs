//! The kinds of memory frames lie in.

use std::os::fd::OwnedFd;
use std::time::Duration;

use dmaframe_alloc::{Allocator as _, Bytes, DmaHeap, FramePool, Memfd, Request, Udmabuf};
use dmaframe_core::{ColorInfo, Fourcc, Frame, FrameParts, Layout, Size};

/// 1080p and 4K.
pub(crate) const SIZES: [(&str, Size); 2] = [("1080p", Size::new(1920, 1080)), ("4K", Size::new(3840, 2160))];

/// Slots of a camera.
pub(crate) const SLOTS: usize = 4;

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bytes,
    Memfd,
    Udmabuf,
    SystemHeap,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Bytes, Self::Memfd, Self::Udmabuf, Self::SystemHeap];
    /// Those with a descriptor.
    pub(crate) const SHARED: [Self; 3] = [Self::Memfd, Self::Udmabuf, Self::SystemHeap];
    pub(crate) const DMABUF: [Self; 2] = [Self::Udmabuf, Self::SystemHeap];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Memfd => "memfd",
            Self::Udmabuf => "udmabuf",
            Self::SystemHeap => "system heap",
        }
    }

    /// A pool of tight pictures, each written once so that its pages are there.
    pub(crate) fn pool(self, fourcc: Fourcc, size: Size, slots: usize) -> Result<FramePool, String> {
        let missing = |error: &dyn std::fmt::Display| format!("no device: {error}");
        let builder = FramePool::builder(Request::new(fourcc, size).row_align(1)).slots(slots);
        let builder = match self {
            Self::Bytes => builder.allocator(Bytes::new()),
            Self::Memfd => builder.allocator(Memfd::new()),
            Self::Udmabuf => {
                let udmabuf = Udmabuf::new();
                udmabuf.probe().map_err(|e| missing(&e))?;
                builder.allocator(udmabuf)
            }
            Self::SystemHeap => {
                let heap = DmaHeap::system();
                heap.probe().map_err(|e| missing(&e))?;
                builder.allocator(heap)
            }
        };
        let pool = builder.build().map_err(|e| format!("not allocated: {e}"))?;
        let mut frames = Vec::new();
        for seed in 0..slots {
            let mut frame = pool.try_acquire().map_err(|e| e.to_string())?;
            let len = usize::try_from(frame.layout().tight_len()).unwrap_or_default();
            let mut view = frame
                .map_write(Duration::from_secs(1))
                .map_err(|e| e.to_string())?;
            view.copy_from_tight(&picture(len, seed))
                .map_err(|e| e.to_string())?;
            drop(view);
            frame.meta_mut().map_err(|e| e.to_string())?.color = ColorInfo::BT709;
            frames.push(frame);
        }
        Ok(pool)
    }

    /// One frame of it that keeps its memory, with its colour said.
    pub(crate) fn frame(self, fourcc: Fourcc, size: Size) -> Result<Frame, String> {
        let pool = self.pool(fourcc, size, 1)?;
        let mut frame = pool.try_acquire().map_err(|e| e.to_string())?;
        let rgb = fourcc
            .info()
            .is_some_and(|i| i.model == dmaframe_core::format::Model::Rgb);
        frame.meta_mut().map_err(|e| e.to_string())?.color =
            if rgb { ColorInfo::SRGB } else { ColorInfo::BT709 };
        Ok(frame)
    }
}

/// What a peer sends: a frame's descriptors and planes as parts.
pub(crate) struct Sender {
    frame: Frame,
}

impl Sender {
    pub(crate) fn new(kind: Kind, size: Size) -> Result<Self, String> {
        Ok(Self {
            frame: kind.frame(Fourcc::NV12, size)?,
        })
    }

    pub(crate) fn layout(&self) -> &Layout {
        self.frame.layout()
    }

    /// Another descriptor of the memory.
    pub(crate) fn descriptor(&self) -> OwnedFd {
        let objects = self.frame.buffer().objects();
        let fd = objects[0].lend(0).expect("no view is alive");
        fd.try_clone_to_owned().expect("room for a descriptor")
    }

    pub(crate) fn parts(&self) -> FrameParts {
        let layout = self.layout();
        let mut parts = FrameParts::new(layout.fourcc(), layout.size());
        parts.planes = layout.planes().to_vec();
        parts.objects = vec![self.descriptor()];
        parts
    }
}

/// Bytes that are not all alike.
pub(crate) fn picture(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at ^ (at >> 7) ^ seed).wrapping_mul(0x9d) as u8)
        .collect()
}
