//! What is asked of an allocator.

use dmaframe_core::negotiate::Usage;
use dmaframe_core::{Fourcc, Layout, Modifier, Size};

/// A picture to find memory for. What it leaves open (strides, which of the modifiers), the allocator decides.
///
/// ```
/// use dmaframe_alloc::{Allocator, Bytes, Request};
/// use dmaframe_core::{Fourcc, Size};
/// let request = Request::new(Fourcc::NV12, Size::new(641, 361));
/// let layout = Bytes::new().plan(&request)?;
/// assert_eq!(layout.planes()[0].stride, 768, "rows start at multiples of 256 bytes, as GPUs want");
/// # Ok::<(), dmaframe_alloc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    fourcc: Fourcc,
    size: Size,
    modifiers: Vec<Modifier>,
    usage: Usage,
    row_align: Option<u32>,
    exact: Option<Layout>,
}

impl Request {
    /// A linear picture whose rows suit GPUs.
    #[must_use]
    pub fn new(fourcc: Fourcc, size: Size) -> Self {
        Self {
            fourcc,
            size,
            modifiers: vec![Modifier::LINEAR],
            usage: Usage::Any,
            row_align: None,
            exact: None,
        }
    }

    /// Exactly this layout, strides, offsets and objects: what a camera or a peer has fixed.
    #[must_use]
    pub fn exact(layout: Layout) -> Self {
        Self {
            modifiers: vec![layout.modifier()],
            exact: Some(layout.clone()),
            ..Self::new(layout.fourcc(), layout.size())
        }
    }

    /// The modifiers that will do, all alike: the allocator picks, and their order means nothing
    /// (`Documentation/userspace-api/dma-buf-alloc-exchange.rst`). [`Modifier::INVALID`] leaves the layout to the
    /// driver, for sharing within one device only.
    #[must_use]
    pub fn modifiers(mut self, modifiers: impl IntoIterator<Item = Modifier>) -> Self {
        self.modifiers = modifiers.into_iter().collect();
        self.exact = None;
        self
    }

    /// Who will use the memory. Decides the row alignment, and which memory a GPU's driver takes.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Linear rows start at multiples of `bytes`, a power of two. Without this: 64 where the CPU or a capture device
    /// is the user (a cache line), 256 for everything else (AMD's linear pitch, and wgpu's for copies). 1 gives the
    /// tight rows of files.
    #[must_use]
    pub fn row_align(mut self, bytes: u32) -> Self {
        self.row_align = Some(bytes);
        self.exact = None;
        self
    }

    /// The format.
    #[must_use]
    pub fn fourcc(&self) -> Fourcc {
        self.fourcc
    }

    /// The size.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The modifiers that will do.
    #[must_use]
    pub fn modifiers_asked(&self) -> &[Modifier] {
        &self.modifiers
    }

    /// Who will use the memory.
    #[must_use]
    pub fn used_by(&self) -> Usage {
        self.usage
    }

    /// The layout that was fixed, if one was.
    #[must_use]
    pub fn fixed(&self) -> Option<&Layout> {
        self.exact.as_ref()
    }

    /// Row alignment in bytes, the default included.
    #[must_use]
    pub fn alignment(&self) -> u32 {
        self.row_align.unwrap_or(match self.usage {
            Usage::Cpu | Usage::Capture => 64,
            _ => 256,
        })
    }
}

impl From<Layout> for Request {
    fn from(layout: Layout) -> Self {
        Self::exact(layout)
    }
}

impl From<&Layout> for Request {
    fn from(layout: &Layout) -> Self {
        Self::exact(layout.clone())
    }
}

impl From<&Request> for Request {
    fn from(request: &Request) -> Self {
        request.clone()
    }
}
