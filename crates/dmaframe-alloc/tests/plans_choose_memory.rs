//! A plan gives memory that can really be had, and says why it is not better.

use dmaframe_alloc::{Allocator, Available, Chain, DmaHeap, Error, Memfd, Picture, Request, Udmabuf, plan};
use dmaframe_core::negotiate::{FormatSet, MemoryKind, Route, Takes, Usage};
use dmaframe_core::quirks::Driver;
use dmaframe_core::{Buffer, Fourcc, Layout, Modifier, Plane, Rect, Size, next_generation};
use dmaframe_testkit::{Device, need};

const LINEAR: Modifier = Modifier::LINEAR;

fn gpu(fourcc: Fourcc) -> FormatSet {
    let mut set = FormatSet::new("gpu").with_usage(Usage::Sample);
    for route in [Route::Buffer, Route::Image, Route::HostPointer, Route::Copy] {
        set = set.by(route).with(fourcc, LINEAR);
    }
    set
}

fn decoder(fourcc: Fourcc) -> FormatSet {
    FormatSet::new("decoder").with(fourcc, LINEAR)
}

#[test]
fn the_first_allocator_that_devices_take_makes_the_memory() {
    need!(Device::Udmabuf);
    let chain = Chain::standard();
    let picture = Picture::new(Size::new(641, 361));
    let ways = plan(
        &decoder(Fourcc::NV12),
        &gpu(Fourcc::NV12),
        chain.allocators(),
        &picture,
    )
    .unwrap();
    let way = ways.current().unwrap();
    assert_eq!(way.to_string(), "NV12 LINEAR in udmabuf, by buffer");
    let layout = way.layout.as_ref().unwrap();
    assert_eq!(
        (layout.size(), layout.planes()[0].stride),
        (Size::new(641, 361), 768)
    );
    let made = way
        .allocator
        .unwrap()
        .allocate_set(&way.request().unwrap(), 2, next_generation())
        .unwrap();
    assert!(
        made.iter()
            .all(|buffer| buffer.is_dmabuf() && buffer.layout() == layout)
    );
}

#[test]
fn without_a_dmabuf_the_gpu_reads_shared_memory_and_the_reason_is_kept() {
    let chain = Chain::new(Udmabuf::at("/nowhere/udmabuf"))
        .or(DmaHeap::at("/nowhere/heap"))
        .or(Memfd::new());
    let picture = Picture::new(Size::new(64, 64));
    let mut ways = plan(
        &decoder(Fourcc::YUYV),
        &gpu(Fourcc::YUYV),
        chain.allocators(),
        &picture,
    )
    .unwrap();
    assert_eq!(
        ways.current().unwrap().to_string(),
        "YUYV LINEAR in memfd, by host pointer"
    );
    assert_eq!(ways.missing().len(), 2);
    assert!(ways.missing()[0].reason.to_string().contains("modprobe udmabuf"));
    assert_eq!(ways.refuse("no extension").unwrap().route(), Route::Copy);
    let error = ways.refuse("no staging memory").unwrap_err();
    let text = error.to_string();
    for part in [
        "host pointer: no extension",
        "copy: no staging memory",
        "by buffer: it is no dma-buf",
        "udmabuf passed over",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(matches!(error, Error::NoWay { .. }) && ways.current().is_none());
    assert!(ways.refuse("again").is_err());
}

#[test]
fn padding_that_a_driver_wants_is_allocated_and_not_shown() {
    need!(Device::SystemHeap);
    let chain = Chain::new(DmaHeap::system());
    let size = Size::new(1600, 1068);
    let image_only = FormatSet::new("amd")
        .with_usage(Usage::Sample)
        .with_driver(Driver::Amd, true);
    let image_only = image_only.by(Route::Image).with(Fourcc::XRGB8888, LINEAR);
    let ways = plan(
        &decoder(Fourcc::XRGB8888),
        &image_only,
        chain.allocators(),
        &Picture::new(size),
    )
    .unwrap();
    let way = ways.current().unwrap();
    let layout = way.layout.as_ref().unwrap();
    assert_eq!(way.visible, Rect::full(size));
    assert_eq!(
        (layout.size(), layout.planes()[0].stride),
        (Size::new(1600, 1072), 6400)
    );
    let made = way
        .allocator
        .unwrap()
        .allocate(layout, next_generation())
        .unwrap();
    assert!(
        made.objects()[0].size() >= 6_860_800,
        "as much as the driver computes"
    );
}

#[test]
fn a_cameras_fixed_layout_goes_by_the_routes_that_take_it() {
    let layout = Layout::tight(Fourcc::NV12, Size::new(1928, 1088)).unwrap();
    let picture = Picture::new(layout.size()).fixed(layout.clone(), [layout.object_len(0)]);
    let camera = decoder(Fourcc::NV12)
        .with_own_memory(MemoryKind::Contiguous)
        .takes(Takes::Nothing);
    let image_and_copy = FormatSet::new("amd").with_driver(Driver::Amd, true);
    let image_and_copy = image_and_copy
        .by(Route::Image)
        .with(Fourcc::NV12, LINEAR)
        .by(Route::Copy)
        .with(Fourcc::NV12, LINEAR);
    let ways = plan(&camera, &image_and_copy, [], &picture).unwrap();
    let way = ways.current().unwrap();
    assert_eq!((way.route(), way.layout.as_ref()), (Route::Copy, Some(&layout)));
    assert!(way.allocator.is_none());
    let reasons: Vec<_> = ways
        .plan()
        .passed_over()
        .map(|(way, why)| format!("{way}: {why}"))
        .collect();
    assert_eq!(
        reasons,
        [
            "NV12 LINEAR in the decoder's own memory (contiguous), by image: plane 0: stride 1928 is not a multiple of 256"
        ]
    );
}

#[test]
fn memory_for_a_camera_has_the_cameras_layout() {
    need!(Device::Udmabuf);
    let layout = Layout::tight(Fourcc::YUYV, Size::new(322, 100)).unwrap();
    let picture = Picture::new(layout.size()).fixed(layout.clone(), [layout.object_len(0)]);
    let camera = decoder(Fourcc::YUYV).takes(Takes::Dmabufs);
    let chain = Chain::new(Memfd::new()).or(Udmabuf::new());
    let ways = plan(&camera, &gpu(Fourcc::YUYV), chain.allocators(), &picture).unwrap();
    let way = ways.current().unwrap();
    assert_eq!(
        way.allocator.map(Allocator::name),
        Some("udmabuf"),
        "a camera does not write into a memfd"
    );
    assert_eq!(way.request(), Some(Request::exact(layout)));
}

/// A tiling of NVIDIA's.
const BLOCKS: Modifier = Modifier(0x0300_0000_0060_6014);

/// Lays tiled planes out as a driver might, in so many objects.
#[derive(Debug)]
struct Tiler {
    inner: Chain,
    objects: usize,
}

impl Allocator for Tiler {
    fn name(&self) -> &str {
        "tiler"
    }

    fn probe(&self) -> Result<Available, Error> {
        self.inner.probe()
    }

    fn formats(&self) -> FormatSet {
        FormatSet::new("tiler").with(Fourcc::NV12, BLOCKS)
    }

    fn plan(&self, request: &Request) -> Result<Layout, Error> {
        let size = request.size();
        let len = u64::from(size.width) * u64::from(size.height) * 2;
        let planes = [0, 1].map(|plane| Plane {
            object: plane % self.objects,
            offset: if self.objects == 1 {
                len / 2 * plane as u64
            } else {
                0
            },
            stride: size.width,
        });
        let sizes = vec![len; self.objects];
        Ok(Layout::check(Fourcc::NV12, BLOCKS, size, &planes, &sizes).unwrap())
    }

    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, Error> {
        self.inner.allocate(layout, generation)
    }
}

#[test]
fn a_tiling_whose_planes_lie_as_the_driver_cannot_read_them_is_no_way() {
    need!(Device::Udmabuf);
    let nvidia = FormatSet::new("nvidia").with_usage(Usage::Sample);
    let nvidia = nvidia.with_driver(Driver::Nvidia, true).by(Route::Image);
    let nvidia = nvidia.with(Fourcc::NV12, BLOCKS);
    let tiled = FormatSet::new("decoder").with(Fourcc::NV12, BLOCKS);
    let picture = Picture::new(Size::new(64, 64));
    for (objects, well) in [(2, true), (1, false)] {
        let tiler = Tiler {
            inner: Chain::standard(),
            objects,
        };
        let allocators: [&dyn Allocator; 1] = [&tiler];
        let ways = plan(&tiled, &nvidia, allocators, &picture);
        match ways {
            Ok(ways) => assert!(well, "{}", ways.current().unwrap()),
            Err(error) => {
                assert!(!well, "{error}");
                assert!(error.to_string().contains("shares object 0"), "{error}");
            }
        }
    }
}
