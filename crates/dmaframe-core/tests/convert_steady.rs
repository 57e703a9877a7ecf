//! Converting a steady stream allocates nothing of size, and a table of what it costs. In a binary of its own, since
//! the counting allocator is global.
#![cfg(feature = "convert")]

use std::time::Instant;

use dmaframe_core::convert::{Assume, Converter};
use dmaframe_core::format::Model;
use dmaframe_core::{ColorInfo, Deadline, Fourcc, Frame, FrameMeta, FrameParts, Layout, Orientation, Size};
use dmaframe_testkit::{CountingAllocator, allocated_by};

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

fn source(fourcc: Fourcc, size: Size, turn: usize) -> Frame {
    let layout = Layout::linear(fourcc, size, 64).unwrap();
    let bytes: Vec<u8> = (0..layout.object_len(0))
        .map(|i| (i * 7 / 5) as u8 | 16)
        .collect();
    Frame::from_bytes(bytes, &layout, meta(fourcc, turn)).unwrap()
}

/// In a memfd from outside, whose rows are copied out.
fn foreign(fourcc: Fourcc, size: Size) -> Frame {
    let layout = Layout::linear(fourcc, size, 64).unwrap();
    let mut parts = FrameParts::new(fourcc, size);
    parts.objects = vec![
        dmaframe_testkit::memfd(layout.object_len(0), true)
            .unwrap()
            .into(),
    ];
    parts.planes = layout.planes().to_vec();
    parts.meta = meta(fourcc, 0);
    Frame::try_from(parts).unwrap()
}

fn meta(fourcc: Fourcc, turn: usize) -> FrameMeta {
    let mut meta = FrameMeta::default();
    meta.color = match fourcc.info().unwrap().model {
        Model::Yuv => ColorInfo::BT709,
        _ => ColorInfo::SRGB,
    };
    meta.orientation = Orientation::all()[turn];
    meta
}

fn target(fourcc: Fourcc, size: Size) -> Frame {
    let layout = Layout::linear(fourcc, size, 64).unwrap();
    let bytes = vec![0u8; layout.object_len(0) as usize];
    Frame::from_bytes(bytes, &layout, FrameMeta::default()).unwrap()
}

#[test]
fn after_the_first_frame_nothing_is_allocated() {
    let size = Size::new(321, 123);
    let formats = [
        Fourcc::NV12,
        Fourcc::YUYV,
        Fourcc::P010,
        Fourcc::AYUV,
        Fourcc::SRGGB10P,
        Fourcc::R8,
        Fourcc::ABGR8888,
        Fourcc::RGB888,
    ];
    for fourcc in formats {
        for frame in [
            source(fourcc, size, 0),
            source(fourcc, size, 5),
            foreign(fourcc, size),
        ] {
            for to in [Fourcc::ABGR8888, Fourcc::NV12, Fourcc::YUV420] {
                let mut converter = Converter::new(Assume::Refuse);
                let mut out = target(to, Converter::size(&frame));
                let mut run = || converter.to_frame(&frame, &mut out, Deadline::NEVER).unwrap();
                run();
                let (_, allocated) = allocated_by(run);
                assert_eq!(allocated.bytes, 0, "bytes for the second {fourcc} to {to}");
            }
        }
    }
}

/// `cargo test --release --features convert --test convert_steady -- --ignored --nocapture`
#[test]
#[ignore = "prints a table of times"]
fn times() {
    let sizes = [Size::new(1920, 1080), Size::new(3840, 2160)];
    let cases = [
        (Fourcc::NV12, Fourcc::ABGR8888, 0, false),
        (Fourcc::NV12, Fourcc::ABGR8888, 1, false),
        (Fourcc::NV12, Fourcc::ABGR8888, 0, true),
        (Fourcc::YUYV, Fourcc::ABGR8888, 0, false),
        (Fourcc::P010, Fourcc::ABGR8888, 0, false),
        (Fourcc::NV15, Fourcc::ABGR8888, 0, false),
        (Fourcc::XRGB8888, Fourcc::ABGR8888, 0, false),
        (Fourcc::SRGGB10P, Fourcc::ABGR8888, 0, false),
        (Fourcc::YUYV, Fourcc::NV12, 0, false),
        (Fourcc::YUYV, Fourcc::NV12, 1, false),
        (Fourcc::NV12, Fourcc::YUV420, 0, false),
        (Fourcc::YUV444, Fourcc::NV12, 0, false),
        (Fourcc::P010, Fourcc::NV12, 0, false),
        (Fourcc::XRGB8888, Fourcc::NV12, 0, false),
        (Fourcc::XRGB8888, Fourcc::NV12, 1, false),
    ];
    println!("{:<34} {:>10} {:>10}   ms, median of 31", "", "1080p", "4K");
    for (from, to, turn, outside) in cases {
        let ms = sizes.map(|size| {
            let frame = if outside {
                foreign(from, size)
            } else {
                source(from, size, turn)
            };
            let mut out = target(to, Converter::size(&frame));
            let mut converter = Converter::new(Assume::Refuse);
            let mut took: Vec<_> = (0..32)
                .map(|_| {
                    let start = Instant::now();
                    converter.to_frame(&frame, &mut out, Deadline::NEVER).unwrap();
                    start.elapsed().as_secs_f64() * 1e3
                })
                .skip(1)
                .collect();
            took.sort_by(f64::total_cmp);
            took[15]
        });
        let how = format!(
            "{from} -> {to}{}{}",
            if turn == 0 { "" } else { ", turned 90" },
            if outside { ", foreign memory" } else { "" }
        );
        println!("{how:<34} {:>10.2} {:>10.2}", ms[0], ms[1]);
    }
}
