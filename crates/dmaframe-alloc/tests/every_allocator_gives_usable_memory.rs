//! Whatever an allocator gives can be written through a frame, is seen by everybody else who has it, and is what its
//! probe said.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use dmaframe_alloc::{Allocator, Bytes, Chain, DmaHeap, Memfd, Request, Sharing, Udmabuf};
use dmaframe_core::negotiate::{FormatSet, Pair, negotiate};
use dmaframe_core::{
    Access, Buffer, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Modifier, Object, Plane, Size,
    next_generation,
};
use dmaframe_testkit::{Device, Vgem, need};

const SIZE: Size = Size::new(641, 361);

fn frame(buffer: Buffer) -> Frame {
    Frame::new(
        Arc::new(buffer),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap()
}

/// Writes a picture, then looks at the memory through another object made of the same descriptor.
fn is_coherent(allocator: &dyn Allocator) {
    for fourcc in [Fourcc::NV12, Fourcc::YUV420, Fourcc::XRGB8888, Fourcc::SBGGR10P] {
        let layout = allocator.plan(&Request::new(fourcc, SIZE)).unwrap();
        let buffer = allocator.allocate(&layout, next_generation()).unwrap();
        assert_eq!(*buffer.layout(), layout, "the layout stays exact");
        let page = rustix::param::page_size() as u64;
        for object in buffer.objects() {
            assert_eq!(
                object.size(),
                layout.object_len(0).next_multiple_of(page),
                "the object is page-rounded"
            );
        }
        let mut frame = frame(buffer);
        let picture: Vec<u8> = (0..layout.tight_len()).map(|i| (i % 251) as u8).collect();
        {
            let mut view = frame.map_write(Duration::ZERO).unwrap();
            assert!(view.has_slices(), "fresh memory is private");
            assert!(view.plane(0).unwrap().iter().all(|b| *b == 0), "and zeroed");
            view.copy_from_tight(&picture).unwrap();
        }
        assert_eq!(
            frame.map_read(Duration::ZERO).unwrap().to_tight().unwrap(),
            picture
        );
        for object in frame.buffer().objects() {
            let again = Object::new(object.lend(0).unwrap().try_clone_to_owned().unwrap(), 0).unwrap();
            let other = Buffer::new(
                fourcc,
                Modifier::LINEAR,
                SIZE,
                [Arc::new(again)],
                layout.planes(),
                0,
            )
            .unwrap();
            let other = Frame::new(
                Arc::new(other),
                FrameMeta::default(),
                Fence::Signaled,
                Lease::none(),
            )
            .unwrap();
            assert_eq!(
                other.map_read(Duration::ZERO).unwrap().to_tight().unwrap(),
                picture,
                "seen by others"
            );
        }
    }
}

/// vgem takes the dma-buf through PRIME, as any DRM driver would, and its fence is then on our object.
fn is_importable(allocator: &dyn Allocator, vgem: &Vgem) {
    assert_eq!(allocator.probe().unwrap().sharing, Sharing::Devices);
    let layout = allocator.plan(&Request::new(Fourcc::NV12, SIZE)).unwrap();
    let buffer = allocator.allocate(&layout, next_generation()).unwrap();
    assert!(buffer.is_dmabuf());
    let object = &buffer.objects()[0];
    let fence = vgem.attach_write(object.lend(0).unwrap()).unwrap();
    assert!(
        !object
            .wait_idle(Access::Read, Duration::ZERO)
            .unwrap()
            .is_signaled(),
        "the importer's fence is on it"
    );
    vgem.signal(fence).unwrap();
    assert!(
        object
            .wait_idle(Access::Read, Duration::from_secs(1))
            .unwrap()
            .is_signaled()
    );
}

#[test]
fn udmabuf_memory_is_coherent_and_importable() {
    need!(Device::Udmabuf);
    is_coherent(&Udmabuf::new());
    let vgem = need!(Device::VgemRender);
    is_importable(&Udmabuf::new(), &Vgem::open(&vgem).unwrap());
}

#[test]
fn heap_memory_is_coherent_and_importable() {
    need!(Device::SystemHeap);
    assert!(DmaHeap::list().contains(&"system".to_owned()));
    is_coherent(&DmaHeap::system());
    let vgem = need!(Device::VgemRender);
    is_importable(&DmaHeap::system(), &Vgem::open(&vgem).unwrap());
}

#[test]
fn memfd_memory_is_coherent_and_sealed() {
    let memfd = Memfd::new();
    is_coherent(&memfd);
    assert_eq!(memfd.probe().unwrap().sharing, Sharing::Processes);
    let layout = memfd.plan(&Request::new(Fourcc::NV12, SIZE)).unwrap();
    let buffer = memfd.allocate(&layout, 7).unwrap();
    assert!(!buffer.is_dmabuf());
    assert_eq!(buffer.id().generation(), 7);
    let fd = buffer.objects()[0].lend(0).unwrap();
    assert!(rustix::fs::ftruncate(fd, 0).is_err(), "nobody can shrink it");
    let more = rustix::fs::fcntl_add_seals(fd.as_fd(), rustix::fs::SealFlags::WRITE);
    assert!(more.is_err(), "and nobody can forbid us to write");
}

#[test]
fn bytes_are_private() {
    is_coherent(&Bytes::new());
    let layout = Bytes::new().plan(&Request::new(Fourcc::NV12, SIZE)).unwrap();
    assert!(Bytes::new().allocate(&layout, 0).unwrap().objects().is_empty());
}

#[test]
fn rows_start_where_the_user_needs_them() {
    use dmaframe_core::negotiate::Usage;
    let stride = |request: &Request| Memfd::new().plan(request).unwrap().planes()[0].stride;
    let request = Request::new(Fourcc::NV12, SIZE);
    assert_eq!(stride(&request), 768, "256 for GPUs");
    assert_eq!(
        stride(&request.clone().usage(Usage::Capture)),
        704,
        "64 for cameras"
    );
    assert_eq!(stride(&request.clone().row_align(1)), 641, "none for files");
    assert!(
        Memfd::new().plan(&request.row_align(3)).is_err(),
        "not a power of two"
    );
}

/// A camera's fixed layout, in two objects as V4L2's NM12 has it.
#[test]
fn a_fixed_layout_is_kept_to_the_byte_and_may_have_two_objects() {
    let planes = [
        Plane {
            object: 0,
            offset: 0,
            stride: 700,
        },
        Plane {
            object: 1,
            offset: 128,
            stride: 650,
        },
    ];
    let sizes = [700 * 361, 128 + 650 * 181];
    let layout = Layout::check(Fourcc::NV12, Modifier::LINEAR, SIZE, &planes, &sizes).unwrap();
    let chain = Chain::dmabuf().or(Memfd::new());
    let buffer = chain
        .allocate_set(&Request::from(&layout), 1, next_generation())
        .unwrap()
        .remove(0);
    assert_eq!(*buffer.layout(), layout);
    assert_eq!(buffer.objects().len(), 2);
    assert!(buffer.is_disjoint());
    let mut frame = frame(buffer);
    frame.map_write(Duration::ZERO).unwrap().planes_mut().unwrap()[1].fill(9);
    assert!(
        Bytes::new().plan(&Request::from(&layout)).is_err(),
        "bytes are one object"
    );
}

#[test]
fn formats_say_what_negotiation_may_choose() {
    let set = Chain::standard().formats();
    let nv12 = Pair {
        fourcc: Fourcc::NV12,
        modifier: Modifier::LINEAR,
    };
    assert!(set.contains(nv12));
    let tiled = FormatSet::new("gpu").with(Fourcc::NV12, Modifier(0x0100_0000_0000_0001));
    let why = negotiate(&set, &tiled).unwrap_err().to_string();
    assert!(why.contains("chain has LINEAR"), "{why}");
    assert!(
        Udmabuf::at("/nowhere").formats().is_empty(),
        "what is not there makes nothing"
    );
}
