//! Dumb buffers of a display's driver are ordinary frames, and the card is left free for a display server.
#![cfg(feature = "drm")]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dmaframe_alloc::{Allocator, DrmDumb, Error, FramePool, Request};
use dmaframe_core::{Fence, Fourcc, Frame, FrameMeta, Lease, Size, next_generation};
use dmaframe_testkit::{Device, Vgem, need};

/// Odd sizes and every shape of planes: written whole, read back whole.
fn holds_pictures(dumb: &DrmDumb) {
    for fourcc in [
        Fourcc::XRGB8888,
        Fourcc::RGB565,
        Fourcc::NV12,
        Fourcc::YUV420,
        Fourcc::P010,
        Fourcc::NV24,
    ] {
        for align in [1, 64, 256] {
            let request = Request::new(fourcc, Size::new(321, 101)).row_align(align);
            let layout = dumb.plan(&request).unwrap();
            assert_eq!(layout.planes()[0].stride % align, 0);
            let buffer = dumb.allocate(&layout, next_generation()).unwrap();
            assert_eq!(
                *buffer.layout(),
                layout,
                "the second step gives what the first promised"
            );
            assert!(buffer.is_dmabuf());
            let mut frame = Frame::new(
                Arc::new(buffer),
                FrameMeta::default(),
                Fence::Signaled,
                Lease::none(),
            )
            .unwrap();
            let picture: Vec<u8> = (0..layout.tight_len()).map(|i| (i % 253) as u8).collect();
            frame
                .map_write(Duration::ZERO)
                .unwrap()
                .copy_from_tight(&picture)
                .unwrap();
            assert_eq!(
                frame.map_read(Duration::ZERO).unwrap().to_tight().unwrap(),
                picture,
                "{fourcc} {align}"
            );
        }
    }
}

#[test]
fn vgem_dumb_buffers_hold_pictures() {
    holds_pictures(&DrmDumb::at(need!(Device::VgemCard)));
}

#[test]
fn vkms_dumb_buffers_hold_pictures_and_import_elsewhere() {
    let dumb = DrmDumb::at(need!(Device::Vkms));
    holds_pictures(&dumb);
    let vgem = Vgem::open(&need!(Device::VgemRender)).unwrap();
    let request = Request::new(Fourcc::XRGB8888, Size::new(1920, 1080));
    let pool = FramePool::builder(request)
        .slots(3)
        .allocator(dumb)
        .build()
        .unwrap();
    let frame = pool.try_acquire().unwrap();
    let fence = vgem
        .attach_write(frame.as_dmabuf().unwrap().lend(0).unwrap())
        .unwrap();
    vgem.signal(fence).unwrap();
}

#[test]
fn a_layout_somebody_else_fixed_is_kept() {
    let dumb = DrmDumb::at(need!(Device::Vkms));
    let layout = dmaframe_core::Layout::tight(Fourcc::NV12, Size::new(321, 101)).unwrap();
    assert_eq!(dumb.plan(&Request::from(&layout)).unwrap(), layout);
    assert_eq!(*dumb.allocate(&layout, 0).unwrap().layout(), layout);
}

/// A card for the crate `drm`, opened by the test itself.
struct Card(File);

impl std::os::fd::AsFd for Card {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Card {}
impl drm::control::Device for Card {}

impl Card {
    fn open(path: &Path) -> Self {
        Self(File::options().read(true).write(true).open(path).unwrap())
    }
}

#[test]
fn rows_are_as_far_apart_as_the_driver_wants() {
    use drm::buffer::Buffer as _;
    use drm::control::Device as _;
    let path = need!(Device::Vkms);
    let (dumb, card) = (DrmDumb::at(&path), Card::open(&path));
    for (fourcc, bits) in [(Fourcc::XRGB8888, 32), (Fourcc::NV12, 8)] {
        let request = Request::new(fourcc, Size::new(322, 100)).row_align(1);
        let theirs = card
            .create_dumb_buffer((322, 100), drm::buffer::DrmFourcc::R8, bits)
            .unwrap();
        let layout = dumb.plan(&request).unwrap();
        assert_eq!(layout.planes()[0].stride, theirs.pitch());
        let chroma = layout.planes().get(1);
        assert!(
            chroma.is_none_or(|p| (p.stride, p.offset) == (theirs.pitch(), u64::from(theirs.pitch()) * 100))
        );
        card.destroy_dumb_buffer(theirs).unwrap();
    }
}

/// Whoever opens a card first is its master; an allocator that stayed it would lock the display server out.
#[test]
fn the_card_has_no_master_afterwards() {
    use drm::Device as _;
    let path = need!(Device::Vkms);
    let dumb = DrmDumb::at(&path);
    dumb.probe().unwrap();
    let card = Card::open(&path);
    card.acquire_master_lock().unwrap();
    assert!(
        dumb.plan(&Request::new(Fourcc::XRGB8888, Size::new(64, 64)))
            .is_ok(),
        "and needs none itself"
    );
}

#[test]
fn a_render_node_says_why_it_has_no_dumb_buffers() {
    let dumb = DrmDumb::at(need!(Device::VgemRender));
    let request = Request::new(Fourcc::XRGB8888, Size::new(64, 64));
    assert!(dumb.formats().is_empty());
    let error = dumb.probe().and_then(|_| dumb.plan(&request)).unwrap_err();
    assert!(matches!(error, Error::Incapable { .. }), "{error:?}");
    assert!(error.to_string().contains("/dev/dri/renderD"), "{error}");
}
