//! What the tests share: the validation layer's silence, and frames with a known picture.
//!
//! `common/device.rs` is included once for each version of wgpu, in a module where `dw` is this crate's module for it.
#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "each test binary uses its part"
)]

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dmaframe_core::{
    Error as FrameError, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Modifier, Object, Plane, Size,
};
use dmaframe_testkit::{Device, find, skip};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// False errors for every image with a modifier on lavapipe 25.0, which does not fill `DrmFormatModifierPropertiesList2EXT`
/// (see `dmaframe_vulkan`): allowed by their exact names, in the tests that make such images.
pub(crate) const FALSE_ERRORS: [&str; 2] = [
    "VUID-VkImageViewCreateInfo-None-02273",
    "VUID-vkCmdCopyImageToBuffer-srcImage-01998",
];

/// Errors of wgpu and the validation layer, which wgpu hands to `log`, and warnings that the layer is missing.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Listener;

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        let deaf = text.contains("VK_LAYER_KHRONOS_validation") && dmaframe_testkit::in_lab();
        // The lines after an error's first name its objects.
        if (record.level() == log::Level::Error && !text.starts_with('\t')) || deaf {
            SAID.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }

    fn flush(&self) {}
}

pub(crate) fn listen() {
    // The second time it is there already.
    let _ = log::set_logger(&Listener);
    log::set_max_level(log::LevelFilter::Warn);
}

/// What has been said since the last call, but for messages of these exact names.
pub(crate) fn said(allowed: &[&str]) -> Vec<String> {
    let mut said = std::mem::take(&mut *SAID.lock().unwrap_or_else(PoisonError::into_inner));
    said.retain(|text| {
        let id = text
            .split_once('[')
            .and_then(|(_, rest)| rest.split([' ', ']']).next());
        !id.is_some_and(|id| allowed.contains(&id))
    });
    said
}

/// wgpu's futures are ready at once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// Includes a file of tests once for each version, where `dw` is this crate's module for it, and further files in modules of
/// their own, which see what is in the first.
macro_rules! version_28 {
    ($file:literal $(, $part:ident: $path:literal)* $(,)?) => {
        #[cfg(feature = "wgpu-28")]
        mod v28 {
            use dmaframe_wgpu::v28 as dw;
            #[allow(dead_code)]
            fn mapped(buffer: &dw::wgpu::Buffer) -> Vec<u8> {
                buffer.slice(..).get_mapped_range().to_vec()
            }
            fn instance_with(flags: dw::wgpu::InstanceFlags) -> dw::wgpu::Instance {
                let backends = dw::wgpu::Backends::VULKAN;
                dw::wgpu::Instance::new(&dw::wgpu::InstanceDescriptor {
                    backends,
                    flags,
                    ..Default::default()
                })
            }
            include!("common/device.rs");
            include!($file);
            $(mod $part {
                use super::*;
                include!($path);
            })*
        }
    };
}

macro_rules! version_29 {
    ($file:literal $(, $part:ident: $path:literal)* $(,)?) => {
        #[cfg(feature = "wgpu-29")]
        mod v29 {
            use dmaframe_wgpu::v29 as dw;
            #[allow(dead_code)]
            fn mapped(buffer: &dw::wgpu::Buffer) -> Vec<u8> {
                buffer.slice(..).get_mapped_range().to_vec()
            }
            fn instance_with(flags: dw::wgpu::InstanceFlags) -> dw::wgpu::Instance {
                let mut descriptor = dw::wgpu::InstanceDescriptor::new_without_display_handle();
                descriptor.flags = flags;
                descriptor.backends = dw::wgpu::Backends::VULKAN;
                dw::wgpu::Instance::new(descriptor)
            }
            include!("common/device.rs");
            include!($file);
            $(mod $part {
                use super::*;
                include!($path);
            })*
        }
    };
}

macro_rules! version_30 {
    ($file:literal $(, $part:ident: $path:literal)* $(,)?) => {
        #[cfg(feature = "wgpu-30")]
        mod v30 {
            use dmaframe_wgpu::v30 as dw;
            #[allow(dead_code)]
            fn mapped(buffer: &dw::wgpu::Buffer) -> Vec<u8> {
                buffer.slice(..).get_mapped_range().unwrap().to_vec()
            }
            fn instance_with(flags: dw::wgpu::InstanceFlags) -> dw::wgpu::Instance {
                let mut descriptor = dw::wgpu::InstanceDescriptor::new_without_display_handle();
                descriptor.flags = flags;
                descriptor.backends = dw::wgpu::Backends::VULKAN;
                dw::wgpu::Instance::new(descriptor)
            }
            include!("common/device.rs");
            include!($file);
            $(mod $part {
                use super::*;
                include!($path);
            })*
        }
    };
}

macro_rules! each_version {
    ($($files:tt)*) => {
        $crate::common::version_28!($($files)*);
        $crate::common::version_29!($($files)*);
        $crate::common::version_30!($($files)*);
    };
}

#[allow(unused_imports)]
pub(crate) use {each_version, version_28, version_29, version_30};

/// A picture in which no two neighbouring bytes, rows or planes look alike.
pub(crate) fn picture(len: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) | 0x1000;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// How a test lays a picture out: in how many objects, at what offset, with how much padding in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) objects: usize,
    pub(crate) offset: u64,
    pub(crate) padding: u32,
}

pub(crate) const TIGHT: Shape = Shape {
    objects: 1,
    offset: 0,
    padding: 0,
};

/// Planes of a shape, and each object's bytes.
pub(crate) fn planes(fourcc: Fourcc, size: Size, shape: Shape) -> (Vec<Plane>, Vec<u64>) {
    let info = fourcc.info().unwrap();
    let objects = shape.objects.min(info.planes().len());
    let mut ends = vec![shape.offset; objects];
    let planes = info.planes().iter().enumerate().map(|(index, format)| {
        let object = index.min(objects - 1);
        let stride = u32::try_from(format.row_bytes(size.width)).unwrap() + shape.padding;
        let offset = ends[object];
        ends[object] += u64::from(stride) * u64::from(format.rows(size.height));
        Plane {
            object,
            offset,
            stride,
        }
    });
    let planes: Vec<_> = planes.collect();
    (planes, ends)
}

/// Private memory in which the picture of `bytes` (tight) has been written.
pub(crate) fn frame_in(
    objects: Vec<OwnedFd>,
    fourcc: Fourcc,
    size: Size,
    planes: &[Plane],
    bytes: &[u8],
) -> Result<Frame, FrameError> {
    let objects = objects
        .into_iter()
        .enumerate()
        .map(|(index, fd)| Object::new(fd, index).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    let mut frame = raw::frame(fourcc, size, objects, planes)?;
    frame.map_write(SOON)?.copy_from_tight(bytes)?;
    Ok(frame)
}

/// The one promise of a test.
mod raw {
    use super::*;

    pub(super) fn frame(
        fourcc: Fourcc,
        size: Size,
        objects: Vec<Arc<Object>>,
        planes: &[Plane],
    ) -> Result<Frame, FrameError> {
        let generation = dmaframe_core::next_generation();
        // SAFETY: the descriptors are the test's own and nobody else's.
        let buffer = unsafe {
            dmaframe_core::raw::private_buffer(fourcc, Modifier::LINEAR, size, objects, planes, generation)
        }?;
        let meta = FrameMeta::default();
        Frame::new(Arc::new(buffer), meta, Fence::Signaled, Lease::none())
    }

    pub(super) fn write(camera: &Frame, bytes: &[u8]) {
        use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
        let fd = camera.buffer().objects()[0].lend(0).unwrap();
        // SAFETY: a fresh mapping of the dma-buf, which is at least as long, written by nobody else and unmapped here.
        unsafe {
            let to = mmap(
                std::ptr::null_mut(),
                bytes.len(),
                ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )
            .unwrap();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast(), bytes.len());
            munmap(to, bytes.len()).unwrap();
        }
    }
}

/// A udmabuf frame with a picture, and the picture.
pub(crate) fn udmabuf_frame(fourcc: Fourcc, size: Size, shape: Shape, seed: u8) -> Option<(Frame, Vec<u8>)> {
    let device = match find(Device::Udmabuf) {
        Ok(device) => device,
        Err(reason) => {
            skip(&reason);
            return None;
        }
    };
    let (planes, sizes) = planes(fourcc, size, shape);
    let fds = sizes
        .iter()
        .map(|len| dmaframe_testkit::udmabuf(&device, *len).unwrap())
        .collect();
    let bytes = picture(tight_len(fourcc, size), seed);
    Some((frame_in(fds, fourcc, size, &planes, &bytes).unwrap(), bytes))
}

/// A memfd frame with a picture, and the picture.
pub(crate) fn memfd_frame(fourcc: Fourcc, size: Size, shape: Shape, seed: u8) -> (Frame, Vec<u8>) {
    let (planes, sizes) = planes(fourcc, size, shape);
    let fds = sizes
        .iter()
        .map(|len| dmaframe_testkit::memfd(*len, true).unwrap().into())
        .collect();
    let bytes = picture(tight_len(fourcc, size), seed);
    (frame_in(fds, fourcc, size, &planes, &bytes).unwrap(), bytes)
}

pub(crate) fn tight_len(fourcc: Fourcc, size: Size) -> usize {
    usize::try_from(Layout::tight(fourcc, size).unwrap().tight_len()).unwrap()
}

/// Fails with the first difference instead of two megabytes of numbers.
pub(crate) fn same(found: &[u8], wanted: &[u8], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}: length");
    let wrong = found.iter().zip(wanted).filter(|(a, b)| a != b).count();
    let first = found.iter().zip(wanted).position(|(a, b)| a != b);
    assert_eq!(
        wrong,
        0,
        "{what}: {wrong} of {} bytes wrong, the first at {first:?}",
        wanted.len()
    );
}

/// Writes without waiting for anybody's fences: the producer's own are what others wait for.
pub(crate) fn write_now(camera: &Frame, bytes: &[u8]) {
    raw::write(camera, bytes);
}
