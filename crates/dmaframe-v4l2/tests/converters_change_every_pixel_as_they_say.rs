//! What comes out of a converter is, to the byte, what its driver says it does to a picture; nothing is copied on the way
//! in when the driver can read the frame where it is, and one copy is made and reported when it cannot.

mod common;

use common::{PATIENCE, pixels, pool, rest, shown, through};
use dmaframe_alloc::{Bytes, FramePool, Request};
use dmaframe_core::{Fourcc, Layout, Orientation, Rotation, Size};
use dmaframe_v4l2::{Converter, Device, Error, FormatRequest, Output, PixelFormat};

const SIZE: Size = Size::new(160, 96);
/// `V4L2_CID_USER_BASE + 0x1000` of vim2m.
const TRANSACTION_TIME: u32 = 0x0098_1900;

fn open(path: &std::path::Path, hflip: bool, vflip: bool) -> Device {
    let device = Device::open_m2m(path).unwrap();
    device.set_control(TRANSACTION_TIME, 1).unwrap();
    device.set_control("Horizontal Flip", i64::from(hflip)).unwrap();
    device.set_control("Vertical Flip", i64::from(vflip)).unwrap();
    device
}

/// What vim2m does to tight RGB3, by its source.
fn converted(rgb: &[u8], to: PixelFormat, hflip: bool, vflip: bool) -> Vec<u8> {
    let (width, height) = (SIZE.width as usize, SIZE.height as usize);
    let at = |x: usize, y: usize| {
        let x = if hflip { width - 1 - x } else { x };
        let y = if vflip { height - 1 - y } else { y };
        let at = (y * width + x) * 3;
        [rgb[at], rgb[at + 1], rgb[at + 2]]
    };
    let mut out = Vec::new();
    for y in 0..height {
        for x in (0..width).step_by(2) {
            let (one, two) = (at(x, y), at(x + 1, y));
            let weigh = |[r, g, b]: [u8; 3], [kr, kg, kb]: [i32; 3], offset: i32| {
                ((kr * i32::from(r) + kg * i32::from(g) + kb * i32::from(b) + offset) >> 15) as u8
            };
            let luma = |pixel| weigh(pixel, [8453, 16594, 3223], 524_288);
            match to {
                PixelFormat::RGB24 => out.extend([one, two].concat()),
                PixelFormat::BGR24 => out.extend([one[2], one[1], one[0], two[2], two[1], two[0]]),
                PixelFormat::YUYV => out.extend([
                    luma(one),
                    weigh(one, [-4878, -9578, 14456], 4_210_688),
                    luma(two),
                    weigh(one, [14456, -12105, -2351], 4_210_688),
                ]),
                // RGGB.
                _ if y % 2 == 0 => out.extend([one[0], two[1]]),
                _ => out.extend([one[1], two[2]]),
            }
        }
    }
    out
}

fn layout() -> Layout {
    Layout::tight(Fourcc::BGR888, SIZE).unwrap()
}

fn start(device: Device, to: PixelFormat) -> Converter {
    Converter::builder(device)
        .input(FormatRequest::new(PixelFormat::RGB24, SIZE))
        .output(FormatRequest::new(to, SIZE))
        .start()
        .unwrap()
}

#[test]
fn each_pixel_and_each_timestamp_comes_out_as_documented() {
    let path = need_m2m!("vim2m", Converter);
    for to in [
        PixelFormat::RGB24,
        PixelFormat::BGR24,
        PixelFormat::YUYV,
        PixelFormat::new(b"RGGB"),
    ] {
        for (hflip, vflip) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut converter = start(open(&path, hflip, vflip), to);
            let pool = pool(&layout(), 6);
            let pictures = (0..6).map(|n| common::picture(&pool, n, 1_000_000_007 + n));
            let out = through(&mut converter, pictures, shown);
            assert_eq!(out.len(), 6);
            for (n, (bytes, meta)) in (0..).zip(&out) {
                let rgb = common::pattern(&layout(), n);
                assert_eq!(
                    *bytes,
                    converted(&rgb, to, hflip, vflip),
                    "{to} {hflip} {vflip} picture {n}"
                );
                let time = meta.timestamp.unwrap();
                assert_eq!(
                    (time.ns, time.clock),
                    (1_000_000_007 + n, dmaframe_core::Clock::Boottime)
                );
                assert_eq!(meta.sequence, Some(n));
            }
            assert_eq!(converter.input_hop().counts().zero_copy, 6);
            assert_eq!(converter.output_hop().counts().cpu_bytes, 0);
            assert_eq!(pool.outstanding(), 0, "read and given back");
        }
    }
}

/// CPU frames, and rows the driver does not have: one copy each, told with its reason.
#[test]
fn what_the_driver_cannot_read_in_place_is_copied_once_and_told() {
    let path = need_m2m!("vim2m", Converter);
    let cpu = FramePool::builder(layout())
        .slots(3)
        .allocator(Bytes::new())
        .build()
        .unwrap();
    let padded = Request::new(Fourcc::BGR888, SIZE).row_align(512);
    let padded = FramePool::builder(padded)
        .slots(3)
        .allocator(dmaframe_alloc::Chain::dmabuf())
        .build()
        .unwrap();
    for (pool, reason) in [(cpu, "no dma-buf"), (padded, "strides")] {
        let mut converter = start(open(&path, false, false), PixelFormat::BGR24);
        let out = through(
            &mut converter,
            (0..5).map(|n| common::picture(&pool, n, n)),
            shown,
        );
        for (n, (bytes, _)) in (0..).zip(&out) {
            let rgb = common::pattern(&layout(), n);
            assert_eq!(*bytes, converted(&rgb, PixelFormat::BGR24, false, false));
        }
        let hop = converter.input_hop().counts();
        assert_eq!((hop.zero_copy, hop.frames), (0, 5));
        assert_eq!(hop.cpu_bytes, 5 * layout().tight_len());
        assert!(hop.reason.unwrap().contains(reason), "{hop}");
    }
}

/// A driver that imports nothing.
#[test]
fn the_drivers_own_input_buffers_hold_the_same_picture() {
    let path = need_m2m!("vim2m", Converter);
    let mut converter = Converter::builder(open(&path, false, true))
        .input(FormatRequest::new(PixelFormat::RGB24, SIZE))
        .output(FormatRequest::new(PixelFormat::YUYV, SIZE))
        .copy_input()
        .start()
        .unwrap();
    let pool = pool(&layout(), 2);
    let out = through(
        &mut converter,
        (0..9).map(|n| common::picture(&pool, n, n)),
        shown,
    );
    assert_eq!(out.len(), 9);
    for (n, (bytes, _)) in (0..).zip(&out) {
        let rgb = common::pattern(&layout(), n);
        assert_eq!(
            *bytes,
            converted(&rgb, PixelFormat::YUYV, false, true),
            "picture {n}"
        );
    }
    assert_eq!(
        converter.input_hop().counts().reason,
        Some("the driver reads its own buffers")
    );
}

/// The caller's memory on both sides: nothing of the driver's own is touched.
#[test]
fn outputs_go_into_the_callers_buffers() {
    let path = need_m2m!("vim2m", Converter);
    let mut converter = Converter::builder(open(&path, true, false))
        .input(FormatRequest::new(PixelFormat::RGB24, SIZE))
        .output(FormatRequest::new(PixelFormat::BGR24, SIZE))
        .output_into(|_, layout| {
            let chain = dmaframe_alloc::Chain::dmabuf();
            let set = dmaframe_alloc::Allocator::allocate_set(&chain, &layout.into(), 4, 9).unwrap();
            set.into_iter().map(std::sync::Arc::new).collect()
        })
        .start()
        .unwrap();
    let pool = pool(&layout(), 6);
    let mut frames = 0;
    let out = through(
        &mut converter,
        (0..8).map(|n| common::picture(&pool, n, n)),
        |output| {
            if let Output::Item(frame) = &output {
                assert_eq!(frame.buffer_id().generation(), 9, "the caller's");
                assert!(frame.map_read(PATIENCE).unwrap().has_slices());
                frames += 1;
            }
            shown(output)
        },
    );
    assert_eq!(frames, 8);
    for (n, (bytes, _)) in (0..).zip(&out) {
        let rgb = common::pattern(&layout(), n);
        assert_eq!(*bytes, converted(&rgb, PixelFormat::BGR24, true, false));
    }
    let names = [converter.input_hop(), converter.output_hop()].map(|hop| hop.counts().name);
    assert_eq!(names, ["vim2m(V4L2,OUTPUT)", "vim2m(V4L2,CAPTURE)"]);
}

#[test]
fn orientation_and_extensions_go_through() {
    let path = need_m2m!("vim2m", Converter);
    let mut converter = start(open(&path, false, false), PixelFormat::BGR24);
    let pool = pool(&layout(), 1);
    let mut frame = common::picture(&pool, 1, 5);
    let turned = Orientation {
        rotation: Rotation::R90,
        mirror: true,
    };
    frame.meta_mut().unwrap().orientation = turned;
    frame.meta_mut().unwrap().extensions.insert(42u8);
    converter.try_submit(frame).unwrap();
    converter.drain().unwrap();
    let out = rest(&mut converter);
    assert_eq!(out[0].meta().orientation, turned);
    assert_eq!(out[0].meta().extensions.get::<u8>(), Some(&42));
}

#[test]
fn a_size_or_a_picture_the_driver_does_not_take_is_refused_with_both() {
    let path = need_m2m!("vim2m", Converter);
    let odd = Converter::builder(open(&path, false, false))
        .input(FormatRequest::new(PixelFormat::RGB24, Size::new(161, 96)))
        .start()
        .unwrap_err();
    assert!(
        matches!(odd, Error::SizeRefused { asked, offered, .. }
            if asked == Size::new(161, 96) && offered == Size::new(162, 96)),
        "{odd}"
    );

    let mut converter = start(open(&path, false, false), PixelFormat::BGR24);
    let other = pool(&Layout::tight(Fourcc::RGB888, SIZE).unwrap(), 1);
    let rejected = converter.try_submit(common::picture(&other, 0, 0)).unwrap_err();
    assert!(matches!(&rejected.error, Error::InputMismatch { reason, .. } if reason.contains("RG24")));
    assert_eq!(
        pixels(&rejected.value).len(),
        SIZE.width as usize * SIZE.height as usize * 3
    );
    let small = pool(&Layout::tight(Fourcc::BGR888, Size::new(64, 64)).unwrap(), 1);
    let rejected = converter.try_submit(common::picture(&small, 0, 0)).unwrap_err();
    assert!(rejected.error.to_string().contains("64x64"), "{}", rejected.error);
    // Neither has harmed it.
    let pool = pool(&layout(), 1);
    converter.submit(common::picture(&pool, 3, 0), PATIENCE).unwrap();
    converter.drain().unwrap();
    assert_eq!(rest(&mut converter).len(), 1);
}

/// The driver reads a frame's memory only until it says so, and until then nobody may fill it again.
#[test]
fn an_input_is_kept_until_the_driver_has_read_it_and_no_longer() {
    let path = need_m2m!("vim2m", Converter);
    let device = open(&path, false, false);
    // Long enough to be looked at meanwhile.
    device.set_control(TRANSACTION_TIME, 150).unwrap();
    let mut converter = start(device, PixelFormat::BGR24);
    let pool = pool(&layout(), 3);
    converter.try_submit(common::picture(&pool, 1, 1)).unwrap();
    converter.try_submit(common::picture(&pool, 2, 2)).unwrap();
    assert!(converter.try_next().unwrap().is_none());
    assert_eq!(
        (pool.outstanding(), converter.queued()),
        (2, 2),
        "both are being read"
    );
    drop(converter.next(PATIENCE).unwrap().unwrap());
    assert_eq!((pool.outstanding(), converter.queued()), (1, 1), "one has been");
    drop(converter.next(PATIENCE).unwrap().unwrap());
    assert!(converter.try_next().unwrap().is_none());
    assert_eq!((pool.outstanding(), converter.queued()), (0, 0));
}
