//! One test a row: the case it is about, and the nearest one it is not about.

use super::*;
use crate::negotiate::{FormatSet, MemoryOffer, plan};

fn case(driver: Driver, fourcc: Fourcc, modifier: Modifier, route: Route, memory: MemoryKind) -> Case {
    Case {
        driver: Some(driver),
        discrete: false,
        usage: Usage::Sample,
        pair: Pair { fourcc, modifier },
        route,
        memory,
    }
}

fn names(case: &Case) -> Vec<&'static str> {
    of(case).map(|quirk| quirk.name).collect()
}

/// A GPU that takes `fourcc` by buffer and image, and can copy.
fn gpu(driver: Driver, discrete: bool, usage: Usage, fourcc: Fourcc, modifier: Modifier) -> FormatSet {
    let set = FormatSet::new("gpu")
        .with_usage(usage)
        .with_driver(driver, discrete);
    set.by(Route::Buffer)
        .with(fourcc, Modifier::LINEAR)
        .by(Route::Image)
        .with(fourcc, modifier)
        .by(Route::Copy)
        .with(fourcc, Modifier::LINEAR)
}

fn pages(fourcc: Fourcc, modifier: Modifier) -> MemoryOffer {
    MemoryOffer::new(
        "udmabuf",
        MemoryKind::Pages,
        FormatSet::new("udmabuf").with(fourcc, modifier),
    )
}

fn routes(producer: &FormatSet, consumer: &FormatSet, offers: &[MemoryOffer]) -> Vec<Route> {
    let plan = plan(producer, consumer, offers).unwrap();
    plan.remaining().iter().map(|candidate| candidate.route).collect()
}

#[test]
fn nvidia_linear_sampling_comes_after_every_other_way_without_a_copy() {
    let (liked, other, tiled) = (
        Fourcc::ABGR8888,
        Fourcc::XRGB8888,
        Modifier(0x0300_0000_0060_6010),
    );
    let both = |name| {
        let set = FormatSet::new(name).with_usage(Usage::Sample).by(Route::Image);
        set.with(liked, Modifier::LINEAR).with(other, tiled)
    };
    let order = |driver| {
        let consumer = both("gpu").with_driver(driver, true);
        let memory = MemoryOffer::new("gbm", MemoryKind::Device, both("gbm"));
        let plan = plan(&both("decoder"), &consumer, &[memory]).unwrap();
        let list = plan.remaining().iter().map(|candidate| candidate.pair.fourcc);
        list.collect::<Vec<_>>()
    };
    assert_eq!(order(Driver::Other), [liked, other]);
    assert_eq!(order(Driver::Nvidia), [other, liked]);
    let image = case(
        Driver::Nvidia,
        liked,
        Modifier::LINEAR,
        Route::Image,
        MemoryKind::Pages,
    );
    assert_eq!(names(&image), ["nvidia-linear-sampling"]);
    assert!(
        names(&Case {
            route: Route::Buffer,
            ..image
        })
        .is_empty()
    );
}

#[test]
fn nvidia_never_renders_into_linear_images() {
    let linear = Modifier::LINEAR;
    let producer = FormatSet::new("filter").with(Fourcc::ABGR8888, linear);
    let offers = [pages(Fourcc::ABGR8888, linear)];
    let consumer = gpu(Driver::Nvidia, true, Usage::Render, Fourcc::ABGR8888, linear);
    assert_eq!(
        routes(&producer, &consumer, &offers),
        [Route::Buffer, Route::Copy]
    );
    let other = gpu(Driver::Other, true, Usage::Render, Fourcc::ABGR8888, linear);
    assert_eq!(
        routes(&producer, &other, &offers),
        [Route::Buffer, Route::Image, Route::Copy]
    );
}

#[test]
fn nvidia_linear_chroma_begins_at_64_kib() {
    let nv12 = case(
        Driver::Nvidia,
        Fourcc::NV12,
        Modifier::LINEAR,
        Route::Image,
        MemoryKind::Pages,
    );
    let needs = needs(&nv12);
    assert_eq!(needs.offset, 65_536);
    let tight = Layout::tight(Fourcc::NV12, Size::new(64, 64)).unwrap();
    let why = needs.check(&tight, &[1 << 20]).unwrap_err();
    assert_eq!(why, "plane 1: offset 4096 is not a multiple of 65536");
    let made = needs.layout(Fourcc::NV12, Size::new(64, 64), 1).unwrap();
    assert_eq!(made.planes()[1].offset, 65_536);
    assert_eq!(needs.check(&made, &[made.object_len(0)]), Ok(()));
    // One plane has no chroma, and buffers have no layout of their own.
    assert_eq!(
        super::needs(&Case {
            pair: Pair {
                fourcc: Fourcc::YUYV,
                ..nv12.pair
            },
            ..nv12
        })
        .offset,
        1
    );
    assert_eq!(
        super::needs(&Case {
            route: Route::Buffer,
            ..nv12
        })
        .offset,
        1
    );
}

#[test]
fn nvidia_tiled_chroma_is_in_an_object_of_its_own() {
    let tiled = Modifier(0x0300_0000_0060_6010);
    let nv12 = case(
        Driver::Nvidia,
        Fourcc::NV12,
        tiled,
        Route::Image,
        MemoryKind::Device,
    );
    let needs = needs(&nv12);
    assert!(needs.object_per_plane);
    let planes = |object| {
        [
            Plane {
                object: 0,
                offset: 0,
                stride: 64,
            },
            Plane {
                object,
                offset: 0,
                stride: 64,
            },
        ]
    };
    let size = Size::new(64, 64);
    let shared = Layout::check(Fourcc::NV12, tiled, size, &planes(0), &[1 << 20]).unwrap();
    assert!(
        needs
            .check(&shared, &[1 << 20])
            .unwrap_err()
            .contains("shares object 0")
    );
    let apart = Layout::check(Fourcc::NV12, tiled, size, &planes(1), &[1 << 20, 1 << 20]).unwrap();
    assert_eq!(needs.check(&apart, &[1 << 20, 1 << 20]), Ok(()));
    assert!(
        !super::needs(&Case {
            driver: Some(Driver::Other),
            ..nv12
        })
        .object_per_plane
    );
}

#[test]
fn amd_linear_rows_begin_at_multiples_of_256() {
    let nv12 = case(
        Driver::Amd,
        Fourcc::NV12,
        Modifier::LINEAR,
        Route::Image,
        MemoryKind::Pages,
    );
    let needs = needs(&nv12);
    assert_eq!(needs.pitch, 256);
    let camera = Layout::tight(Fourcc::NV12, Size::new(1928, 1088)).unwrap();
    let why = needs.check(&camera, &[u64::MAX]).unwrap_err();
    assert_eq!(why, "plane 0: stride 1928 is not a multiple of 256");
    assert_eq!(
        super::needs(&Case {
            route: Route::Buffer,
            ..nv12
        })
        .pitch,
        1,
        "shaders read any stride"
    );
    assert_eq!(
        needs
            .layout(Fourcc::NV12, Size::new(1928, 1088), 64)
            .unwrap()
            .planes()[0]
            .stride,
        2048
    );
}

#[test]
fn amd_objects_hold_the_padded_height() {
    // The size of the report: 1068 rows, padded to 1072.
    let size = Size::new(1600, 1068);
    let rgb = case(
        Driver::Amd,
        Fourcc::XRGB8888,
        Modifier::LINEAR,
        Route::Image,
        MemoryKind::Pages,
    );
    let needs = needs(&rgb);
    let plain = Layout::linear(Fourcc::XRGB8888, size, 256).unwrap();
    let why = needs.check(&plain, &[plain.object_len(0)]).unwrap_err();
    assert!(
        why.contains("with 1072 rows needs 6860800 bytes, the object has 6835200"),
        "{why}"
    );
    assert_eq!(needs.check(&plain, &[6_860_800]), Ok(()));
    let made = needs.layout(Fourcc::XRGB8888, size, 256).unwrap();
    assert_eq!(made.size(), Size::new(1600, 1072));
    assert_eq!(needs.check(&made, &[made.object_len(0)]), Ok(()));
}

#[test]
fn the_pi_5_never_samples_linear_images_but_reads_buffers() {
    let linear = Modifier::LINEAR;
    let producer = FormatSet::new("camera").with(Fourcc::XRGB8888, linear);
    let offers = [pages(Fourcc::XRGB8888, linear)];
    let consumer = gpu(Driver::V3d, false, Usage::Sample, Fourcc::XRGB8888, linear);
    assert_eq!(
        routes(&producer, &consumer, &offers),
        [Route::Buffer, Route::Copy]
    );
    // Rendering into LINEAR works there.
    let target = gpu(Driver::V3d, false, Usage::Render, Fourcc::XRGB8888, linear);
    assert_eq!(
        routes(&producer, &target, &offers),
        [Route::Buffer, Route::Image, Route::Copy]
    );
}

#[test]
fn the_pis_display_takes_contiguous_memory_only() {
    let linear = Modifier::LINEAR;
    let display = FormatSet::new("vc4")
        .with_usage(Usage::Scanout)
        .with_driver(Driver::Vc4, false)
        .with(Fourcc::XRGB8888, linear);
    let producer = FormatSet::new("app").with(Fourcc::XRGB8888, linear);
    let why = plan(&producer, &display, &[pages(Fourcc::XRGB8888, linear)])
        .unwrap_err()
        .to_string();
    assert!(why.contains("vc4-contiguous"), "{why}");
    let cma = MemoryOffer::new(
        "cma",
        MemoryKind::Contiguous,
        FormatSet::new("cma").with(Fourcc::XRGB8888, linear),
    );
    assert_eq!(
        routes(&producer, &display, &[pages(Fourcc::XRGB8888, linear), cma]),
        [Route::Dmabuf]
    );
}

#[test]
fn malis_implicit_layout_stays_on_one_device() {
    let mali = |device: Option<u64>| {
        let set = FormatSet::new("mali")
            .with_driver(Driver::Mali, false)
            .by(Route::Image);
        let set = set.with(Fourcc::XRGB8888, Modifier::INVALID);
        device.map_or(set.clone(), |device| set.with_device(device))
    };
    let gbm = |device: Option<u64>| {
        let set = FormatSet::new("gbm").with(Fourcc::XRGB8888, Modifier::INVALID);
        let set = device.map_or(set.clone(), |device| set.with_device(device));
        MemoryOffer::new("gbm", MemoryKind::Device, set)
    };
    let producer = FormatSet::new("app").with(Fourcc::XRGB8888, Modifier::INVALID);
    assert!(plan(&producer, &mali(Some(1)), &[gbm(Some(1))]).is_ok());
    assert!(plan(&producer, &mali(Some(1)), &[gbm(Some(2))]).is_err());
    let why = plan(&producer, &mali(None), &[gbm(None)])
        .unwrap_err()
        .to_string();
    assert!(why.contains("mali-implicit"), "{why}");
    // Elsewhere the import decides, as implicit sharing always has.
    let other = mali(None).with_driver(Driver::Other, false);
    assert!(plan(&producer, &other, &[gbm(None)]).is_ok());
}

#[test]
fn a_card_of_its_own_is_given_vmalloc_memory_last() {
    let linear = Modifier::LINEAR;
    let camera = FormatSet::new("camera")
        .with(Fourcc::YUYV, linear)
        .with_own_memory(MemoryKind::Vmalloc);
    let order = |discrete| {
        let consumer = gpu(Driver::Other, discrete, Usage::Sample, Fourcc::YUYV, linear);
        let plan = plan(&camera, &consumer, &[pages(Fourcc::YUYV, linear)]).unwrap();
        let list = plan.remaining().iter().map(|c| (c.route, c.memory.kind()));
        list.collect::<Vec<_>>()
    };
    let (vmalloc, pages) = (MemoryKind::Vmalloc, MemoryKind::Pages);
    assert_eq!(
        order(false)[..2],
        [(Route::Buffer, vmalloc), (Route::Buffer, pages)]
    );
    let discrete = order(true);
    assert_eq!(discrete[..2], [(Route::Buffer, pages), (Route::Image, pages)]);
    assert_eq!(discrete[2], (Route::Buffer, vmalloc), "before any copy");
    assert_eq!(discrete[4].0, Route::Copy);
}

#[test]
fn every_row_says_why_and_where_it_was_seen_and_has_a_name_of_its_own() {
    for (index, quirk) in TABLE.iter().enumerate() {
        assert!(!quirk.why.is_empty() && !quirk.source.is_empty(), "{quirk}");
        assert!(
            TABLE[..index].iter().all(|other| other.name != quirk.name),
            "{quirk}"
        );
    }
}
