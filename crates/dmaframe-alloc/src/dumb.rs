//! Dumb buffers: what every display driver can allocate, without a GPU.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use dmaframe_core::negotiate::{FormatSet, MemoryKind, Usage};
use dmaframe_core::{Buffer, Fourcc, Layout, Modifier, Plane, Size};
use drm::control::Device as _;
use drm::{Device as _, DriverCapability};
use rustix::io::Errno;

use crate::allocator::{Allocator, Available, Sharing};
use crate::error::Error;
use crate::linear;
use crate::node::{self, Node};
use crate::request::Request;
use crate::sys::{self, FreshObject};

/// Dumb buffers of a DRM card node (`DRM_IOCTL_MODE_CREATE_DUMB`), exported as dma-bufs.
///
/// Linear, for the CPU to write and the display to scan out; often uncached, so slow to read. The driver picks the
/// pitch. [`DrmDumb::at`] does not stay the card's master, so that a display server can start later.
#[derive(Debug)]
pub struct DrmDumb {
    node: Node,
    name: String,
}

/// A card for the crate `drm`.
struct Card<'a>(BorrowedFd<'a>);

impl AsFd for Card<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0
    }
}

impl drm::Device for Card<'_> {}
impl drm::control::Device for Card<'_> {}

/// What to ask the driver for: a rectangle of pixels of one size.
#[derive(Clone, Copy)]
struct Rectangle {
    width: u32,
    height: u32,
    bits: u32,
}

impl DrmDumb {
    /// Of a card node: render nodes refuse dumb buffers. Opens nothing yet.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::of(Node::drm(path))
    }

    /// Of a card that is open already, as session managers hand out. Its master, if it is one, it stays.
    #[must_use]
    pub fn from_fd(card: OwnedFd) -> Self {
        Self::of(Node::opened(card))
    }

    fn of(node: Node) -> Self {
        Self {
            name: format!("dumb {}", node.name()),
            node,
        }
    }

    /// The card nodes of this machine, `/dev/dri/card*`, lowest number first.
    #[must_use]
    pub fn cards() -> Vec<PathBuf> {
        node::entries("/dev/dri", "card")
    }

    fn remedy() -> String {
        let cards: Vec<_> = Self::cards()
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        if cards.is_empty() {
            "this machine has no DRM card node; its display's driver is not loaded".to_owned()
        } else {
            format!("the cards of this machine are {}", cards.join(", "))
        }
    }

    fn card(&self) -> Result<Card<'_>, Error> {
        let card = Card(self.node.open(Self::remedy)?);
        let capability = |what| match card.get_driver_capability(what) {
            Ok(value) => Ok(value),
            // Asked of a driver without modesetting. vgem is one that has dumb buffers all the same, so the call itself
            // must decide.
            Err(error) if errno(&error) == Errno::OPNOTSUPP => Ok(1),
            Err(error) => Err(Error::NoDriver {
                device: self.node.name(),
                call: "DRM_IOCTL_GET_CAP",
                errno: errno(&error),
                remedy: Self::remedy(),
            }),
        };
        if capability(DriverCapability::DumbBuffer)? == 0 {
            return Err(self.incapable());
        }
        /// `DRM_PRIME_CAP_EXPORT`.
        const EXPORT: u64 = 2;
        if capability(DriverCapability::Prime)? & EXPORT == 0 {
            return Err(Error::Incapable {
                device: self.node.name(),
                what: "PRIME export",
                remedy: "its driver cannot make dma-bufs",
            });
        }
        Ok(card)
    }

    fn incapable(&self) -> Error {
        Error::Incapable {
            device: self.node.name(),
            what: "dumb buffers",
            remedy: "it is a render node, or its driver only renders; take the display's card, or gbm",
        }
    }

    /// A dumb buffer and the pitch the driver chose.
    fn create(&self, layout: &Layout) -> Result<(FreshObject, u64), Error> {
        let card = self.card()?;
        let len = layout.object_len(0);
        let (first, second) = rectangles(layout).ok_or_else(|| Error::TooLarge {
            device: self.node.name(),
            found: len,
            limit: u32::MAX.into(),
            setting: "32-bit width and height".to_owned(),
        })?;
        let create = |r: Rectangle| {
            // The crate wants a format for its own records only; the kernel is told bits per pixel.
            card.create_dumb_buffer((r.width, r.height), drm::buffer::DrmFourcc::R8, r.bits)
        };
        let made = create(first).or_else(|error| match errno(&error) {
            // Some drivers (virtio-gpu) only know 32 bits. Memory is memory: rows of as many bytes do as well.
            Errno::INVAL => create(second),
            _ => Err(error),
        });
        let buffer = made.map_err(|error| match errno(&error) {
            // No such operation in the driver, or a render node.
            Errno::NOSYS | Errno::OPNOTSUPP | Errno::ACCESS => self.incapable(),
            errno => Error::allocation(&self.node.name(), len, "DRM_IOCTL_MODE_CREATE_DUMB", errno),
        })?;
        let pitch = drm::buffer::Buffer::pitch(&buffer);
        let fresh = sys::dumb::export(&card, buffer).map_err(|error| Error::Os {
            call: "DRM_IOCTL_PRIME_HANDLE_TO_FD",
            device: self.node.name(),
            errno: errno(&error),
        })?;
        Ok((fresh.into_object(0)?, pitch.into()))
    }

    fn require(&self, layout: &Layout) -> Result<(), Error> {
        linear::require(&self.name, layout)?;
        match linear::objects(layout) {
            1 => Ok(()),
            found => Err(Error::Objects {
                device: self.name.clone(),
                found,
                limit: 1,
            }),
        }
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// The layout's bytes as a rectangle: of its own pixels where they are of a usual size, else of bytes; and of 32-bit
/// pixels for drivers that know nothing else. All planes are stacked under plane 0's rows.
fn rectangles(layout: &Layout) -> Option<(Rectangle, Rectangle)> {
    let stride = layout.planes().first()?.stride;
    let rows = layout.object_len(0).div_ceil(u64::from(stride));
    let height = u32::try_from(rows).ok()?;
    let bytes = |per: u32| Rectangle {
        width: stride.div_ceil(per),
        height,
        bits: per * 8,
    };
    let own = match layout.info().planes() {
        [plane] if plane.block_width == 1 && matches!(plane.block_bytes, 2..=4) => {
            bytes(plane.block_bytes.into())
        }
        _ => bytes(1),
    };
    Some((own, bytes(4)))
}

/// `layout` with its rows `pitch` bytes apart instead: every plane's stride and offset in proportion, as KMS users
/// stack planes. `None` when the pitch does not divide so.
fn stretch(layout: &Layout, pitch: u64) -> Option<Vec<Plane>> {
    let old = u64::from(layout.planes().first()?.stride);
    let scale = |value: u64| {
        let value = u128::from(value) * u128::from(pitch);
        (value % u128::from(old) == 0).then(|| u64::try_from(value / u128::from(old)).ok())?
    };
    let planes = layout.planes().iter().map(|plane| {
        Some(Plane {
            object: 0,
            offset: scale(plane.offset)?,
            stride: u32::try_from(scale(plane.stride.into())?).ok()?,
        })
    });
    planes.collect()
}

impl Allocator for DrmDumb {
    fn name(&self) -> &str {
        &self.name
    }

    fn probe(&self) -> Result<Available, Error> {
        // The driver's word is not enough: render nodes and drivers without modesetting give none.
        self.plan(&Request::new(Fourcc::R8, Size::new(64, 1)))?;
        Ok(Available {
            kind: MemoryKind::Device,
            ..Available::new(Sharing::Devices)
        })
    }

    fn formats(&self) -> FormatSet {
        match self.probe() {
            Ok(_) => linear::formats(&self.name, Usage::Any),
            Err(_) => FormatSet::new(&self.name),
        }
    }

    fn plan(&self, request: &Request) -> Result<Layout, Error> {
        let wanted = linear::plan(&self.name, request)?;
        self.require(&wanted)?;
        let (object, pitch) = self.create(&wanted)?;
        let stride = wanted.planes().first().map_or(0, |plane| u64::from(plane.stride));
        if pitch == stride || request.fixed().is_some() {
            // A fixed layout's rows need not be the driver's: it is enough that the bytes are there.
            return Ok(wanted);
        }
        let Some(planes) = stretch(&wanted, pitch) else {
            return Ok(wanted);
        };
        let (fourcc, size) = (request.fourcc(), request.size());
        Ok(Layout::check(
            fourcc,
            Modifier::LINEAR,
            size,
            &planes,
            &[object.size()],
        )?)
    }

    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, Error> {
        self.require(layout)?;
        let (object, _) = self.create(layout)?;
        let (fourcc, modifier, size) = (layout.fourcc(), layout.modifier(), layout.size());
        Ok(sys::private_buffer(
            fourcc,
            modifier,
            size,
            vec![object],
            layout.planes(),
            generation,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tight(fourcc: Fourcc) -> Layout {
        Layout::tight(fourcc, Size::new(322, 100)).unwrap()
    }

    #[test]
    fn planes_are_stacked_at_the_pitch_the_driver_chose() {
        let planes = stretch(&tight(Fourcc::NV12), 384).unwrap();
        assert_eq!((planes[0].stride, planes[0].offset), (384, 0));
        assert_eq!((planes[1].stride, planes[1].offset), (384, 38_400));
        let planes = stretch(&tight(Fourcc::YUV420), 384).unwrap();
        assert_eq!((planes[2].stride, planes[2].offset), (192, 38_400 + 192 * 50));
    }

    #[test]
    fn planes_that_do_not_divide_keep_their_own_rows() {
        // Luma 768, chroma 512 bytes a row: at a pitch of 1024 a chroma row would end inside a byte.
        let layout = Layout::linear(Fourcc::YUV420, Size::new(641, 361), 256).unwrap();
        assert_eq!(stretch(&layout, 1024), None);
    }

    #[test]
    fn the_rectangle_holds_every_plane() {
        for fourcc in [
            Fourcc::NV12,
            Fourcc::YUV420,
            Fourcc::P010,
            Fourcc::XRGB8888,
            Fourcc::RGB888,
        ] {
            let layout = tight(fourcc);
            let (own, words) = rectangles(&layout).unwrap();
            for r in [own, words] {
                let bytes = u64::from(r.width) * u64::from(r.bits / 8) * u64::from(r.height);
                assert!(bytes >= layout.object_len(0), "{fourcc}");
            }
        }
        assert_eq!(rectangles(&tight(Fourcc::XRGB8888)).unwrap().0.width, 322);
    }
}
