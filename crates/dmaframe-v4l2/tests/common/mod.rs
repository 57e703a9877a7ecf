//! What this crate's tests share: vivid, switched to a still picture, and buffers to import.

#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod sys;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dmaframe_core::{Buffer, Frame, Object, Size};
use dmaframe_v4l2::{Capture, Captured, Device, Error, Format, FormatRequest, Interval, PixelFormat};

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

/// As many frames a second as vivid has for `format` and `size`.
pub(crate) fn fast(device: Device, format: PixelFormat, size: Size) -> dmaframe_v4l2::CaptureBuilder {
    Capture::builder(device)
        .format(FormatRequest::new(format, size))
        .interval(Interval::fps(120))
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
