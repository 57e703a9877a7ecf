//! What this crate's tests share: vivid, switched to a still picture, and buffers to import.

#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod codec;
pub(crate) mod sys;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dmaframe_alloc::{Chain, FramePool};
use dmaframe_core::{
    Bitstream, Buffer, Clock, Frame, FrameMeta, Layout, Object, Size, Starvation, Timestamp,
};
use dmaframe_v4l2::{
    Capture, Captured, Device, Error, Format, FormatRequest, Interval, Item, Mem2Mem, Output, PixelFormat,
    Role, list_m2m,
};

/// Far more than a frame takes, so that a hang is a failure and not a time-out of the whole run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The size vivid makes fast even in a guest.
pub(crate) const SMALL: Size = Size::new(320, 180);

/// A device streams for one test at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The path of the single-planar vivid, or a visible skip.
#[macro_export]
macro_rules! need_vivid {
    () => {
        dmaframe_testkit::need!(dmaframe_testkit::Device::Capture("vivid"))
    };
    (multiplanar) => {
        dmaframe_testkit::need!(dmaframe_testkit::Device::CaptureMplane("vivid"))
    };
}

/// Opens a vivid and takes everything out of its picture that moves.
pub(crate) fn still(path: &Path) -> Device {
    let device = Device::open(path).unwrap();
    device.set_input(0).unwrap();
    device.set_menu("OSD Text Mode", "None").unwrap();
    device.set_menu("Horizontal Movement", "No Movement").unwrap();
    device.set_menu("Vertical Movement", "No Movement").unwrap();
    device
}

/// A still vivid that is set to small pictures of `format`.
pub(crate) fn set(path: &Path, format: PixelFormat) -> (Device, Format) {
    let device = still(path);
    let format = device.set_format(FormatRequest::new(format, SMALL)).unwrap();
    (device, format)
}

/// As many frames a second as vivid has for `format` and `size`.
pub(crate) fn fast(device: Device, format: PixelFormat, size: Size) -> dmaframe_v4l2::CaptureBuilder {
    Capture::builder(device)
        .format(FormatRequest::new(format, size))
        .interval(Interval::fps(120))
}

/// A capture of three buffers, all of which consumers may hold.
pub(crate) fn unbudgeted(path: &Path) -> Capture {
    let builder = fast(still(path), PixelFormat::NV12, SMALL).buffers(3);
    builder.budget(0, Starvation::Drop).start().unwrap()
}

/// A rate the guest keeps up with, so that no picture is lost but by the test's will.
pub(crate) fn steady(device: Device) -> dmaframe_v4l2::CaptureBuilder {
    let request = FormatRequest::new(PixelFormat::YUYV, SMALL);
    Capture::builder(device)
        .format(request)
        .interval(Interval::fps(25))
}

/// The next frame; a test that gets none has failed.
pub(crate) fn frame(capture: &mut Capture) -> Frame {
    next(capture)
        .unwrap()
        .into_frame()
        .expect("a frame, not a bitstream")
}

/// The next picture or the error.
pub(crate) fn next(capture: &mut Capture) -> Result<Captured, Error> {
    Ok(capture.next(PATIENCE)?.expect("no picture within the deadline"))
}

/// One picture through `read(2)`: the kernel's own copy, which shares nothing with the code under test but the format
/// that was set before. Single-planar formats only.
pub(crate) fn read_picture(path: &Path, format: &Format) -> Vec<u8> {
    let mut file = File::open(path).unwrap();
    let mut bytes = vec![0; format.memory_planes()[0].size as usize];
    file.read_exact(&mut bytes).unwrap();
    bytes
}

/// The pixels without padding.
pub(crate) fn pixels(frame: &Frame) -> Vec<u8> {
    frame.map_read(PATIENCE).unwrap().to_tight().unwrap()
}

/// Where the memory to import comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allocator {
    Udmabuf,
    SystemHeap,
}

/// One memory plane of at least `size` bytes.
pub(crate) fn allocate(node: &Path, from: Allocator, size: u64) -> OwnedFd {
    let size = size.next_multiple_of(4096);
    match from {
        Allocator::Udmabuf => dmaframe_testkit::udmabuf(node, size).unwrap(),
        Allocator::SystemHeap => dmaframe_testkit::system_heap(node, size, true).unwrap(),
    }
}

/// Buffers of the layout the device writes, as a pool makes them.
pub(crate) fn buffers(
    device: &Device,
    format: &Format,
    node: &Path,
    from: Allocator,
    count: usize,
) -> Vec<Arc<Buffer>> {
    let layout = format.layout(device).unwrap();
    let generation = dmaframe_core::next_generation();
    let objects = |_| {
        let planes = format.memory_planes().iter().enumerate();
        planes
            .map(|(index, plane)| {
                Arc::new(Object::new(allocate(node, from, plane.size.into()), index).unwrap())
            })
            .collect()
    };
    (0..count)
        .map(objects)
        .map(|objects| Arc::new(sys::private(&layout, objects, generation)))
        .collect()
}

/// A mem2mem device of `driver` that does `role`, or a visible skip.
#[macro_export]
macro_rules! need_m2m {
    ($driver:expr, $role:ident) => {
        match $crate::common::m2m($driver, dmaframe_v4l2::Role::$role) {
            Some(path) => path,
            None => {
                dmaframe_testkit::skip(concat!("no ", $driver, " ", stringify!($role)));
                return;
            }
        }
    };
}

/// The first mem2mem node of `driver` that does `role`.
pub(crate) fn m2m(driver: &str, role: Role) -> Option<PathBuf> {
    let found = list_m2m().unwrap().into_iter();
    let mut fitting = found.filter(|m2m| m2m.capabilities.driver == driver && m2m.roles.contains(&role));
    fitting.next().map(|m2m| m2m.path)
}

/// A pool of dma-bufs of exactly `layout`.
pub(crate) fn pool(layout: &Layout, slots: usize) -> FramePool {
    FramePool::builder(layout)
        .slots(slots)
        .allocator(Chain::dmabuf())
        .build()
        .unwrap()
}

/// A picture of the pool that shows something else for each `n`, with the time `ns`.
pub(crate) fn picture(pool: &FramePool, n: u64, ns: u64) -> Frame {
    let mut frame = pool.acquire(PATIENCE).unwrap();
    let mut view = frame.map_write(PATIENCE).unwrap();
    let tight = pattern(view.layout(), n);
    view.copy_from_tight(&tight).unwrap();
    drop(view);
    frame.meta_mut().unwrap().timestamp = Some(Timestamp {
        ns,
        clock: Clock::Boottime,
    });
    frame
}

/// Tight bytes of a picture with smooth parts, edges and noise. By whole rows: it is drawn often, and without
/// optimisation.
pub(crate) fn pattern(layout: &Layout, n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut noise = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for plane in 0..layout.planes().len() {
        let (rows, len) = (u64::from(layout.rows(plane)), layout.row_bytes(plane) as u64);
        // Rows in which the light squares stand at even places, and those in which they do not.
        let squares = [0, 1].map(|odd| {
            let row = (0..len).map(|x| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let edge = if (x / 32 + odd) % 2 == 0 { 64 } else { 0 };
                ((x + n * 3) / 4 + edge + (noise >> 61)) as u8
            });
            row.collect::<Vec<u8>>()
        });
        for y in 0..rows {
            let row = &squares[((y / 32 + n) % 2) as usize];
            let darker = (y / 4) as u8;
            bytes.extend(row.iter().map(|value| value.wrapping_add(darker)));
        }
    }
    bytes
}

/// Takes outputs until the drain has ended.
pub(crate) fn rest<I: Item, O: Item>(device: &mut Mem2Mem<I, O>) -> Vec<O> {
    let mut list = Vec::new();
    loop {
        match device
            .next(PATIENCE)
            .unwrap()
            .expect("nothing came out within the deadline")
        {
            Output::Item(item) => list.push(item),
            Output::Drained => return list,
            Output::Format(_) => {}
            other => panic!("not expected here: {:?}", std::mem::discriminant(&other)),
        }
    }
}

/// Puts everything through and gives what came out, each output's memory given back at once where `keep` copies it.
pub(crate) fn through<I: Item, O: Item, T>(
    device: &mut Mem2Mem<I, O>,
    inputs: impl IntoIterator<Item = I>,
    mut keep: impl FnMut(Output<O>) -> Option<T>,
) -> Vec<T> {
    let mut list = Vec::new();
    for mut input in inputs {
        while let Err(rejected) = device.try_submit(input) {
            assert!(matches!(rejected.error, Error::Full { .. }), "{}", rejected.error);
            input = rejected.value;
            list.extend(device.next(PATIENCE).unwrap().and_then(&mut keep));
        }
        while let Some(output) = device.try_next().unwrap() {
            list.extend(keep(output));
        }
    }
    device.drain().unwrap();
    loop {
        match device
            .next(PATIENCE)
            .unwrap()
            .expect("nothing came out within the deadline")
        {
            Output::Drained => return list,
            other => list.extend(keep(other)),
        }
    }
}

/// An access unit's bytes and time.
pub(crate) fn coded(output: Output<Bitstream>) -> Option<Bitstream> {
    output.into_item().map(|unit| unit.detach(PATIENCE).unwrap())
}

/// A picture's bytes without padding, and its metadata.
pub(crate) fn shown(output: Output<Frame>) -> Option<(Vec<u8>, FrameMeta)> {
    output
        .into_item()
        .map(|frame| (pixels(&frame), frame.meta().clone()))
}
