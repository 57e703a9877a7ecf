//! Buffers of a GPU's driver come with the driver's own strides, offsets and modifier, each kernel object once.
#![cfg(feature = "gbm")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dmaframe_alloc::{Allocator, Chain, Error, FramePool, Gbm, Memfd, Request, Sharing};
use dmaframe_core::negotiate::{Pair, Usage};
use dmaframe_core::{Fence, Fourcc, Frame, FrameMeta, Lease, Modifier, Size, next_generation};
use dmaframe_testkit::Device;

/// A node libgbm has a driver for: a real GPU's, or vkms with Mesa's software renderer on it.
fn node() -> Result<PathBuf, String> {
    let mut nodes = Gbm::render_nodes();
    nodes.extend(dmaframe_testkit::find(Device::Vkms).ok());
    let request = Request::new(Fourcc::XRGB8888, Size::new(64, 64));
    let mut reasons = Vec::new();
    for path in nodes {
        match Gbm::at(&path).plan(&request) {
            Ok(_) => return Ok(path),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(format!(
        "no DRM node that libgbm can allocate from: {}",
        reasons.join("; ")
    ))
}

macro_rules! gbm {
    () => {
        match node() {
            Ok(path) => Gbm::at(path),
            Err(reason) => return dmaframe_testkit::skip(&reason),
        }
    };
}

#[test]
fn linear_buffers_hold_pictures() {
    let gbm = gbm!();
    assert_eq!(gbm.probe().unwrap().sharing, Sharing::Devices);
    let request = Request::new(Fourcc::XRGB8888, Size::new(321, 101));
    let layout = gbm.plan(&request).unwrap();
    assert!(layout.modifier().is_linear());
    let buffer = gbm.allocate(&layout, next_generation()).unwrap();
    assert_eq!(*buffer.layout(), layout);
    assert_eq!(buffer.objects().len(), 1);
    let mut frame = Frame::new(
        Arc::new(buffer),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap();
    let picture: Vec<u8> = (0..layout.tight_len()).map(|i| (i % 253) as u8).collect();
    frame
        .map_write(Duration::from_secs(1))
        .unwrap()
        .copy_from_tight(&picture)
        .unwrap();
    assert_eq!(
        frame
            .map_read(Duration::from_secs(1))
            .unwrap()
            .to_tight()
            .unwrap(),
        picture
    );
}

#[test]
fn formats_list_what_the_driver_makes_and_it_makes_that() {
    let gbm = gbm!();
    let set = gbm.formats();
    assert!(set.contains(Pair {
        fourcc: Fourcc::XRGB8888,
        modifier: Modifier::LINEAR
    }));
    let mut made = 0;
    for fourcc in set.fourccs().collect::<Vec<_>>() {
        for modifier in set.modifiers(fourcc) {
            let usage = if modifier.is_linear() {
                Usage::Cpu
            } else {
                Usage::Render
            };
            let request = Request::new(fourcc, Size::new(64, 64))
                .modifiers([modifier])
                .usage(usage);
            match gbm.plan(&request) {
                Ok(layout) => {
                    assert_eq!((layout.fourcc(), layout.modifier()), (fourcc, modifier));
                    made += 1;
                }
                // The driver promised too much: still a reason and no panic.
                Err(error) => eprintln!("{error}"),
            }
        }
    }
    assert!(made > 0);
}

#[test]
fn a_modifier_the_driver_lacks_is_refused_and_the_chain_goes_on() {
    let gbm = gbm!();
    let request = Request::new(Fourcc::XRGB8888, Size::new(64, 64));
    let foreign = request.clone().modifiers([Modifier(0x0a00_0000_0000_0001)]);
    let error = gbm.plan(&foreign).unwrap_err();
    assert!(
        matches!(error, Error::Modifier { .. } | Error::Format { .. }),
        "{error:?}"
    );
    let raw = Request::new(Fourcc::SBGGR10P, Size::new(64, 64));
    let chain = Chain::new(gbm).or(Memfd::new());
    chain.plan(&raw).unwrap();
    let verdict = chain.verdict().to_string();
    assert!(
        verdict.contains("gbm /dev/dri/") && verdict.ends_with("memfd taken"),
        "{verdict}"
    );
}

#[test]
fn a_pool_of_gpu_buffers_recycles_and_outlives_its_allocator() {
    let pool = {
        let gbm = gbm!();
        let request = Request::new(Fourcc::XRGB8888, Size::new(128, 64)).usage(Usage::Render);
        FramePool::builder(request)
            .slots(2)
            .allocator(gbm)
            .build()
            .unwrap()
    };
    let first = pool.try_acquire().unwrap().buffer_id();
    drop(pool.try_acquire().unwrap());
    assert_eq!(pool.try_acquire().unwrap().buffer_id(), first);
}

#[test]
fn a_device_somebody_else_opened_will_do() {
    let path = match node() {
        Ok(path) => path,
        Err(reason) => return dmaframe_testkit::skip(&reason),
    };
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let gbm = Gbm::from_fd(file.into());
    assert_eq!(gbm.name(), format!("gbm {}", path.display()));
    gbm.probe().unwrap();
}

#[test]
fn a_node_without_a_driver_is_an_error() {
    let error = Gbm::at("/nowhere/renderD128").probe().unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    assert!(
        Gbm::at("/dev/null").probe().is_err(),
        "libgbm itself would take it"
    );
}
